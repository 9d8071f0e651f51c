# shellcheck shell=sh disable=SC2034,SC2154
# How a secret comes into a variable; the password of a profile, and what it is held against.
# lib/setup.sh sources this.

# How often a person at the terminal was asked for the password.
tb_asked=

# tb_hear COMMAND…: sets tb_secret to what it prints. A signal to this shell alone is heard meanwhile,
# if a file system for FIFOs is under the home.
tb_hear() {
	if mkfifo -m 600 -- "$tb_work/heard" 2>/dev/null; then
		"$@" >"$tb_work/heard" &
		tb_secret=
		while IFS= read -r tb_line; do tb_secret=$tb_secret$tb_line$tb_newline; done <"$tb_work/heard"
		tb_secret=$tb_secret$tb_line
		tb_line=
		wait $!
		rm -f -- "$tb_work/heard"
	else
		tb_capture "$@" </dev/null
	fi
}

# tb_capture COMMAND…: likewise, in the foreground.
tb_capture() {
	# The dot keeps newlines at the end.
	tb_secret=$("$@" && printf .)
	tb_secret=${tb_secret%.}
}

# tb_lasting FILE: whether a secret can be read from it again, by any command: a regular file, under a name
# that is not that of a descriptor.
tb_lasting() {
	test -f "$1" || return 1
	tb_named=
	test ! -L "$1" || tb_named=$(readlink -- "$1")
	for tb_named in "$1" "$tb_named"; do
		case $tb_named in
		/dev/fd/* | /dev/std* | /proc/*) return 1 ;;
		esac
	done
}

# tb_fleeting FILE VARIABLE-FILE: whether the secret has to be read at once: the file that an option names is
# there and cannot be read twice, or the one of the variable is a descriptor that this shell will use.
tb_fleeting() {
	if test -n "$1"; then
		test "$1" != - && test -e "$1" && ! tb_lasting "$1"
		return
	fi
	case $2 in
	/dev/fd/[3-9] | /proc/self/fd/[3-9]) ;;
	*) return 1 ;;
	esac
}

# tb_read_secret NAME ARGUMENT…: sets tb_secret to what tbk-sh prints as this stage, which is a secret and a
# newline; ends if it fails. A command that is to give it may take its time.
tb_read_secret() {
	tb_secret_stage=$1
	shift
	case " $* " in
	# What runs beside this shell has another standard input.
	*-file\ /dev/* | *-file\ /proc/* | *-file\ -\ *) set -- tb_capture "$@" ;;
	*-command\ * | *-file\ * | *\ --kept\ * | *\ --profile\ *) set -- tb_hear "$@" ;;
	*) set -- tb_capture "$@" ;;
	esac
	tb_secret_way=$1
	shift
	"$tb_secret_way" tb_stage "$tb_secret_stage" "$tb_sh" "$@"
	test -z "$tb_json" || tb_show_held "$tb_secret_stage"
	test "$(tb_status "$tb_secret_stage")" -eq 0 || tb_failed "$(tb_status "$tb_secret_stage")" "$tb_secret_stage"
	tb_secret=${tb_secret%"$tb_newline"}
}

# tb_wants_password: whether the profile is sealed under one, or a backup that is read.
tb_wants_password() {
	test "$profile_cipher_suite" != age || test -n "$tb_reads_sealed"
}
tb_reads_sealed=

# tb_get_password [--confirm]: the password, from the first place that has one (asked for once, or
# twice to confirm it). A regular file is read by each command itself, to the byte; a pipe can be read once.
tb_get_password() {
	test -z "${tb_password-}" || return 0
	tb_wants_password || return 0
	if test -z "$tb_password_fd$tb_password_file$tb_password_command"; then
		tb_password_file=$tb_password_value_file
		test -n "$tb_password_file" || tb_password_command=$tb_password_value_command
		if test -z "$tb_password_file$tb_password_command" && test -n "$tb_password_is_set"; then
			test -n "$tb_password_value" || tb_usage_error 'the password in TERMBACKUP_PASSWORD is empty'
			tb_password=$tb_password_value
			return
		fi
		if test -z "$tb_password_file$tb_password_command"; then
			# The keyring may have it.
			test -z "$profile_name" || set -- --profile "$profile_name" "$@"
		fi
	fi
	if test -n "$tb_password_file"; then
		case $tb_password_file in
		-) tb_password_fd=0 tb_password_file= ;;
		*)
			test -r "$tb_password_file" || tb_die 66 "cannot read the password file '$tb_password_file'"
			# Read once.
			if ! tb_lasting "$tb_password_file"; then
				set -- --password-file "$tb_password_file" "$@"
				tb_password_file=
			fi
			;;
		esac
	fi
	if test -z "$tb_password_file"; then
		test -z "$tb_password_fd" || set -- --password-fd "$tb_password_fd" "$@"
		test -z "$tb_password_command" || set -- --password-command "$tb_password_command" "$@"
		test -z "$tb_no_input" || set -- --no-input "$@"
		test -n "$tb_password_fd$tb_password_command$tb_password_value_file" || tb_asked=1
		tb_read_secret password password "$@"
		tb_password=$tb_secret tb_secret=
	fi
}

# tb_get_identity_password: what the identity files are encrypted with, if an option gives it: tb_identity_file, which
# each command reads itself, or tb_identity_password.
tb_get_identity_password() {
	tb_identity_file=${opt_identity_password_file-}
	if test -n "$tb_identity_file"; then
		test "$tb_identity_file" = - || test -r "$tb_identity_file" ||
			tb_die 66 "cannot read the password file '$tb_identity_file'"
		test "$tb_identity_file" = - || ! tb_lasting "$tb_identity_file" || return 0
		set -- --password-file "$tb_identity_file"
		tb_identity_file=
	elif test -n "${opt_identity_password_fd-}"; then
		set -- --password-fd "$opt_identity_password_fd"
	elif test -n "${opt_identity_password_command-}"; then
		set -- --password-command "$opt_identity_password_command"
	else
		return 0
	fi
	tb_read_secret identity-password password "$@"
	tb_identity_password=$tb_secret tb_secret=
}

# tb_asks_again STAGE: asks for the password again, if a person gave one that did not open what the stage was to
# open, three times in all; false otherwise.
tb_asks_again() {
	tb_end_of "$1"
	test "$tb_ended" -eq 77 && test "${tb_asked:-3}" -lt 3 && tb_can_ask || return 1
	tb_asked=$((tb_asked + 1))
	printf 'That is not the password: try again.\n' >/dev/tty
	tb_read_secret password password
	tb_password=$tb_secret tb_secret=
}

# What a check of our own costs to open; no other is paid.
tb_check_costs='--max-memory 65536 --max-iterations 3 --max-lanes 4'
# Whether one that the ledger names and the store has lost counts as none.
tb_lost_check=

# tb_pull_check: gets the password check of the profile's group, and sets tb_check_sha to its SHA-256 and
# tb_pinned to whether the ledger names it, pinned or unpinned; false if there is none.
tb_pull_check() {
	tb_check_sha=
	tb_pinned=
	test -n "$profile_group" && tb_wants_password || return 1
	set -- --unvouched
	test -z "$tb_require_signature" || set --
	tb_hold=1
	tb_waiting tb_pull check --check "$@" --pin-out "$tb_work/pin" -o "$tb_work/check" -- "$profile_store"
	tb_hold=
	if test -n "$tb_lost_check" && test "$(tb_status check)" -eq 66; then return 1; fi
	tb_judge_pull check || return 1
	IFS=$tb_tab read -r tb_pinned tb_check_sha _ <"$tb_work/pin" || tb_die 70 'tbk-pull did not say what the ledger names'
}

# tb_open_check [--manifest]: ends unless the password is that of the check, or of the sealed
# manifest that stands for it.
# shellcheck disable=SC2120,SC2119
tb_open_check() {
	# shellcheck disable=SC2086 # Words without blanks.
	test $# -gt 0 || set -- --verify $tb_check_costs
	tb_try_check "$tb_work/check" "$@"
	while tb_asks_again open-check; do tb_try_check "$tb_work/check" "$@"; done
	tb_judge_check 'or the store has altered its password check'
}

# tb_try_check FILE OPTION…: the stage open-check.
tb_try_check() {
	tb_check_file=$1
	shift
	tb_hold=1
	tb_sealed open-check "${tb_bin}tbk-open" "$@" --quiet <"$tb_check_file" >/dev/null
	tb_hold=
}

# tb_judge_check HINT: ends unless the stage open-check opened what it was to.
tb_judge_check() {
	tb_end_of open-check
	case $tb_ended in
	0) ;;
	77) tb_die 77 "this is not the password of the backups of '$profile_name'" "$1" ;;
	*)
		test -n "$tb_json" || tb_show_held open-check
		tb_failed "$tb_ended" open-check
		;;
	esac
}

# tb_password_for_reading: what opens the backups whose archives' names are in tb_file: asks for a password once, and
# tells a wrong one before anything is fetched. Ends if there is no identity, or nothing vouches for what is sealed to
# one: anyone who has the recipient could have sealed it.
# shellcheck disable=SC2154
tb_password_for_reading() {
	case ${tb_file-}$tb_newline in
	*.age"$tb_newline"*)
		test -n "${opt_identity-}" ||
			tb_usage_error 'it is sealed to recipients, and no identity is given' 'give the file of one with -i'
		IFS=$tb_tab read -r tb_trust _ <"$tb_work/trust"
		test -n "${opt_unsigned-}" || test "$tb_trust" = verified ||
			tb_die 77 "a backup is sealed to recipients, and no trusted key has signed the ledger of '$profile_store': anyone who has a recipient can seal to it" \
				'--unsigned takes it for what it seems to be'
		printf '%s\n' "$tb_file" | grep -qv '\.age$' || return 0
		;;
	esac
	tb_reads_sealed=1
	tb_lost_check=1
	# A manifest tells as well, and at once, but whoever is asked may mistype it, and be asked again.
	if test -n "$tb_spares_check"; then
		tb_get_password
		test -n "$tb_asked" || return 0
	fi
	if tb_pull_check; then
		tb_get_password
		tb_open_check
	else
		tb_get_password
	fi
}
tb_spares_check=
