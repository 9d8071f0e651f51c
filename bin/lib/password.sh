# The password of a profile, and its check. lib/setup.sh sources this.

# How often the user was asked for the password; whether a backup to be read needs one although the profile does not;
# set if nothing authenticates what is sealed to recipients, whatever its name is.
tb_asked='' tb_reads_sealed='' tb_no_age=''

# tb_wants_password: whether the profile, or a backup to be read, is encrypted with a password.
tb_wants_password() { test "$profile_cipher_suite" != age || test -n "$tb_reads_sealed"; }

# tb_get_password [--confirm]: gets the password from the first source that has one, including the keyring, or prompts
# for it (twice to confirm it).
tb_get_password() {
	tb_wants_password || return 0
	if tb_given password; then return; fi
	tb_asked=1
	tb_read_secret password ${profile_name:+--profile "$profile_name"} ${tb_no_input:+--no-input} "$@"
}

# tb_asks_again STAGE: asks for the password again, up to three times in all, if the user entered one that did not open
# the stage's input; false otherwise.
tb_asks_again() {
	tb_end_of "$1"
	test "$tb_ended" -eq 77 && test "${tb_asked:-3}" -lt 3 && tb_can_ask || return 1
	tb_asked=$((tb_asked + 1))
	printf 'That is not the password: try again.\n' >/dev/tty
	tb_password=
	tb_read_secret password
}

# The most that opening our own check, or the manifest of the last backup, may cost.
tb_costs='--max-memory 65536 --max-iterations 3 --max-lanes 4'
tb_check_costs="--no-age $tb_costs"
# Whether a check that the ledger names and the store has lost counts as none.
tb_lost_check=

# tb_pull_check: gets the password check of the profile's group, and sets tb_check_sha to its SHA-256 and tb_pinned to
# pinned or unpinned, whether the ledger names it; false if there is none.
tb_pull_check() {
	tb_check_sha=
	tb_pinned=
	test -n "$profile_group" && tb_wants_password || return 1
	set -- --unvouched
	test -z "${opt_require_signature-}" || set --
	tb_quietly tb_run check tb_pull check --check "$@" --pin-out "$tb_work/pin" -o "$tb_work/check" -- "$profile_store"
	if test -n "$tb_lost_check" && test "$tb_result" -eq 66; then return 1; fi
	tb_judge_pull check || return 1
	IFS=$tb_tab read -r tb_pinned tb_check_sha _ <"$tb_work/pin" || tb_die 70 'tbk-pull did not say what the ledger names'
}

# tb_open_check [--manifest]: exits unless the password opens the check, or the sealed manifest used in its place.
tb_open_check() {
	# shellcheck disable=SC2086 # Words without blanks.
	set -- "${1:---verify}" $tb_check_costs
	tb_open_asking "$tb_work/check" "$@"
	tb_judge_open open-check "this is not the password of the backups of '$profile_name'" \
		'or the store has altered its password check'
}

# tb_seal_check [COMMAND]: seals a check, into the file new-check, with the password or the one that COMMAND sets.
tb_seal_check() {
	# shellcheck disable=SC2086 # Words without blanks.
	printf 'TermBackup password check\n' |
		"$@" tb_sealed seal-check "${tb_bin}tbk-seal" stream --quiet $profile_sealing -o "$tb_work/new-check" check ||
		tb_failed "$(tb_status seal-check)" seal-check
}

# tb_check_password [--confirm]: gets the password, and exits unless it opens the check; false if there is none.
tb_check_password() {
	if tb_pull_check; then
		tb_get_password
		tb_open_check
	else
		tb_get_password "$@"
		return 1
	fi
}

# tb_open_asking FILE OPTION…: tries the password on it, as the stage open-check; up to three times if it is entered.
tb_open_asking() {
	tb_try open-check "$@"
	while tb_asks_again open-check; do tb_try open-check "$@"; done
}

# tb_try STAGE FILE OPTION…: tries the password on a sealed file with tbk-open.
tb_try() {
	tb_tried=$2
	tb_name=$1
	shift 2
	tb_quietly tb_sealed "$tb_name" "${tb_bin}tbk-open" "$@" --quiet <"$tb_tried" >/dev/null
}

# tb_judge_open STAGE [MESSAGE HINT]: exits unless the stage succeeded; for a wrong password with this message, or
# returns false without one.
tb_judge_open() {
	tb_end_of "$1"
	case $tb_ended.$# in
	0.*) ;;
	77.1) return 1 ;;
	77.*) tb_cause='incorrect password or altered data' tb_die 77 "$2" "$3" ;;
	*) tb_failed "$tb_ended" "$1" ;;
	esac
}

# tb_password_for_reading: gets what opens the backups whose archive names are in tb_file: asks for a password once, and
# reports a wrong one before anything is fetched. Exits if there is no identity, or if nothing authenticates what is
# sealed to one: anyone who has the recipient could have sealed it.
tb_password_for_reading() {
	IFS=$tb_tab read -r tb_trust _ <"$tb_work/trust"
	test -n "${opt_unsigned-}" || test "$tb_trust" = verified || tb_no_age=--no-age
	case ${tb_file-}$tb_newline in
	*.age"$tb_newline"*)
		test -n "${opt_identity-}" || tb_pull_identity ||
			tb_usage_error 'the backup is sealed to recipients, and no identity is given' 'give the file of one with -i'
		test -z "$tb_no_age" || tb_die 77 "a backup is sealed to recipients, and no trusted key has signed the ledger of '$profile_store': anyone who has a recipient can seal to it" \
				'--unsigned accepts it as it is'
		if test -z "${opt_identity-}"; then
			tb_reads_sealed=1
			tb_get_password
			tb_open_identity
		fi
		printf '%s\n' "$tb_file" | grep -qv '\.age$' || return 0
		;;
	esac
	tb_reads_sealed=1
	tb_lost_check=1
	# Opening a manifest would show it too, and sooner, but a user may mistype the password and needs to be asked again.
	if test -n "$tb_spares_check"; then
		tb_get_password
		test -n "$tb_asked" || return 0
	fi
	tb_check_password || :
}
tb_spares_check=
