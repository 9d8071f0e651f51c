# shellcheck shell=sh disable=SC2034,SC2154
# What a profile's webhook and ping URL are told; the verb run sources this after lib/setup.sh.
#
# Nobody who cannot be told ends a backup or changes its status: that is a warning. The URLs go from
# tbk-config to tbk-notify through a pipe; this shell never holds them.

# Whether there is something to tell of: from the start of a run until its end has been told.
tb_notifies=
tb_notify_wait=30
tb_started=

# tb_notify_one FIELD ARGUMENT…: sends the report, if there is one, to the URL in that field.
tb_notify_one() {
	tb_field=$1
	shift
	tb_kept_hold=$tb_hold
	tb_in_words
	tb_hold=1
	"${tb_bin}tbk-config" profile get --quiet --reveal -- "$profile_name" "$tb_field" 2>/dev/null |
		tb_stage notify "${tb_bin}tbk-notify" --quiet --url-fd 0 "$@" &
	tb_await $!
	tb_as_asked
	tb_hold=$tb_kept_hold
	test "$(tb_status notify)" -ne 0 || return 0
	tb_why=$(sed -n 's/^tbk-notify: error: //p;' "$tb_work/notify.err" | head -n 1)
	test "$(tb_status notify)" -ne 143 || tb_why=interrupted
	case $tb_field in
	ping_url) tb_warn "the ping was not sent: ${tb_why:-tbk-notify failed}" ;;
	*) tb_warn "the webhook was not notified: ${tb_why:-tbk-notify failed}" ;;
	esac
}

# tb_notify_start: pings that a run begins.
tb_notify_start() {
	test -z "$profile_has_ping_url" || tb_notify_one ping_url --ping start --max-wait 10
}

# tb_notify STATUS MEMBER…: reports the end to both, with these members for tbk-sh object.
tb_notify() {
	test -n "$tb_notifies" || return 0
	tb_notifies=
	test -n "$profile_has_webhook_url$profile_has_ping_url" || return 0
	tb_told=$1
	shift
	"$tb_sh" object -- "status=$tb_told" "profile=$profile_name" \
		"seconds:=$(($(date +%s) - tb_started))" "$@" >"$tb_work/notice" || return 0
	# A run that stored nothing is no news for people, but for what waits for a sign of life.
	if test -n "$profile_has_webhook_url"; then
		case $tb_told.${tb_problem:+problem} in
		unchanged.) ;;
		*) tb_notify_one webhook_url --max-wait "$tb_notify_wait" "$tb_work/notice" ;;
		esac
	fi
	if test -n "$profile_has_ping_url"; then
		case $tb_told in
		success | unchanged) tb_kind=success ;;
		*) tb_kind=failure ;;
		esac
		tb_notify_one ping_url --ping "$tb_kind" --max-wait "$tb_notify_wait" "$tb_work/notice"
	fi
}
tb_problem=

# tb_notify_failure STATUS: tells of a run that ends with this status.
tb_notify_failure() {
	test -n "$tb_notifies" || return 0
	# Somebody waits for the end.
	case $1 in
	129 | 130 | 131 | 143) tb_notify_wait=5 ;;
	esac
	tb_error_type "$1"
	tb_notify failure "error:=$(
		"$tb_sh" object -- "type=$tb_type" "message=$(tb_reason "$1")" "status:=$1"
	)"
}
