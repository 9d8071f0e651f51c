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
