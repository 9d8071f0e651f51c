# The identities of a profile's group, which are in its store, encrypted with a password. lib/setup.sh sources this.

# Decrypted identities, which only this shell has, and those that a rotation has replaced.
unset tb_identities tb_former

# tb_pull_identity: gets the sealed identities that the ledger names for the profile's group; false if it has none.
tb_pull_identity() {
	test -n "$profile_group" || return 1
	tb_quietly tb_run identity tb_pull identity --identity --pin-out "$tb_work/identity-pin" -o "$tb_work/identity" \
		-- "$profile_store"
	test "$tb_result" -ne 66 ||
		tb_die 66 "the store has lost the sealed identity of '$profile_name'" 'give the one that was printed, in a file, with -i'
	tb_judge_pull identity || return 1
	IFS=$tb_tab read -r _ tb_identity_sha _ <"$tb_work/identity-pin" || tb_die 70 'tbk-pull did not say what the ledger names'
}

# tb_open_identity: decrypts the identities into tb_identities; exits if the password is wrong.
tb_open_identity() {
	tb_try_identity
	while tb_asks_again open-identity; do tb_try_identity; done
	tb_judge_open open-identity "this is not the password of the backups of '$profile_name'" ''
}

# tb_try_identity [COMMAND]: tries the password, or the one that COMMAND sets for the command it runs.
tb_try_identity() {
	tb_hold=1
	tb_identities=$("$@" tb_sealed open-identity "$tb_sh" show-identities --quiet "$tb_work/identity")
	tb_hold=
}

# tb_has_newest: whether the profile's backups are sealed to the newest of tb_identities and to none of the others; if
# not, sets tb_words to options that change this.
tb_has_newest() {
	# shellcheck disable=SC2086 # Words without blanks.
	tb_words=$(printf '%s\n' "$tb_identities" | "$tb_sh" answer successors -- "$profile_group" "$tb_work/identity" $profile_recipients) || exit
	test -z "$tb_words"
}

# tb_print_identities: prints all identities that open a backup.
tb_print_identities() { printf '%s\n' "$tb_identities" 2>/dev/null || tb_unwritable "$?"; }
# tb_follow_identities: seals to the newest identity from now on; false if that is already so.
tb_follow_identities() {
	! tb_has_newest || return 1
	# shellcheck disable=SC2086 # Words without blanks.
	tb_seal_to $tb_words
}

# tb_seal_to --recipient RECIPIENT …: seals the profile's backups to exactly these from now on.
tb_seal_to() {
	tb_config profile edit "$profile_name" --quiet "$@"
	profile_recipients=$*
}

# tb_read_identities: reads those of -i that can be read only once; tb_sealed passes them on like those of a store.
tb_read_identities() {
	tb_identities=$(tb_options="$tb_piped ${tb_no_input:+--no-input}" &&
		tb_with identity-password=identity_password identities "$tb_sh" plain-identities) || tb_failed "$(tb_status identities)" identities
}
