# The trust in signatures, for verbs that read backups.

# tb_public_keys: writes the files of the trusted keys, one per line, to $tb_work/keys; false if there are none.
tb_public_keys() {
	: >"$tb_work/keys"
	for tb_file in "$tb_home/signing_key.pub" "$tb_home/trusted_keys"/*; do
		test ! -f "$tb_file" || printf '%s\n' "$tb_file" >>"$tb_work/keys"
	done
	test -s "$tb_work/keys"
}

# tb_tell_trust: reports the result for the ledger's signature when it was last read, and sets tb_trust to it.
tb_tell_trust() {
	IFS=$tb_tab read -r tb_trust tb_trust_key <"$tb_work/trust" || return 0
	case $tb_trust in
	verified | unchecked) ;;
	*) tb_public_keys || return 0 ;;
	esac
	test -n "$tb_quiet" || "$tb_sh" trust -- "$tb_trust" "$tb_trust_key"
}
