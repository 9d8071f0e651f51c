# shellcheck shell=sh disable=SC2034,SC2154
# What runs on without a person: the daemon and the watch source this. The secrets are taken once, at
# the start, and go to each run through pipes.

tb_success_count=0
tb_failure_count=0
tb_failed_in_a_row=0
tb_in_flight=
tb_loop_started=$(date +%s)

# tb_take_secrets: the password, the token and the password of the key, each tried as far as can be
# without a backup.
tb_take_secrets() {
	if tb_pull_check; then
		tb_get_password
		tb_open_check
	else
		tb_get_password --confirm
	fi
	# A run says itself what the ledger is worth.
	: >"$tb_work/trust"
	tb_prepare_signing
}

# tb_backup COMMAND…: one verb that makes a backup, with the secrets of this process. Returns its
# status. A signal to this shell alone is heard meanwhile.
tb_backup() {
	if test -n "$tb_quiet"; then set -- "$@" --quiet; fi
	if test -n "$tb_json"; then set -- "$@" --json; fi
	if test -n "$tb_max_wait"; then set -- "$@" --max-wait "$tb_max_wait"; fi
	if test -n "$opt_limit_upload"; then set -- "$@" --limit-upload "$opt_limit_upload"; fi
	if test -n "$opt_limit_download"; then set -- "$@" --limit-download "$opt_limit_download"; fi
	if test -n "$tb_password_file"; then
		set -- "$@" --password-file "$tb_password_file"
	elif test -n "${tb_password-}"; then
		set -- "$@" --password-fd 3
	fi
	if test -n "${tb_token-}"; then set -- "$@" --token-fd 4; fi
	if test -n "$tb_key_password_file"; then
		set -- "$@" --key-password-file "$tb_key_password_file"
	elif test -n "${tb_key_password-}"; then
		set -- "$@" --key-password-fd 5
	fi
	rm -f -- "$tb_work/busy"
	: >"$tb_work/backup.status"
	tb_in_flight=1
	{
		printf '%s\n' "${tb_password-}" | {
			exec 3<&0
			printf '%s\n' "${tb_token-}" | {
				exec 4<&0
				printf '%s\n' "${tb_key_password-}" | {
					exec 5<&0 </dev/null 7<&- 8<&-
					tb_pass_stage backup "$@" --no-input --progress "$tb_progress"
				}
			}
		}
	} &
	wait $!
	return "$(tb_status backup)"
}

# tb_pass_stage NAME COMMAND…: tb_stage of a verb, which says itself what there is to say.
tb_pass_stage() {
	tb_shown=$tb_json
	tb_json=
	tb_hold=
	# Made if another run is in progress.
	TERMBACKUP_BUSY=$tb_work/busy
	export TERMBACKUP_BUSY
	tb_stage "$@"
	tb_json=$tb_shown
}

# tb_account STATUS: counts a run; warns once three in a row have failed. False for one that failed, or
# that made way for another run.
tb_account() {
	if test -e "$tb_work/busy"; then
		tb_in_flight=
		return 1
	fi
	case $1 in
	0 | 3)
		# One command: a signal finds it counted or in flight.
		tb_in_flight='' tb_success_count=$((tb_success_count + 1))
		test "$tb_failed_in_a_row" -lt 3 || tb_note "a run has succeeded after $tb_failed_in_a_row failures"
		tb_failed_in_a_row=0
		;;
	*)
		tb_in_flight='' tb_failure_count=$((tb_failure_count + 1))
		tb_failed_in_a_row=$((tb_failed_in_a_row + 1))
		test "$tb_failed_in_a_row" -lt 3 ||
			tb_warn "$tb_failed_in_a_row runs in a row have failed, the last one with status $1"
		return 1
		;;
	esac
}

# tb_stop_loop STATUS: ends what runs, says what was done, and ends.
tb_stop_loop() {
	trap '' HUP INT QUIT TERM
	tb_end_all
	# It may have come to its end.
	if test -n "$tb_in_flight"; then
		case $(tb_status backup) in
		0 | 3) tb_account 0 ;;
		esac
	fi
	tb_report_loop
	exit "$1"
}

tb_report_loop() {
	tb_print_report loop "profile=$profile_name" "started=$tb_loop_started" "successes=$tb_success_count" \
		"failures=$tb_failure_count"
}

# tb_traps: how a loop ends.
tb_traps() {
	trap 'tb_stop_loop 129' HUP
	trap 'tb_stop_loop 130' INT
	trap 'tb_stop_loop 131' QUIT
	trap 'tb_stop_loop 143' TERM
}

# tb_nap SECONDS: sleeps, and hears signals.
tb_nap() {
	sleep "$1" 7<&- 8<&- &
	printf 'pid %s\n' "$!" >"$tb_work/nap.status"
	wait $!
	: >"$tb_work/nap.status"
}
