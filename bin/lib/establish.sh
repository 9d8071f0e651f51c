# Checks that the password is that of the profile's backups. The first backup determines it.

# tb_prove_password: exits unless the password opens the last backup: its sealed manifest, or its archive if it has
# none, as in TermBackup 6.
tb_prove_password() {
	if tb_pull_manifest pull-check "$tb_latest" "$tb_work/check"; then
		tb_get_password
		tb_open_check --manifest
		return
	fi
	tb_get_password
	tb_must pull-latest tb_open_latest
	tb_judge_open open-check "this is not the password of the backups of '$profile_name'" \
		"'termbackup rotate-key' gives them another one"
}

tb_open_latest() {
	# shellcheck disable=SC2086 # Words without blanks.
	tb_pull pull-latest --quiet --progress "$tb_progress" -- "$profile_store" "$tb_latest" |
		tb_quietly tb_sealed open-check "${tb_bin}tbk-open" --manifest --quiet --progress never $tb_check_costs >/dev/null
}

# tb_push_check OPTION…: stores the password check in the file new-check. Another machine may have been first: the check
# in the store is the one that counts.
tb_push_check() {
	tb_must push-check tb_on_store push-check password-check --quiet "$@" \
		--group "$profile_group" -- "$profile_store" "$tb_work/new-check"
	tb_pull_check || tb_failed 69 check
}

# tb_make_check: for backups without a password check: the last of them proves the password.
tb_make_check() {
	# The last backup also proves the password if the store has lost the check.
	tb_lost_check=$tb_latest
	if test -n "$tb_latest" && test "$prepared_last_suite" != age; then
		tb_prove_password
	else
		test -n "$opt_dry_run" || tb_get_password --confirm
	fi
	test -z "$opt_dry_run" || return 0
	tb_prepare_signing
	tb_seal_check
	test -z "$tb_latest" || test "$tb_pinned" = none || set -- --replace
	tb_push_check --new-group "$@"
}

# tb_pin_check: no ledger names the check yet, so the password must also open the last backup.
tb_pin_check() {
	cp -- "$tb_work/check" "$tb_work/new-check" || tb_die 74 "cannot write to '$tb_work'"
	tb_get_password
	tb_open_check
	# A backup sealed to recipients proves no password.
	test -z "$tb_latest" || test "$prepared_last_suite" = age || tb_prove_password
	tb_prepare_signing
	tb_push_check
}

# tb_establish_password: exits unless the password is that of the profile's backups.
tb_establish_password() {
	if test "$profile_cipher_suite" = age; then
		tb_check_sha=
		test -n "$opt_dry_run" || tb_prepare_signing
		return
	fi
	case $tb_pinned.$opt_dry_run in
	none.* | lost.*)
		tb_make_check
		test -z "$opt_dry_run" || return 0
		;;
	unpinned.) tb_pin_check ;;
	unpinned.*)
		tb_get_password
		tb_open_check
		return
		;;
	esac
	tb_get_password
	# Derive only one key: the last manifest is opened anyway.
	test "$mode.$prepared_proof" = incremental.manifest || tb_open_check
	test -n "$opt_dry_run" || tb_prepare_signing
}
