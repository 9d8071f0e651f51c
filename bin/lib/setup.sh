# What the verbs share. A verb sources this first, with $0 its own path and with its arguments. Names here begin with
# tb_. Descriptors: 3, 5 and 6 secrets, 4 data beside them, 5 to 8 the verb's own, 8 and 9 locks.
# No formats are handled here: the commands tbk-* do the work, and tbk-sh gives a script what it needs.

# Before anything else: no trace shows a secret, no child inherits one unless it needs it, and there are no core dumps.
{ set +avx; } 2>/dev/null
# shellcheck disable=SC3045 # dash, bash and busybox have it.
ulimit -c 0 2>/dev/null || :
# A file opened later must not take the place of a closed standard stream. Descriptor 1 remains unwritable: a report
# that cannot be printed is a failure.
tb_output_closed=
true 3>&2 || exec 2>/dev/null
{ true 3<&0; } 2>/dev/null || exec </dev/null
{ true 3>&1; } 2>/dev/null || {
	tb_output_closed=1
	exec 1</dev/null
}
# If a file exceeds 'ulimit -f', let the writer report an error instead of being killed silently.
trap '' XFSZ
unset tb_password tb_key_password tb_new_password tb_mbu_password tb_identity_password tb_token tb_secret tb_line
tb_env_shared=${GITHUB_TOKEN-}
unset GITHUB_TOKEN
# Removed from the environment of every child: TERMBACKUP_PASSWORD_FILE is kept as tb_env_password_file, and so on.
tb_secrets='password:PASSWORD key_password:KEY_PASSWORD new_password:NEW_PASSWORD token:TOKEN webhook_url:WEBHOOK_URL'
# The names of secrets that a variable contains itself.
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
# The paths of the verbs, of what they share, and of tbk-sh beside both.
tb_verb=${0##*/}
export TERMBACKUP_VERB="$tb_verb"
tb_verbs=${0%/*}
tb_top=$tb_verbs/..
tb_home='' tb_work='' tb_assignments='' tb_signing_enabled='' tb_json='' tb_quiet='' tb_no_input=''
tb_tab='	' tb_newline='
'
# The path of the tbk-*: in an installation, in the build tree, or else found in PATH.
tb_bin=$tb_top/../../bin/
test -x "${tb_bin}tbk-config" || tb_bin=$tb_top/../.build/suite/bin/
test -x "${tb_bin}tbk-config" || tb_bin=
# The helper programs for other stores are there too, whatever PATH has.
case $tb_bin in /*) export PATH="$PATH:${tb_bin%/}" ;; esac
# The program for what a shell cannot do, beside the verbs or in the build tree.
tb_sh=$tb_top/tbk-sh
test -x "$tb_sh" || tb_sh=$tb_top/../.build/suite/lib/termbackup/tbk-sh
# tb_use NAME…: sources further files of lib that only some verbs need.
tb_use() {
	for tb_part in "$@"; do
		# shellcheck source=/dev/null
		. "$tb_top/lib/$tb_part.sh"
	done
}
tb_use message stage secret token store password identity sign profile

# tb_hand_on KIND…: exports the variables of secrets again, unchanged, in a process that only starts a command: the
# secrets themselves for ':', their files and commands for '_file:_FILE' and '_command:_COMMAND'.
tb_hand_on() {
	for tb_name in $tb_secrets; do
		for tb_kind in "$@"; do
			tb_from=tb_env_${tb_name%:*}${tb_kind%:*}
			eval "test -z \"\${$tb_from+1}\" || export \"TERMBACKUP_${tb_name#*:}${tb_kind#*:}=\$$tb_from\""
		done
	done
}

# tb_start [--whole] VERB "$@": sets opt_NAME for each option and operand of the verb, or shows its help, or reports a
# usage error; finds the home and what else the verb declares: its parts of lib, its profile, its exclude patterns in
# $tb_work/excludes; creates $tb_work, a directory of this process; reads secrets that cannot wait. With --whole also
# for a verb that has started with only its options.
tb_start() {
	# Keep the arguments as given, without splitting words.
	tb_assignments=$(
		tb_hand_on _file:_FILE _command:_COMMAND
		# shellcheck disable=SC2086 # Names.
		exec "$tb_sh" begin --process $$ $tb_held "$@"
	) || exit
	eval "$tb_assignments"
}

# tb_evaluate NAME COMMAND…: runs the command as that stage, and evaluates its output; exits if it fails.
tb_evaluate() {
	tb_assignments=$(tb_stage "$@") || tb_failed "$(tb_status "$1")" "$1"
	eval "$tb_assignments"
}

# tb_help TEXT: prints the text from tbk-sh for --help.
tb_help() {
	printf '%s\n' "$1" 2>/dev/null || tb_unwritable "$?"
	exit
}

# tb_ends: sets the traps for the end of this process.
tb_ends() {
	trap tb_cleanup EXIT
	trap 'tb_interrupted 129' HUP
	trap 'tb_interrupted 130' INT
	trap 'tb_interrupted 131' QUIT
	trap 'tb_interrupted 143' TERM
	# The output has no reader any more.
	trap 'tb_interrupted 141' PIPE
}

tb_cleanup() {
	tb_end=$?
	trap - EXIT
	trap '' HUP INT QUIT TERM
	# Interrupted before the directory was known here.
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
# Nothing will be printed, so no write can fail.
if test -n "$tb_output_closed" && test -n "$tb_quiet" && test -z "$tb_json"; then exec >/dev/null; fi
