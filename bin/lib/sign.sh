# shellcheck shell=sh disable=SC2034,SC2154
# The key that backups and ledgers are signed with, and what a signature is worth. lib/setup.sh
# sources this.
#
# The password of the key goes the way of the backup's: an unexported variable, a pipe, a descriptor.

unset tb_key_password tb_key_value
tb_key_fd=
tb_key_file=
tb_key_command=
tb_key_password_file=
tb_sign_key=
tb_require_signature=
tb_accept_state=
tb_adopt=
# Withheld from every child.
tb_key_is_set=${TERMBACKUP_KEY_PASSWORD+1}
tb_key_value=${TERMBACKUP_KEY_PASSWORD-}
tb_key_value_file=${TERMBACKUP_KEY_PASSWORD_FILE-}
tb_key_value_command=${TERMBACKUP_KEY_PASSWORD_COMMAND-}
unset TERMBACKUP_KEY_PASSWORD TERMBACKUP_KEY_PASSWORD_FILE TERMBACKUP_KEY_PASSWORD_COMMAND

# The password of the key

# tb_given_key_password: sets tb_key_password or tb_key_password_file from the options, else from
# TERMBACKUP_KEY_PASSWORD and its kin; false if none of them is given.
tb_given_key_password() {
	test -z "${tb_key_password-}$tb_key_password_file" || return 0
	if test -n "$tb_key_fd$tb_key_file$tb_key_command"; then
		case $tb_key_file in
		-) set -- --key-password-fd 0 ;;
		?*) tb_key_password_file=$tb_key_file ;;
		*) set -- ;;
		esac
		test -z "$tb_key_fd" || set -- "$@" --key-password-fd "$tb_key_fd"
		test -z "$tb_key_command" || set -- "$@" --key-password-command "$tb_key_command"
	elif test -n "$tb_key_value_file"; then
		tb_key_password_file=$tb_key_value_file
	elif test -n "$tb_key_value_command"; then
		set -- --key-password-command "$tb_key_value_command"
	elif test -n "$tb_key_is_set"; then
		test -n "$tb_key_value" || tb_die 64 'the password of the key in TERMBACKUP_KEY_PASSWORD is empty'
		tb_key_password=$tb_key_value
		return
	else
		return 1
	fi
	if test -n "$tb_key_password_file"; then
		test $# -eq 0 || tb_usage_error 'only one of --key-password-fd, --key-password-file and --key-password-command'
		test -r "$tb_key_password_file" ||
			tb_die 66 "cannot read the password file '$tb_key_password_file'"
		if tb_lasting "$tb_key_password_file"; then return; fi
		set -- --key-password-file "$tb_key_password_file"
		tb_key_password_file=
	fi
	tb_read_key_password "$@"
}

# tb_read_key_password OPTION…: sets tb_key_password to what tbk-sh says it is.
tb_read_key_password() {
	test -z "$tb_no_input" || set -- --no-input "$@"
	tb_read_secret key-password key-password "$@"
	tb_key_password=$tb_secret tb_secret=
}

# tb_keyed NAME COMMAND…: tb_stage of a tbk-sign with the password of the key; standard input stays.
tb_keyed() {
	if test -n "$tb_key_password_file"; then
		tb_stage "$@" --password-file "$tb_key_password_file"
	elif test -n "${tb_key_password-}"; then
		{
			printf '%s\n' "$tb_key_password" |
				tb_last "$@" --password-fd 3 3<&0 0<&4 4<&-
		} 4<&0
	else
		tb_stage "$@" --no-input
	fi
}

# tb_try_key KEY: whether the password opens it. Ends on everything but a wrong or missing one.
tb_try_key() {
	tb_hold=1
	tb_keyed key "${tb_bin}tbk-sign" public --key "$1" >/dev/null
	tb_hold=
	case $(tb_status key) in
	0) ;;
	64 | 77) return 1 ;;
	*)
		test -n "$tb_json" || tb_show_held key
		tb_failed "$(tb_status key)" key
		;;
	esac
}

# tb_open_key KEY: ends unless it can be opened: with the password that is given for it, or else with
# the backup's if that is known, or else with what a person enters.
tb_open_key() {
	if ! tb_given_key_password; then
		# A prompt for the backup's would be one too many here.
		if test -n "$tb_password_value_file$tb_password_value_command$tb_password_is_set"; then
			tb_get_password
		fi
		tb_key_password_file=$tb_password_file
		test -n "$tb_password_file" || tb_key_password=${tb_password-}
		if tb_try_key "$1"; then return; fi
		tb_key_password_file=
		tb_key_password=
		if tb_can_ask; then
			tb_read_key_password
		else
			tb_die 77 "the password of the backups does not open the key '$1'" \
				'give the one of the key: --key-password-file, or TERMBACKUP_KEY_PASSWORD_FILE'
		fi
	fi
	tb_try_key "$1" || tb_die 77 "this is not the password of the key '$1'"
}

# Signing

# tb_prepare_signing: sets tb_sign_key if what goes into the store is to be signed, and tb_sign_archive if a new
# archive gets a signature of its own, for which it waits; ends if that cannot be done.
tb_sign_archive=
tb_prepare_signing() {
	test -z "$tb_sign_key" || return 0
	tb_enabled=$tb_signing_enabled
	test -n "$tb_enabled" || tb_enabled=$(tb_stage config "${tb_bin}tbk-config" get --quiet signing_enabled) ||
		tb_failed "$(tb_status config)" config
	tb_ledger_trust=
	! test -f "$tb_work/trust" || IFS=$tb_tab read -r tb_ledger_trust _ <"$tb_work/trust"
	if test "$tb_enabled" != true; then
		test -z "$tb_adopt" || tb_usage_error '--adopt signs the ledger, and signing is off' \
			"'termbackup generate-key --enable' makes a key and signs from then on"
		# Told before anything is sealed.
		case $tb_ledger_trust in
		verified | unchecked)
			tb_die 77 "the ledger of '$profile_store' is signed, and signing is off here" \
				"put the public keys of the machines that sign it into '$tb_home/trusted_keys', then 'termbackup generate-key --enable' makes one for this machine; if they are lost, see LOST KEYS in termbackup-security(7)"
			;;
		esac
		return 0
	fi
	tb_key=$tb_home/signing_key.pem
	test -f "$tb_key" ||
		tb_die 78 "signing is on, and the key '$tb_key' does not exist" \
			"make it with 'termbackup generate-key', or 'tbk-config set signing_enabled false'"
	tb_open_key "$tb_key"
	tb_sign_key=$tb_key
	test "$profile_cipher_suite" = 3 || tb_sign_archive=$tb_key
	test "$tb_ledger_trust" = unsigned || return 0
	if test -n "$tb_adopt"; then
		tb_waiting tb_on_store adopt adopt --quiet -- "$profile_store" >/dev/null ||
			tb_failed "$(tb_status adopt)" adopt
	elif cut -f 5 -- "$tb_work/list" | grep -qv '^-$'; then
		# What TermBackup 6 left could not be signed.
		tb_die 65 "the ledger of '$profile_store' is not signed, and signing is on: its signature may have been removed, and backups with it" \
			"if it was never signed, and '$(tb_listing)' shows all backups that should be there, sign it: termbackup run $profile_name --adopt"
	fi
}

# tb_signing COMMAND…: signs $tb_work/archive, if it needs that beside the signed ledger, and gives it to the
# command, with an option for the signature; then it goes.
tb_signing() {
	tb_keyed sign "${tb_bin}tbk-sign" sign --if-needed --quiet --key "$tb_sign_key" \
		<"$tb_work/archive" >"$tb_work/signature" || return
	test ! -s "$tb_work/signature" || set -- "$@" --signature "$tb_work/signature"
	"$@" <"$tb_work/archive"
	rm -f -- "$tb_work/archive"
}

# Believing

# tb_public_keys: the files of the keys that are trusted, one a line in $tb_work/keys; false if there
# are none.
tb_public_keys() {
	: >"$tb_work/keys"
	for tb_file in "$tb_home/signing_key.pub" "$tb_home/trusted_keys"/*; do
		test ! -f "$tb_file" || printf '%s\n' "$tb_file" >>"$tb_work/keys"
	done
	test -s "$tb_work/keys"
}

# tb_tell_trust: says what the signature of the ledger was worth when it was read last.
tb_tell_trust() {
	IFS=$tb_tab read -r tb_trust tb_trust_key <"$tb_work/trust" || return 0
	case $tb_trust in
	verified) tb_note "the ledger is signed by the trusted key $(tb_short "$tb_trust_key")" ;;
	unchecked)
		tb_note "the ledger is signed by the key $(tb_short "$tb_trust_key"), which was not checked: its public key is not in trusted_keys"
		;;
	*) ! tb_public_keys || tb_note 'the ledger is not signed' ;;
	esac
}

# tb_fetch_signature ID: gets the signature of a backup's archive, and sets tb_signature to none,
# unchecked (no key is trusted here) or fetched. Ends on what proves nothing.
tb_fetch_signature() {
	tb_hold=1
	tb_waiting tb_pull pull-signature --signature "$1" -o "$tb_work/signature" -- "$profile_store"
	tb_hold=
	tb_judge_pull pull-signature || {
		tb_signature=none
		return
	}
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
	case $(tb_status signature) in
	0) tb_signature=holds ;;
	1) tb_signature=fails ;;
	*)
		test -n "$tb_json" || tb_show_held signature
		tb_failed "$(tb_status signature)" signature
		;;
	esac
}
