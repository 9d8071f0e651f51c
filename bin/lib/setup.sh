# shellcheck shell=sh disable=SC2034
# What the verbs share. A verb sources this first, with $0 its own path; its functions and variables
# begin with tb_. Descriptors: 3 the password, 4 data beside it, 5 to 8 the verb's own, 8 and 9 locks.
#
# Nothing here knows a format: the commands tbk-* do the work and say what a script needs.

# Before anything is known: no trace shows a secret, no child gets what it need not have, and no core holds it.
{ set +avx; } 2>/dev/null
# shellcheck disable=SC3045 # dash, bash and busybox have it.
ulimit -c 0 2>/dev/null || :
# What is opened must not take the place of a standard stream that is closed. Descriptor 1 can still not be
# written: a report that nobody gets is a failure, unless there is none.
tb_output_closed=
true 3>&2 || exec 2>/dev/null
{ true 3<&0; } 2>/dev/null || exec </dev/null
{ true 3>&1; } 2>/dev/null || {
	tb_output_closed=1
	exec 1</dev/null
}
# A file that gets larger than 'ulimit -f' allows is an error of whoever writes it, not the silent end.
trap '' XFSZ
unset tb_password tb_password_value tb_identity_password tb_secret tb_line
# Withheld from every child.
tb_password_is_set=${TERMBACKUP_PASSWORD+1}
tb_password_value=${TERMBACKUP_PASSWORD-}
tb_password_value_file=${TERMBACKUP_PASSWORD_FILE-}
tb_password_value_command=${TERMBACKUP_PASSWORD_COMMAND-}
unset TERMBACKUP_PASSWORD TERMBACKUP_PASSWORD_FILE TERMBACKUP_PASSWORD_COMMAND
unset TERMBACKUP_WEBHOOK_URL TERMBACKUP_WEBHOOK_URL_FILE TERMBACKUP_WEBHOOK_URL_COMMAND
unset tb_new_value
tb_new_value=${TERMBACKUP_NEW_PASSWORD-}
tb_new_value_file=${TERMBACKUP_NEW_PASSWORD_FILE-}
tb_new_value_command=${TERMBACKUP_NEW_PASSWORD_COMMAND-}
unset TERMBACKUP_NEW_PASSWORD TERMBACKUP_NEW_PASSWORD_FILE TERMBACKUP_NEW_PASSWORD_COMMAND
# Where the verbs are; what they share; and tbk-sh beside both.
tb_verb=${0##*/}
export TERMBACKUP_VERB="$tb_verb"
tb_verbs=${0%/*}
tb_top=$tb_verbs/..
tb_lib=$tb_top/lib
tb_bin=
tb_home=
tb_work=
tb_frees=
tb_assignments=
tb_signing_enabled=
tb_json=
tb_quiet=
tb_no_input=
tb_progress=auto
tb_audited=
tb_audit_profile=
tb_closed=
tb_configuration=
tb_password_fd=
tb_password_file=
tb_password_command=
tb_identity_file=
tb_tab='	'
tb_newline='
'
# Failures are reported as JSON from the first option on, wherever --json stands, by all commands.
tb_errors=
test "${TERMBACKUP_ERRORS-}" != json || tb_errors=json
for tb_argument in "$@"; do
	case $tb_argument in
	--) break ;;
	--json) tb_json=1 tb_errors=json ;;
	esac
done
test -z "$tb_errors" || export TERMBACKUP_ERRORS=json

# Messages

tb_note() {
	test -z "$tb_quiet" || return 0
	tb_escape "$1"
	printf 'termbackup %s: %s\n' "$tb_verb" "$tb_text" >&2
}

tb_warn() {
	tb_colours 2
	tb_escape "$1"
	printf 'termbackup %s: %swarning: %s%s\n' "$tb_verb" "$tb_yellow" "$tb_plain" "$tb_text" >&2
}

# tb_error STATUS MESSAGE [HINT]: the report, as text or as JSON.
tb_error() {
	if test -n "$tb_errors" && test -n "$tb_bin$(command -v tbk-config)"; then
		tb_error_type "$1"
		if test -n "${3-}"; then set -- "$1" "$2" "hint=$3"; else set -- "$1" "$2" 'hint:=null'; fi
		"$tb_sh" object -- error:="$(
			"$tb_sh" object -- "type=$tb_type" "message=$2" "$3" "status:=$1"
		)" >&2
		return
	fi
	tb_colours 2
	tb_escape "$2"
	printf 'termbackup %s: %serror: %s%s\n' "$tb_verb" "$tb_red" "$tb_plain" "$tb_text" >&2
	test -n "${3-}" || return 0
	tb_escape "$3"
	printf 'termbackup %s: hint: %s\n' "$tb_verb" "$tb_text" >&2
}

# tb_error_type STATUS: sets tb_type to the name of the kind of error.
tb_error_type() {
	case $1 in
	64) tb_type=UsageError ;;
	65) tb_type=ArchiveError ;;
	66 | 74) tb_type=BackupError ;;
	69 | 75) tb_type=StoreError ;;
	73) tb_type=RestoreError ;;
	77) tb_type=CryptoError ;;
	78) tb_type=${tb_configuration:-ConfigError} ;;
	*) tb_type=TermBackupError ;;
	esac
}

# tb_die STATUS MESSAGE [HINT]: reports, writes the audit entry that is due, and ends.
tb_die() {
	tb_error "$@"
	tb_audit_failure "$1"
	exit "$1"
}

tb_usage_error() {
	test $# -gt 1 || set -- "$1" "see 'termbackup $tb_verb --help'"
	tb_die 64 "$@"
}

# tb_failed STATUS STAGE…: ends because of a command that has reported its failure itself; with
# --json its report, JSON too, was held back and is passed on. A command whose reader has gone (141) has
# nothing to report.
tb_failed() {
	tb_failed_status=$1
	shift
	tb_report=
	for tb_stage_name in "$@"; do
		if test "$tb_failed_status" -eq 70 && test -e "$tb_work/$tb_stage_name.status" &&
			! test -s "$tb_work/$tb_stage_name.status"; then
			# Not even that: a full disk.
			tb_die 74 "cannot write to '$tb_work'" "make room for it, or move the home with TERMBACKUP_HOME"
		fi
		if test "$tb_failed_status" -eq 70 && tb_runs "$tb_stage_name"; then
			tb_die 70 "the command for '$tb_stage_name' was killed" 'is there enough memory?'
		fi
		if test -n "$tb_errors" && test -z "$tb_report" && test -s "$tb_work/$tb_stage_name.err"; then
			tb_report=$(sed -n '/^{"error":/{p;q;}' "$tb_work/$tb_stage_name.err")
		fi
		case $tb_stage_name in
		push* | pull* | prune* | preview | list | check | token*)
			tb_end_of "$tb_stage_name"
			test "$tb_ended" != "$tb_failed_status" || tb_at_store=1
			;;
		esac
	done
	if test -n "$tb_report"; then
		printf '%s\n' "$tb_report" >&2
	elif test -n "$tb_json" && test "$tb_failed_status" -ne 141; then
		tb_error "$tb_failed_status" "$(tb_reason "$tb_failed_status")"
	fi
	tb_audit_failure "$tb_failed_status"
	exit "$tb_failed_status"
}
tb_at_store=
# The reason, where it is known better than by a status.
tb_cause=

# tb_reason STATUS: the sentence that goes into the audit log.
tb_reason() {
	case ${tb_cause:+known}$1 in
	known*) printf '%s' "$tb_cause" ;;
	64) printf 'wrong usage' ;;
	65) printf 'corrupt or incomplete data' ;;
	66)
		if test "$tb_audited" = backup; then printf 'source missing'; else printf 'file or archive missing'; fi
		;;
	69) printf 'store unavailable' ;;
	73) printf 'output cannot be created' ;;
	74) printf 'input or output error' ;;
	75) printf 'busy' ;;
	77)
		if test "$tb_audited" = prune; then
			printf 'refused by the store or by the rules'
		elif test -n "$tb_at_store"; then
			printf 'access denied by the store'
		else
			printf 'incorrect password or altered data'
		fi
		;;
	78) printf 'wrong configuration' ;;
	129 | 130 | 131 | 141 | 143) printf 'interrupted' ;;
	*) printf 'internal fault' ;;
	esac
}

# Options

# tb_options VERB "$@": sets opt_NAME for each option and operand that tbk-sh knows the verb to have, and
# those of them that many share; or shows the verb's help, or refuses its usage, and ends.
tb_options() {
	tb_assignments=$("$tb_sh" options "$@") || exit
	eval "$tb_assignments"
	tb_take_options
}

# tb_take_options: those that many verbs have.
tb_take_options() {
	tb_json=${opt_json-} tb_quiet=${opt_quiet-} tb_no_input=${opt_no_input-}
	tb_progress=${opt_progress:-auto}
	tb_password_fd=${opt_password_fd-} tb_password_file=${opt_password_file-}
	tb_password_command=${opt_password_command-}
	tb_key_fd=${opt_key_password_fd-} tb_key_file=${opt_key_password_file-}
	tb_key_command=${opt_key_password_command-}
	tb_token_fd=${opt_token_fd-} tb_token_file=${opt_token_file-} tb_token_command=${opt_token_command-}
	tb_max_wait=${opt_max_wait-}
	tb_up=${opt_limit_upload:-$profile_limit_upload} tb_down=${opt_limit_download:-$profile_limit_download}
	tb_require_signature=${opt_require_signature-} tb_accept_state=${opt_accept_store_state-}
	tb_store=${opt_store-} tb_group=${opt_group-}
}

# tb_start VERB "$@": likewise, and finds the home and what else tbk-sh knows the verb to need: its profile, and the
# patterns of what it leaves out in $tb_work/excludes; makes $tb_work, a directory of this process.
tb_start() {
	tb_ends
	# As it is called, and not as words are divided.
	tb_assignments=$("$tb_sh" begin --process $$ "$@") || exit
	eval "$tb_assignments"
	tb_take_options
	tb_begun
	case $profile_store in
	github:*) tb_get_token ;;
	esac
}

# tb_help TEXT: what tbk-sh has a verb say for --help.
tb_help() {
	tb_say '%s\n' "$1"
	exit
}

# tb_each OPTION WORDS: the option before each of the words, for eval.
tb_each() {
	tb_name=$1
	eval "set -- $2"
	for tb_argument in "$@"; do printf ' %s %s' "$tb_name" "$(tb_quote "$tb_argument")"; done
}

# tb_selection: what tbk-open is told of the files to restore, and how, for eval.
tb_selection() {
	# shellcheck disable=SC2154 # Options of the verbs that restore.
	printf '%s%s%s%s%s' "$(tb_each --include "$opt_include")" "$(tb_each --exclude "$opt_exclude")" \
		"${opt_no_owner:+ --no-owner}" "${opt_numeric_owner:+ --numeric-owner}" "${opt_setuid:+ --setuid}"
}

# tb_profile: sets profile to the one that is named: to the verb, by TERMBACKUP_PROFILE, or as the only one.
tb_profile() {
	profile=${opt_profile:-${TERMBACKUP_PROFILE-}}
	test -z "$profile" || return 0
	profile=$("${tb_bin}tbk-config" profile list --quiet 2>/dev/null | cut -f 1)
	case $profile in
	'') tb_usage_error 'no profile is given' "make one with 'termbackup profile create NAME --source DIR'" ;;
	*"$tb_newline"*)
		tb_usage_error 'no profile is given' "one of: $(printf '%s\n' "$profile" | tr '\n' ' ' | sed 's/ $//')"
		;;
	esac
}

# tb_profile_name NAME: refuses what cannot be one before it becomes part of a path.
tb_profile_name() {
	case $1 in
	'' | *[!A-Za-z0-9_-]*) tb_usage_error "'$1' cannot be the name of a profile" ;;
	esac
}

# tb_quote WORD: the word in quotes, for eval.
tb_quote() {
	printf '%s\n' "$1" | sed "s/'/'\\\\''/g; 1s/^/'/; \$s/\$/'/"
}

# Start and end

# Where the tbk-* are: of an installation, of the build tree, or in PATH.
for tb_directory in "$tb_top/../../bin" "$tb_top/../.build/suite/bin"; do
	if test -x "$tb_directory/tbk-config"; then
		tb_bin=$tb_directory/
		break
	fi
done

# What the verbs leave to a program, beside them or in the build tree.
tb_sh=$tb_top/tbk-sh
test -x "$tb_sh" || tb_sh=$tb_top/../.build/suite/lib/termbackup/tbk-sh

# tb_begin: finds the commands and the home, and makes a directory of this process in its tmp.
tb_begin() {
	test -n "$tb_bin" || command -v tbk-config >/dev/null ||
		tb_die 70 'tbk-config is missing' 'reinstall TermBackup'
	tb_home=$("${tb_bin}tbk-config" path) || exit
	test -d "$tb_home" || tb_die 78 "'$tb_home' does not exist" "make it with 'termbackup init'"
	tb_make_directory "$tb_home/tmp"
	tb_ends
	tb_make_work "$tb_home/tmp" || {
		tb_place=$tb_home/tmp
		# What makes room must not need any there.
		if test -n "$tb_frees"; then
			for tb_place in "${TMPDIR:-/var/tmp}" /dev/shm /tmp "$tb_home/tmp"; do
				if tb_make_work "$tb_place"; then break; fi
			done
		fi
		test -n "$tb_work" || test "$tb_number" -lt 100 || tb_die 73 "cannot create a directory in '$tb_place'"
		test -n "$tb_work" ||
			tb_die 74 "cannot write to '$tb_place'" "make room for it, or move the home with TERMBACKUP_HOME"
	}
	tb_begun
}

# tb_ends: how this process ends.
tb_ends() {
	trap tb_cleanup EXIT
	trap 'tb_interrupted 129' HUP
	trap 'tb_interrupted 130' INT
	trap 'tb_interrupted 131' QUIT
	trap 'tb_interrupted 143' TERM
	# Nobody reads on.
	trap 'tb_interrupted 141' PIPE
}

# tb_begun: what follows the options. Secrets are read that have to be read at once.
tb_begun() {
	# Nothing is printed, so it matters to nobody.
	if test -n "$tb_output_closed" && test -n "$tb_quiet" && test -z "$tb_json"; then exec >/dev/null; fi
	# The programs that know other stores are here too, wherever PATH leads.
	case $tb_bin in /*) export PATH="$PATH:${tb_bin%/}" ;; esac
	# The stages are told to be quiet, which is not to say that there is nobody to show progress to.
	if test "$tb_progress" = auto; then
		tb_progress=never
		if test -z "$tb_quiet$tb_json" && test -t 2 && test "${TERM:-dumb}" != dumb; then tb_progress=always; fi
	fi
	# Before their descriptors are taken for something else.
	test -z "$tb_password_fd" || test "$tb_password_fd" != "$tb_token_fd" ||
		tb_usage_error "descriptor $tb_token_fd cannot give both the password and the token"
	test -z "$tb_key_fd" || case $tb_key_fd in
	"$tb_password_fd" | "$tb_token_fd")
		tb_usage_error "descriptor $tb_key_fd cannot give the password of the key and something else"
		;;
	esac
	if test -n "$tb_token_fd" || tb_fleeting "$tb_token_file" "$tb_token_value_file"; then tb_given_token; fi
	if test -n "$tb_key_fd" || tb_fleeting "$tb_key_file" "$tb_key_value_file"; then tb_given_key_password; fi
	if test -n "$tb_password_fd" || tb_fleeting "$tb_password_file" "$tb_password_value_file"; then tb_get_password; fi
	tb_get_identity_password
}

# tb_make_work DIRECTORY: makes one of this process there, and sets tb_work to it; false if nothing can be
# written in it, or it cannot be made (tb_number is 100 then).
tb_make_work() {
	tb_number=0
	until mkdir -m 700 -- "$1/$tb_verb.$$.$tb_number" 2>/dev/null; do
		tb_number=$((tb_number + 1))
		test "$tb_number" -lt 100 || return 1
	done
	tb_work=$1/$tb_verb.$$.$tb_number
	# A full disk may have room for a directory.
	if { printf '%s\n' "$tb_verb" >"$tb_work/verb"; } 2>/dev/null; then return 0; fi
	rm -rf -- "$tb_work"
	tb_work=
	return 1
}

tb_cleanup() {
	tb_end=$?
	trap - EXIT
	trap '' HUP INT QUIT TERM
	# Interrupted before it was known here.
	test -n "$tb_work" || case $tb_assignments in tb_work=*) eval "${tb_assignments%%"$tb_newline"*}" ;; esac
	test -z "$tb_work" || rm -rf -- "$tb_work"
	exit "$tb_end"
}

tb_interrupted() {
	trap '' HUP INT QUIT TERM PIPE
	tb_end_all
	tb_audit_failure "$1"
	exit "$1"
}

# tb_end_all: ends every command that runs, also one that begins just now and has no number yet: it finds the mark.
tb_end_all() {
	test -z "$tb_work" || { : >"$tb_work/ending"; } 2>/dev/null
	tb_end_stages
	wait
	rm -f -- "$tb_work/ending"
}

# tb_end_stages: asks every command that runs to end.
tb_end_stages() {
	for tb_file in "$tb_work"/*.status; do
		{ read -r tb_word tb_number <"$tb_file"; } 2>/dev/null || continue
		test "$tb_word" != pid || kill -TERM "$tb_number" 2>/dev/null
	done
}

# Commands

# tb_stage NAME COMMAND…: runs it so that tb_interrupted can end it. Its status is in NAME.status, where a command
# of the suite puts it itself, for this shell has no pipefail, and may be replaced by it: at the end of a
# subshell, with tb_exec set. With --json, or tb_hold set, its messages are kept in NAME.err; with
# --json its errors are JSON. It does not get the descriptors that tb_closed closes.
tb_stage() {
	tb_name=$1
	shift
	# Emptied, not removed: a builtin does that.
	: >"$tb_work/$tb_name.status"
	tb_messages="2>\"\$tb_work/\$tb_name.err\""
	if test -z "$tb_json$tb_hold"; then
		tb_messages=
		test -z "$tb_errors" || : >"$tb_work/$tb_name.err"
	fi
	case ${1##*/} in
	tbk-store-*) ;;
	tbk-*)
		if test -n "$tb_exec"; then
			export TERMBACKUP_STAGE="$tb_work/$tb_name.status"
			eval "exec \"\$@\" $tb_messages $tb_closed"
		fi
		eval "TERMBACKUP_STAGE=\$tb_work/\$tb_name.status \"\$@\" $tb_messages $tb_closed"
		tb_ended=$?
		# It could not say so itself.
		test "$tb_ended" -lt 126 || { printf '%s\n' "$tb_ended" >"$tb_work/$tb_name.status"; } 2>/dev/null
		return "$tb_ended"
		;;
	esac
	eval "sh -c \"\$tb_starter\" sh \"\$tb_work/\$tb_name.status\" \"\$@\" $tb_messages $tb_closed"
	tb_ended=$?
	{ printf '%s\n' "$tb_ended" >"$tb_work/$tb_name.status"; } 2>/dev/null
	return "$tb_ended"
}
tb_hold=
tb_exec=
# shellcheck disable=SC2016
tb_starter='{ printf "pid %s\n" "$$" >"$1"; } 2>/dev/null || exit 74; shift; exec "$@"'

# tb_last NAME COMMAND…: likewise, as the end of a subshell.
tb_last() {
	tb_exec=1
	tb_stage "$@"
}

# tb_waiting COMMAND…: runs it without standard input, so that a signal to this shell alone is heard
# meanwhile.
tb_waiting() {
	{
		tb_exec=1
		"$@"
	} &
	wait $!
}

# tb_attending COMMAND…: likewise, with standard input.
tb_attending() {
	{ "$@" 0<&4 4<&- & } 4<&0
	wait $!
}

# tb_await PROCESS: waits for its end, whatever signals come meanwhile.
tb_await() {
	wait "$1"
	while kill -0 "$1" 2>/dev/null; do wait "$1"; done
}

# tb_sealed NAME COMMAND [SUBCOMMAND] OPTION…: tb_stage with the password if there is one, through a pipe, and
# with the identities if it opens something; standard input stays.
tb_sealed() {
	tb_name=$1
	tb_command=$2
	shift 2
	tb_subcommand=
	case ${1-} in
	[a-z]*)
		tb_subcommand=$1
		shift
		;;
	esac
	case $tb_command.$tb_subcommand.${opt_identity-} in
	*tbk-open..?* | *.manifest.?* | *.consolidate.?*)
		eval "set --$(tb_each -i "$opt_identity") \"\$@\""
		if test -n "$tb_identity_file"; then
			set -- --identity-password-file "$tb_identity_file" "$@"
		elif test -n "${tb_identity_password-}"; then
			{
				printf '%s\n' "$tb_identity_password" | tb_with_password --identity-password-fd 7 "$@" 7<&0 0<&4 4<&-
			} 4<&0
			return
		fi
		;;
	esac
	tb_with_password "$@"
}

# tb_with_password OPTION…: likewise, of tb_name, tb_command and tb_subcommand.
tb_with_password() {
	if test -n "$tb_password_file"; then
		tb_stage "$tb_name" "$tb_command" ${tb_subcommand:+"$tb_subcommand"} --password-file "$tb_password_file" "$@"
	elif test -z "${tb_password-}"; then
		tb_stage "$tb_name" "$tb_command" ${tb_subcommand:+"$tb_subcommand"} ${tb_no_input:+--no-input} "$@"
	else
		{
			printf '%s\n' "$tb_password" |
				tb_last "$tb_name" "$tb_command" ${tb_subcommand:+"$tb_subcommand"} --password-fd 3 "$@" 3<&0 0<&4 4<&-
		} 4<&0
	fi
}

# tb_end_of NAME: sets tb_ended to how the stage ended; to 70 if it could not say so.
tb_end_of() {
	tb_ended=
	{ read -r tb_ended <"$tb_work/$1.status"; } 2>/dev/null
	case $tb_ended in
	'' | *[!0-9]*) tb_ended=70 ;;
	esac
}

# tb_runs NAME: whether the stage has begun, and has not ended.
tb_runs() {
	{ read -r tb_ended <"$tb_work/$1.status"; } 2>/dev/null || return 1
	case $tb_ended in
	pid*) ;;
	*) return 1 ;;
	esac
}

# tb_status NAME: prints how the stage ended.
tb_status() {
	tb_end_of "$1"
	printf '%s\n' "$tb_ended"
}

# tb_pipeline NAME…: judges the stages of a pipeline, the first one first. Sets tb_result to the
# status of the one at fault or 0, and tb_partial if one could not read everything. That nobody reads what
# the last one writes (141) is no fault.
tb_pipeline() {
	tb_result=0
	tb_partial=
	tb_broken=
	for tb_name in "$@"; do
		tb_end_of "$tb_name"
		case $tb_ended in
		0) ;;
		3) tb_partial=1 ;;
		# It wrote to one that had ended: that one is at fault.
		141) tb_broken=$tb_name ;;
		*) test "$tb_result" -ne 0 || tb_result=$tb_ended ;;
		esac
	done
	if test "$tb_result" -eq 0 && test -n "$tb_broken"; then
		tb_result=70
		test "$tb_broken" != "$tb_name" || tb_result=141
	fi
}

# Tokens, passwords, signing, backups, and below reports, have files of their own.
# shellcheck source=bin/lib/keyring.sh
. "$tb_lib/keyring.sh"
# shellcheck source=bin/lib/token.sh
. "$tb_lib/token.sh"
# shellcheck source=bin/lib/password.sh
. "$tb_lib/password.sh"
# shellcheck source=bin/lib/sign.sh
. "$tb_lib/sign.sh"
# shellcheck source=bin/lib/backups.sh
. "$tb_lib/backups.sh"

# Profile, store and password

tb_token_known=
# What runs tbk-pull in place of tb_pull, if something does: lib/ranges.sh sets it.
tb_serves=
profile_name=
profile_source_dir=
profile_store=
profile_store_directory=
profile_group=
profile_ungrouped=
profile_backup_mode='' profile_sealing='' profile_recipients='' profile_cipher_suite='' profile_placement=''
profile_max_backups='' profile_retention_days='' profile_max_age=''
profile_has_webhook_url='' profile_has_ping_url=''
profile_walk='' profile_exclude_larger_than='' profile_full_every='' profile_max_chain='' profile_limit_upload='' profile_limit_download=''
profile_before_command='' profile_after_command='' profile_notify_command=''

# tb_load_profile NAME: sets these and the others, and gets the token if the store wants one and
# tb_token_known is not set.
tb_load_profile() {
	tb_profile_name "$1"
	tb_configuration=ProfileError
	tb_words=${opt_suite:+--suite $opt_suite}
	test -z "${opt_recipient-}${opt_recipients_file-}" ||
		tb_words="$(tb_each --recipient "$opt_recipient") $(tb_each --recipients-file "$opt_recipients_file")"
	tb_assignments=$(eval "tb_stage config \"\${tb_bin}tbk-config\" profile show --shell $tb_words -- \"\$1\"") ||
		tb_failed "$(tb_status config)" config
	tb_configuration=
	eval "$tb_assignments"
	tb_up=${opt_limit_upload:-$profile_limit_upload} tb_down=${opt_limit_download:-$profile_limit_download}
	case $profile_store in
	github:*) test -n "$tb_token_known" || tb_get_token ;;
	esac
}

# tb_need_source: the profile's source must be there.
tb_need_source() {
	test -n "$profile_source_dir" || tb_die 78 "the profile '$profile_name' has no source directory yet" \
		"set it with 'termbackup profile edit $profile_name --source DIR'"
	test -d "$profile_source_dir" ||
		tb_die 66 "the directory '$profile_source_dir' does not exist" 'mount it, or change the profile'
}

# tb_pull NAME ARGUMENT…: tbk-pull on the profile's backups in its store: those of its group, and, of a
# profile that had none when it met them, those in no group; its operands go before the options. Without
# a group, all of a store if tb_every_group is set. A profile's group may be new, one that was named is not.
tb_pull() {
	tb_name=$1
	shift
	if test -n "$profile_group" && test -z "$tb_group"; then set -- --new-group "$@"; fi
	if test -n "$profile_group"; then set -- --group "$profile_group" "$@"; fi
	if test "$profile_ungrouped" = true || test -z "$profile_group$tb_every_group"; then set -- --group - "$@"; fi
	set -- ${tb_max_wait:+--max-wait "$tb_max_wait"} ${tb_up:+--limit-upload "$tb_up"} ${tb_down:+--limit-download "$tb_down"} "$@"
	if test -n "$tb_require_signature"; then set -- --require-signature "$@"; fi
	if test -n "$tb_accept_state"; then set -- --accept-store-state "$@"; fi
	if test -n "$tb_serves"; then
		"$tb_serves" "$@"
	elif test -n "${tb_token-}"; then
		printf '%s\n' "$tb_token" | tb_last "$tb_name" "${tb_bin}tbk-pull" --token-fd 0 "$@"
	else
		tb_stage "$tb_name" "${tb_bin}tbk-pull" "$@"
	fi
}

# tb_push NAME ARGUMENT…: tbk-push; standard input stays.
tb_push() {
	tb_name=$1
	shift
	tb_change "$tb_name" "${tb_bin}tbk-push" "$@"
}

# tb_on_store NAME VERB ARGUMENT…: tbk-store, likewise.
tb_on_store() {
	tb_name=$1
	shift
	tb_change "$tb_name" "${tb_bin}tbk-store" "$@"
}

# tb_change NAME COMMAND ARGUMENT…: what changes a store, with the token and the key it needs; standard
# input stays.
tb_change() {
	tb_name=$1
	tb_command=$2
	shift 2
	tb_first=
	case $tb_command in
	*tbk-store) tb_first=$1 && shift ;;
	esac
	set -- ${tb_max_wait:+--max-wait "$tb_max_wait"} ${tb_up:+--limit-upload "$tb_up"} ${tb_down:+--limit-download "$tb_down"} "$@"
	tb_fed=
	if test -n "$tb_sign_key"; then
		set -- --sign-key "$tb_sign_key" --no-input "$@"
		if test -n "$tb_key_password_file"; then
			set -- --key-password-file "$tb_key_password_file" "$@"
		elif test -n "${tb_key_password-}"; then
			set -- --key-password-fd 6 "$@"
			tb_fed=1
		fi
	fi
	if test -n "${tb_token-}"; then
		set -- --token-fd 3 "$@"
		tb_fed=1
	fi
	if test -z "$tb_fed"; then
		tb_stage "$tb_name" "$tb_command" ${tb_first:+"$tb_first"} "$@"
		return
	fi
	# Both pipes are there, whatever goes through them.
	{
		printf '%s\n' "${tb_token-}" | {
			printf '%s\n' "${tb_key_password-}" |
				tb_last "$tb_name" "$tb_command" ${tb_first:+"$tb_first"} "$@" 6<&0 3<&5 0<&4 4<&- 5<&-
		} 5<&0
	} 4<&0
}

# tb_pull_manifest NAME ID FILE: gets the sealed manifest of a backup; false if the store has none, and, with
# tb_spares_manifest, if it is damaged.
tb_spares_manifest=
tb_pull_manifest() {
	tb_hold=1
	tb_waiting tb_pull "$1" --manifest "$2" -o "$3" -- "$profile_store"
	tb_hold=
	if test -n "$tb_spares_manifest" && test "$(tb_status "$1")" = 65; then
		test -n "$tb_json" || tb_show_held "$1"
		tb_warn "the sealed manifest of backup $(tb_short "$2") is damaged and is not used; 'termbackup verify' recreates it"
		return 1
	fi
	tb_judge_pull "$1"
}

# tb_judge_pull NAME: false if the store does not have what the stage was to get; ends if it failed.
tb_judge_pull() {
	tb_end_of "$1"
	case $tb_ended in
	0) ;;
	66 | 69) return 1 ;;
	*)
		test -n "$tb_json" || tb_show_held "$1"
		tb_failed "$(tb_status "$1")" "$1"
		;;
	esac
}

# shellcheck source=bin/lib/report.sh
. "$tb_lib/report.sh"
