# The manifest of the last backup, cached in the home for the next one.

# tb_open_previous: decrypts the manifest of the last backup, from the cache or the store, to descriptor 5. Exits unless
# it opens.
tb_open_previous() {
	set --
	case $prepared_manifest in
	cached) sealed=$tb_home/cache/$profile_group/$tb_latest.tbk ;;
	local)
		sealed=$tb_home/cache/$profile_group/$tb_latest.age
		set -- -i "$tb_home/state/local_identity"
		;;
	*) sealed=$tb_work/manifest ;;
	esac
	# shellcheck disable=SC2086 # Words without blanks.
	tb_quietly tb_sealed previous "${tb_bin}tbk-open" --manifest --quiet $tb_costs --expect-id "$tb_latest" "$@" <"$sealed" >&5
	if test "$prepared_proof" = manifest && tb_asks_again previous; then
		tb_open_previous
		return
	fi
	case $prepared_proof in
	manifest) tb_judge_open previous "this is not the password of the backups of '$profile_name'" '' ;;
	*) tb_judge_open previous || tb_failed 77 previous ;;
	esac
	test "$prepared_manifest" != fetched || tb_keep_manifest "$tb_latest" "$sealed"
}

# tb_find_readers [1]: if the last backup has other readers or does not open here, sets prepared_full to why the next
# one cannot be based on it; with 1, for an incremental backup, also sets mode to what is possible, and reports why. If
# backups are sealed to recipients, sets tb_local_recipient to the recipient of the locally cached manifest.
tb_local_recipient='' prepared_full='' prepared_lost='' prepared_manifest='' prepared_last_suite='' prepared_identity='' prepared_identity_state=''
tb_find_readers() {
	tb_assignments=$(tb_stage readers "$tb_sh" answer readers -- "wanted=${1-}" "quiet=$tb_quiet" "full=$prepared_full" \
		"lost=$prepared_lost" "manifest=$prepared_manifest" "suite=$profile_cipher_suite" "last=$prepared_last_suite" \
		"latest=$tb_latest" "mode=$profile_backup_mode" "profile=$profile_name" "group=$profile_group" \
		"identity=$prepared_identity" "state=$prepared_identity_state" "dry=$opt_dry_run" \
		"opens=${opt_identity-}" "readers=$profile_recipients") ||
		tb_failed "$(tb_status readers)" readers
	eval "$tb_assignments"
}

# tb_keep_manifest ID FILE: caches the sealed manifest of the last backup for the next run. If only others could open
# it, the one sealed for this machine is cached, if there is one.
tb_keep_manifest() {
	test "$profile_backup_mode" = incremental || return 0
	if test -f "$tb_work/local"; then set -- "$1" "$tb_work/local" --local; fi
	"$tb_sh" cache "$profile_group" "$@" ${profile_recipients:+--readers="$profile_recipients"}
}
