# What verify writes to the store: lost manifests, and marks of verified backups. It never prompts, and a failure to
# write does not change the result.

# tb_aside NAME COMMAND…: runs it in a subshell, and keeps only its error, in NAME.status; false if it failed.
tb_aside() {
	(
		tb_into=$tb_work/$1.status tb_hold=1 tb_no_input=1 tb_audited='' tb_on_failure=''
		: >"$tb_into"
		shift
		tb_prepare_signing
		"$@"
	) 2>"$tb_work/aside.said" &
	wait $!
}

# tb_mend_manifest: recreates the sealed manifest of backup tb_id from its archive, which has the hash sha256.
tb_mend_manifest() {
	if tb_aside mending tb_make_manifest; then
		tb_note "the sealed manifest of backup $(tb_short "$tb_id") was missing or damaged; recreated it from the archive"
		return
	fi
	tb_warn "the sealed manifest of backup $(tb_short "$tb_id") could not be recreated" "$tb_work/mending.status"
	return 1
}

tb_make_manifest() {
	# Only the profile knows the recipients.
	words=
	if cut -f 1,8 -- "$tb_work/list" | grep -q "^$tb_id$tb_tab.*[.]age\$"; then
		words=$profile_recipients
		test -n "$words" || tb_die 78 'the profile has no recipients to seal it to'
	fi
	tb_must 'pull-mend mend' tb_seal_manifest
	tb_must push-mend tb_replace_manifest
}

tb_seal_manifest() {
	# shellcheck disable=SC2086 # Words without blanks.
	tb_pull pull-mend --quiet --progress never -- "$profile_store" "$tb_id" |
		tb_sealed mend "${tb_bin}tbk-seal" manifest --quiet --progress never --expect-id "$tb_id" \
			$words -o "$tb_work/mended"
}

tb_replace_manifest() {
	tb_on_store push-mend replace-manifest --quiet -- "$profile_store" "$tb_id:$sha256" <"$tb_work/mended" >/dev/null
}

# tb_mark_verified: marks verified backups in the ledger, in one commit, if their archives are still those of the list.
# Sets marked to their number.
tb_mark_verified() {
	marked=0
	test -z "$opt_no_mark" && test -s "$tb_work/held" || return 0
	if ! cut -f 5 -- "$tb_work/list" | grep -q '[a-z]'; then
		tb_note 'the ledger is one of TermBackup 6, and stays as it is'
		return
	fi
	if tb_aside marking tb_mark; then
		marked=$(($(wc -l <"$tb_work/marked")))
		left=$(($(wc -l <"$tb_work/held") - marked))
		test "$left" -eq 0 ||
			tb_note "not marked, because they are gone or their archives were replaced: $left"
		return
	fi
	tb_warn 'verified backups could not be marked in the ledger' "$tb_work/marking.status"
	tb_note 'with --no-mark nothing is written'
}

tb_mark() {
	tb_must mark tb_on_store mark mark --quiet --listed "$tb_work/held" -- "$profile_store" >"$tb_work/marked"
}
