# What a signature is worth; the verbs that read backups use this.

# tb_public_keys: the files of the keys that are trusted, one a line in $tb_work/keys; false if there
# are none.
tb_public_keys() {
	: >"$tb_work/keys"
	for tb_file in "$tb_home/signing_key.pub" "$tb_home/trusted_keys"/*; do
		test ! -f "$tb_file" || printf '%s\n' "$tb_file" >>"$tb_work/keys"
	done
	test -s "$tb_work/keys"
}

# tb_tell_trust: says what the signature of the ledger was worth when it was read last, and sets tb_trust to that.
tb_tell_trust() {
	IFS=$tb_tab read -r tb_trust tb_trust_key <"$tb_work/trust" || return 0
	case $tb_trust in
	verified | unchecked) ;;
	*) tb_public_keys || return 0 ;;
	esac
	test -n "$tb_quiet" || "$tb_sh" trust -- "$tb_trust" "$tb_trust_key"
}

# tb_fetch_signature ID: gets the signature of a backup's archive, and sets tb_signature to none,
# unchecked (no key is trusted here) or fetched. Ends on what proves nothing.
tb_fetch_signature() {
	tb_signature=none
	tb_quietly tb_run pull-signature tb_pull pull-signature --signature "$1" -o "$tb_work/signature" -- "$profile_store"
	tb_judge_pull pull-signature || return 0
	tb_signature=unchecked
	! tb_public_keys || tb_signature=fetched
}

# tb_verify_signature: a stage that holds what tb_fetch_signature fetched against the archive on standard
# input, or the first of a chain, and reads the rest of it.
tb_verify_signature() {
	set --
	while IFS= read -r tb_file; do set -- "$@" --key "$tb_file"; done <"$tb_work/keys"
	(
		tb_hold=1
		tb_stage signature "${tb_bin}tbk-sign" verify --chain --quiet "$@" "$tb_work/signature" >/dev/null
		# It is judged by its status, even where it did not read on.
		cat >/dev/null
	)
}

# tb_judge_signature: what came of tb_verify_signature: sets tb_signature to holds or fails.
tb_judge_signature() {
	tb_end_of signature
	case $tb_ended in
	0) tb_signature=holds ;;
	1) tb_signature=fails ;;
	*) tb_failed "$tb_ended" signature ;;
	esac
}
