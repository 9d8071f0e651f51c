# A profile's commands before and after a backup, and the notifications to its webhook, command and ping URL; used by
# the verb run.
#
# A failed notification is only a warning: it neither ends a backup nor changes its status. The URLs go from tbk-config
# to tbk-notify through a pipe; this shell never sees them.

# Whether to notify: from the start of a run until its end was reported; the seconds to wait; problems so far.
tb_notifies='' tb_notify_wait=30 tb_problem=''

# tb_notify_one FIELD ARGUMENT…: sends the report, if there is one, to the URL in that field.
tb_notify_one() {
	tb_field=$1
	shift
	tb_kept_hold=$tb_hold
	tb_hold=1
	"${tb_bin}tbk-config" profile get --quiet --reveal -- "$profile_name" "$tb_field" 2>/dev/null |
		tb_stage notify "${tb_bin}tbk-notify" --quiet --url-fd 0 "$@" &
	tb_await $!
	tb_hold=$tb_kept_hold
	case $(tb_status notify).$tb_field in
	0.*) ;;
	*.ping_url) tb_warn 'the ping was not sent' "$tb_work/notify.status" ;;
	*) tb_warn 'the webhook was not notified' "$tb_work/notify.status" ;;
	esac
}

# tb_notify_start: sends the ping that a run begins.
tb_notify_start() { test -z "$profile_has_ping_url" || tb_notify_one ping_url --ping start --max-wait 10; }

# tb_hook FIELD WORDS [REPORT]: runs the profile's command in that field, with the report as its input. Sets tb_why to
# how it failed, or to nothing; with a report, a failure is a warning.
tb_hook() {
	tb_why=
	# It executes the command, and so cannot record the result itself.
	tb_hold=$tb_json
	tb_stage "$1" env "$tb_sh" hook ${3:+--report} -- "$1" "$profile_name" <"${3:-/dev/null}" &
	tb_hold=
	tb_await $!
	test -z "$tb_json" || tb_show_held "$1"
	tb_end_of "$1"
	test "$tb_ended" -ne 0 || return 0
	tb_why="the command $2 failed with status $tb_ended"
	test -z "${3-}" || tb_warn "$tb_why"
}

# tb_hook_before: runs the command before a backup; exits if it fails.
tb_hook_before() {
	test -n "$profile_before_command" || return 0
	tb_hook before_command 'before the backup'
	test -z "$tb_why" || tb_cause=$tb_why tb_die 66 "$tb_why: no backup is made"
}

# tb_write_notice STATUS FACT…: writes the report to the file notice. Sets tb_news if people are to be notified, and
# tb_ping to the kind of ping.
tb_write_notice() {
	tb_told=$1
	shift
	tb_assignments=$("$tb_sh" notice --into "$tb_work/notice" -- "status=$tb_told" "profile=$profile_name" "started=$tb_started" \
		"warning=$tb_problem" "$@") && eval "$tb_assignments"
}

# tb_notify STATUS FACT…: runs the command after a backup, and sends all notifications of its end, with these facts.
tb_notify() {
	test -n "$tb_notifies" || return 0
	tb_notifies=
	test -n "$profile_has_webhook_url$profile_has_ping_url$profile_after_command$profile_notify_command" || return 0
	tb_write_notice "$@" || return 0
	if test -n "$profile_after_command"; then
		tb_hook after_command 'after the backup' "$tb_work/notice"
		if test -n "$tb_why"; then
			tb_problem=${tb_problem:+$tb_problem; }$tb_why
			tb_write_notice "$@" || return 0
		fi
	fi
	test -z "$tb_news" || test -z "$profile_has_webhook_url" ||
		tb_notify_one webhook_url --max-wait "$tb_notify_wait" "$tb_work/notice"
	test -z "$tb_news" || test -z "$profile_notify_command" || tb_hook notify_command 'for notifications' "$tb_work/notice"
	test -z "$profile_has_ping_url" || tb_notify_one ping_url --ping "$tb_ping" --max-wait "$tb_notify_wait" "$tb_work/notice"
}

# tb_notify_failure STATUS: sends notifications of a run that ends with this status.
tb_notify_failure() {
	test -n "$tb_notifies" || return 0
	# Someone is waiting for the exit.
	case $1 in
	129 | 130 | 131 | 143) tb_notify_wait=5 ;;
	esac
	tb_notify failure "failed=$1" "reason=$tb_reason" "type=$tb_configuration"
}
