# What the verbs share. A verb sources this first, with $0 its own path and its arguments, and has begun when this ends. Its
# functions and variables begin with tb_. Descriptors: 3, 5 and 6 secrets, 4 data beside them, 5 to 8 the verb's own, 8 and 9 locks.
# Nothing here knows a format: the commands tbk-* do the work, and tbk-sh says what a script needs.

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
unset tb_password tb_key_password tb_new_password tb_mbu_password tb_identity_password tb_token tb_secret tb_line
tb_env_shared=${GITHUB_TOKEN-}
unset GITHUB_TOKEN
# Withheld from every child: what TERMBACKUP_PASSWORD_FILE was, and its like, is in tb_env_password_file.
tb_secrets='password:PASSWORD key_password:KEY_PASSWORD new_password:NEW_PASSWORD token:TOKEN webhook_url:WEBHOOK_URL'
# The names of those whose variable holds the secret itself.
tb_held=
for tb_name in $tb_secrets; do
	for tb_kind in : _file:_FILE _command:_COMMAND; do
		tb_to=tb_env_${tb_name%:*}${tb_kind%:*} tb_from=TERMBACKUP_${tb_name#*:}${tb_kind#*:}
		unset "$tb_to"
		eval "test -z \"\${$tb_from+1}\" || $tb_to=\$$tb_from"
		unset "$tb_from"
	done
	eval "test -z \"\${tb_env_${tb_name%:*}+1}\" || tb_held=\"\$tb_held --held ${tb_name%:*}\""
done
# Where the verbs are; what they share; and tbk-sh beside both.
tb_verb=${0##*/}
export TERMBACKUP_VERB="$tb_verb"
tb_verbs=${0%/*}
tb_top=$tb_verbs/..
tb_home='' tb_work='' tb_assignments='' tb_signing_enabled='' tb_json='' tb_quiet='' tb_no_input=''
tb_tab='	' tb_newline='
'
# Where the tbk-* are: of an installation, of the build tree, or in PATH.
tb_bin=$tb_top/../../bin/
test -x "${tb_bin}tbk-config" || tb_bin=$tb_top/../.build/suite/bin/
test -x "${tb_bin}tbk-config" || tb_bin=
# The programs that know other stores are here too, wherever PATH leads.
case $tb_bin in /*) export PATH="$PATH:${tb_bin%/}" ;; esac
# What the verbs leave to a program, beside them or in the build tree.
tb_sh=$tb_top/tbk-sh
test -x "$tb_sh" || tb_sh=$tb_top/../.build/suite/lib/termbackup/tbk-sh
# tb_use NAME…: what some verbs share has files of its own.
tb_use() {
	for tb_part in "$@"; do
		# shellcheck source=/dev/null
		. "$tb_top/lib/$tb_part.sh"
	done
}
tb_use message stage secret token store password identity sign profile

# tb_hand_on KIND…: puts variables of secrets back, as they came, in a process that does nothing but start a command:
# the secrets themselves for ':', what tells where they are for '_file:_FILE' and '_command:_COMMAND'.
tb_hand_on() {
	for tb_name in $tb_secrets; do
		for tb_kind in "$@"; do
			tb_from=tb_env_${tb_name%:*}${tb_kind%:*}
			eval "test -z \"\${$tb_from+1}\" || export \"TERMBACKUP_${tb_name#*:}${tb_kind#*:}=\$$tb_from\""
		done
	done
}

# tb_start [--whole] VERB "$@": sets opt_NAME for each option and operand that tbk-sh knows the verb to have, or shows its
# help, or refuses its usage; finds the home and what else the verb is declared to need: its part of lib, its profile, the
# patterns of what it leaves out in $tb_work/excludes; makes $tb_work, a directory of this process; reads secrets that
# cannot wait. With --whole also of a verb that has begun with its options alone.
tb_start() {
	# As it is called, and not as words are divided.
	tb_assignments=$(
		tb_hand_on _file:_FILE _command:_COMMAND
		# shellcheck disable=SC2086 # Names.
		exec "$tb_sh" begin --process $$ $tb_held "$@"
	) || exit
	eval "$tb_assignments"
}

# tb_evaluate NAME COMMAND…: evaluates what the command prints for a shell, as the stage of that name; ends if it fails.
tb_evaluate() {
	tb_assignments=$(tb_stage "$@") || tb_failed "$(tb_status "$1")" "$1"
	eval "$tb_assignments"
}

# tb_help TEXT: what tbk-sh has a verb say for --help.
tb_help() {
	printf '%s\n' "$1" 2>/dev/null || tb_unwritable "$?"
	exit
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

tb_cleanup() {
	tb_end=$?
	trap - EXIT
	trap '' HUP INT QUIT TERM
	# Interrupted before it was known here.
	test -n "$tb_work" || case $tb_assignments in tb_work=*) eval "${tb_assignments%%"$tb_newline"*}" ;; esac
	case $tb_end in
	0 | 1 | 3) test ! -s "$tb_work/messages" || cat -- "$tb_work/messages" >&2 ;;
	esac
	test -z "$tb_work" || rm -rf -- "$tb_work"
	exit "$tb_end"
}

tb_interrupted() {
	trap '' HUP INT QUIT TERM PIPE
	tb_end_all
	tb_reason=${tb_cause:-interrupted}
	tb_audit_failure "$1"
	exit "$1"
}

tb_ends
tb_start "$tb_verb" "$@"
# Nothing is printed, so no write can fail.
if test -n "$tb_output_closed" && test -n "$tb_quiet" && test -z "$tb_json"; then exec >/dev/null; fi
