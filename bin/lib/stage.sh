# Runs commands as stages of a verb: keeps statuses, judges pipelines, ends all on signals. lib/setup.sh sources this.

# Whether to hold back messages; whether to exec the command; the redirections that close descriptors for commands.
tb_hold='' tb_exec='' tb_closed=''

# tb_stage NAME COMMAND…: runs it so that tb_interrupted can end it. Its status, and why it failed, goes to NAME.status,
# written by the command itself if it is one of the suite: this shell has no pipefail. With tb_exec a subshell executes
# the command. With tb_hold its messages go to NAME.err, for tb_failed; with --json to messages, shown when the verb
# succeeds, and errors are JSON. Descriptors in tb_closed are closed for it.
tb_stage() {
	tb_name=$1
	shift
	# Truncated rather than removed: a builtin can do that.
	: >"$tb_work/$tb_name.status"
	tb_messages=
	if test -n "$tb_hold"; then
		tb_messages="2>\"\$tb_work/\$tb_name.err\""
	else
		test ! -s "$tb_work/$tb_name.err" || : >"$tb_work/$tb_name.err"
		test -z "$tb_json" || tb_messages="2>>\"\$tb_work/messages\""
	fi
	case ${1##*/} in
	tbk-*)
		if test -n "$tb_exec"; then
			export TERMBACKUP_STAGE="$tb_work/$tb_name.status"
			eval "exec \"\$@\" $tb_messages $tb_closed"
		fi
		eval "TERMBACKUP_STAGE=\$tb_work/\$tb_name.status \"\$@\" $tb_messages $tb_closed"
		tb_ended=$?
		# It could not record that itself.
		test "$tb_ended" -lt 126 || { printf '%s\n' "$tb_ended" >"$tb_work/$tb_name.status"; } 2>/dev/null
		return "$tb_ended"
		;;
	esac
	eval "sh -c \"\$tb_starter\" sh \"\$tb_work/\$tb_name.status\" \"\$@\" $tb_messages $tb_closed"
	tb_ended=$?
	{ printf '%s\n' "$tb_ended" >"$tb_work/$tb_name.status"; } 2>/dev/null
	return "$tb_ended"
}
# shellcheck disable=SC2016
tb_starter='{ printf "pid %s\n" "$$" >"$1"; } 2>/dev/null || exit 74; shift; exec "$@"'

# tb_run NAMES COMMAND…: runs it, consisting of just the stages of these names, in the background without standard
# input, so that a signal to this shell alone is handled meanwhile; judges the stages.
tb_run() {
	tb_names=$1
	shift
	{
		tb_exec=1
		"$@"
	} &
	wait $!
	# shellcheck disable=SC2086 # Names.
	tb_pipeline $tb_names
}

# tb_must NAMES COMMAND…: the same; exits if one of them failed.
tb_must() {
	tb_run "$@"
	# shellcheck disable=SC2086
	test "$tb_result" -eq 0 || tb_failed "$tb_result" $tb_names
}

# tb_quietly COMMAND…: runs it with its messages held back.
tb_quietly() {
	tb_hold=1
	"$@"
	tb_hold=
}

# tb_attending COMMAND…: runs it with standard input, while signals are still handled.
tb_attending() {
	{ "$@" 0<&4 4<&- & } 4<&0
	wait $!
}

# tb_await PROCESS: waits until it ends, despite signals.
tb_await() {
	wait "$1"
	while kill -0 "$1" 2>/dev/null; do wait "$1"; done
}

# tb_end_of NAME: sets tb_ended to the stage's status; to 70 if it recorded none.
tb_end_of() {
	tb_ended=
	{ read -r tb_ended <"$tb_work/$1.status"; } 2>/dev/null
	case $tb_ended in
	'' | *[!0-9]*) tb_ended=70 ;;
	esac
}

# tb_status NAME: prints the stage's status.
tb_status() {
	tb_end_of "$1"
	printf '%s\n' "$tb_ended"
}

# tb_pipeline NAME…: judges the stages of a pipeline, first to last. Sets tb_result to the status of the one at fault,
# or 0; if one could not read everything, tb_partial, and tb_outcome to partial rather than success. The last one's
# status 141, for output without a reader, is no fault.
tb_pipeline() {
	tb_result=0 tb_outcome=success tb_partial='' tb_broken=''
	for tb_name in "$@"; do
		tb_end_of "$tb_name"
		case $tb_ended in
		0) ;;
		3) tb_partial=1 tb_outcome=partial ;;
		# It wrote to a stage that had ended: that one is at fault.
		141) tb_broken=$tb_name ;;
		*) test "$tb_result" -ne 0 || tb_result=$tb_ended ;;
		esac
	done
	if test "$tb_result" -eq 0 && test -n "$tb_broken"; then
		tb_result=70
		test "$tb_broken" != "$tb_name" || tb_result=141
	fi
}

# tb_end_all: ends all running commands; one that is just starting, and has no process id yet, checks for the mark.
tb_end_all() {
	test -z "$tb_work" || { : >"$tb_work/ending"; } 2>/dev/null
	tb_end_stages
	wait
	rm -f -- "$tb_work/ending"
}

# tb_end_stages: terminates every running command.
tb_end_stages() {
	for tb_file in "$tb_work"/*.status; do
		{ read -r tb_word tb_number <"$tb_file"; } 2>/dev/null || continue
		test "$tb_word" != pid || kill -TERM "$tb_number" 2>/dev/null
	done
}
