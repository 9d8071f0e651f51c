# Whether the password is the one of the profile's backups. The first backup of all decides what it is.

# tb_prove_password: ends unless the password opens the last backup: its sealed manifest, or the archive of a
# backup without one, as of TermBackup 6.
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

# tb_push_check OPTION…: stores the password check that is in new-check. Another machine may have been first: what
# the store has is what counts.
tb_push_check() {
	tb_must push-check tb_on_store push-check password-check --quiet "$@" \
		--group "$profile_group" -- "$profile_store" "$tb_work/new-check"
	tb_pull_check || tb_failed 69 check
}

# tb_make_check: for backups that have no password check: the last of them proves the password.
tb_make_check() {
	# The last backup proves the password as well as a check that the store has lost.
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

# tb_pin_check: no ledger vouches for the check yet: the password has to be that of the last backup too.
tb_pin_check() {
	cp -- "$tb_work/check" "$tb_work/new-check" || tb_die 74 "cannot write to '$tb_work'"
	tb_get_password
	tb_open_check
	# What is sealed to recipients proves none.
	test -z "$tb_latest" || test "$prepared_last_suite" = age || tb_prove_password
	tb_prepare_signing
	tb_push_check
}

# tb_establish_password: ends unless the password is the one of the profile's backups.
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
	# One key is derived: the last manifest is opened anyway.
	test "$mode.$prepared_proof" = incremental.manifest || tb_open_check
	test -n "$opt_dry_run" || tb_prepare_signing
}
