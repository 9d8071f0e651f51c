# The key that signs backups and ledgers. lib/setup.sh sources this.
#
# The password of the key is passed like that of the backups: an unexported variable, a pipe, a descriptor.

# The key for ledgers; the key for archives, which wait for their signature.
tb_sign_key='' tb_sign_archive=''
tb_adopt=

# tb_keyed NAME COMMAND…: runs tbk-sign as a stage with the password of the key; standard input is kept.
tb_keyed() {
	test -n "${tb_key_password-}$tb_key_password_file" || tb_options=--no-input
	tb_with password=key_password "$@"
}

# tb_try_key KEY: whether the password opens it. Exits on failures other than a wrong or missing password.
tb_try_key() {
	tb_quietly tb_keyed key "${tb_bin}tbk-sign" public --key "$1" >/dev/null
	tb_end_of key
	test "$tb_ended" -ne 64 || return 1
	tb_judge_open key
}

# tb_open_key KEY: exits unless the key can be opened: with its own password if given, or else with that of the backups
# if known, or else with one that the user enters.
tb_open_key() {
	if ! tb_given key_password; then
		# Do not prompt for the password of the backups here.
		test -n "${tb_password-}$tb_password_file" || ! tb_wants_password || tb_given password || :
		tb_key_password_file=$tb_password_file tb_key_password=${tb_password-}
		if tb_try_key "$1"; then return; fi
		tb_key_password_file='' tb_key_password=''
		tb_can_ask || tb_die 77 "the password of the backups does not open the key '$1'" \
			'give the one of the key: --key-password-file, or TERMBACKUP_KEY_PASSWORD_FILE'
		tb_read_secret key_password
	fi
	tb_try_key "$1" || tb_die 77 "this is not the password of the key '$1'"
}

# tb_refuse_unsigned VERB: exits unless the unsigned ledger is one of TermBackup 6, which could not be signed.
tb_refuse_unsigned() {
	! cut -f 5 -- "$tb_work/list" | grep -qv '^-$' ||
		tb_die 65 "the ledger of '$profile_store' is not signed, and signing is on: its signature may have been removed, and backups with it" \
			"if it was never signed, and 'termbackup list $profile_name' shows all backups that should be there, sign it: termbackup $1 --adopt"
}

# tb_prepare_signing: sets tb_sign_key if the ledger is to be signed, and tb_sign_archive if a new archive gets a
# signature of its own; exits if that is not possible.
tb_prepare_signing() {
	test -z "$tb_sign_key" || return 0
	tb_ledger_trust=
	! test -f "$tb_work/trust" || IFS=$tb_tab read -r tb_ledger_trust _ <"$tb_work/trust"
	if test "$tb_signing_enabled" != true; then
		test -z "$tb_adopt" || tb_usage_error '--adopt signs the ledger, but signing is off' \
			"'termbackup generate-key --enable' makes a key and signs from then on"
		# Report this before anything is sealed.
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
	case $profile_cipher_suite in 3 | age) ;; *) tb_sign_archive=$tb_key ;; esac
	test "$tb_ledger_trust" = unsigned || return 0
	if test -n "$tb_adopt"; then
		tb_must adopt tb_on_store adopt adopt --quiet -- "$profile_store" >/dev/null
	else
		tb_refuse_unsigned "run $profile_name"
	fi
}

# tb_seal_into PUSH SEAL: passes the archive made by the function SEAL, whose last stage is seal, to the function PUSH.
# An archive to be signed is first stored as ciphertext, because the signature covers all of it; if it needs one besides
# the signed ledger, PUSH gets an option for it.
tb_seal_into() {
	if test -z "$tb_sign_archive"; then
		"$2" | "$1"
		return
	fi
	tb_exec=
	"$2" -o "$tb_work/archive"
	tb_end_of seal
	case $tb_ended in 0 | 3) ;; *) return ;; esac
	tb_keyed sign "${tb_bin}tbk-sign" sign --if-needed --quiet --key "$tb_sign_key" \
		<"$tb_work/archive" >"$tb_work/signature" || return
	set -- "$1"
	test ! -s "$tb_work/signature" || set -- "$@" --signature "$tb_work/signature"
	"$@" <"$tb_work/archive"
	rm -f -- "$tb_work/archive"
}
