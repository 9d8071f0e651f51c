# Messages of a verb for people and programs, and why it fails. lib/setup.sh sources this.

# The operation for the audit log; the backup that is read or made, if already known.
tb_audited='' tb_id=''
# The function to call with the status of a failure, if any.
tb_on_failure=
# The reason, if more is known than the status; the error type of a wrong configuration; the file for the caller of this
# process that gets errors instead of standard error.
tb_cause='' tb_configuration='' tb_into='' tb_reason=''

tb_note() { test -n "$tb_quiet" || "$tb_sh" say -- "$1"; }

# tb_warn TEXT [FILE]: with FILE, the end of a stage, adds why it failed.
tb_warn() { "$tb_sh" say --warning ${2:+"--because=$2"} -- "$1"; }

# tb_fails STATUS OPTION…: reports the failure, and sets tb_failed_status and tb_reason.
tb_fails() {
	tb_failed_status=$1
	tb_assignments=$("$tb_sh" failed --status "$@" ${tb_work:+"--work=$tb_work"} ${tb_audited:+"--operation=$tb_audited"} \
		${tb_cause:+"--cause=$tb_cause"} ${tb_configuration:+"--type=$tb_configuration"} ${tb_into:+"--into=$tb_into"})
	eval "$tb_assignments"
}

# tb_die STATUS MESSAGE [HINT]: reports the error, writes the audit entry if one is due, and exits.
tb_die() {
	tb_fails "$1" "--message=$2" ${3:+"--hint=$3"}
	tb_audit_failure "$tb_failed_status"
	exit "$tb_failed_status"
}

tb_usage_error() {
	test $# -gt 1 || set -- "$1" "see 'termbackup $tb_verb${opt_verb:+ $opt_verb} --help'"
	tb_die 64 "$@"
}

# tb_failed STATUS STAGE…: exits because of a command that has reported its failure itself.
tb_failed() {
	tb_fails "$@" ${tb_json:+--json}
	tb_audit_failure "$tb_failed_status"
	exit "$tb_failed_status"
}

# tb_audit STATUS KEY=VALUE…: writes an audit entry for what this verb does. A failure to write it is only a warning.
tb_audit() {
	tb_audit_status=$1
	shift
	for tb_detail in "$@"; do
		set -- "$@" --detail "$tb_detail"
		shift
	done
	test -n "$tb_store" || test -z "$profile_name" || set -- "$@" "--profile=$profile_name"
	TERMBACKUP_ERRORS='' "${tb_bin}tbk-audit" append --operation "$tb_audited" --status "$tb_audit_status" "$@" ||
		tb_warn 'cannot write to the audit log'
	tb_audited=
}

# tb_audit_failure STATUS: writes the entry for an operation that failed, with tb_reason.
tb_audit_failure() {
	test -z "$tb_on_failure" || "$tb_on_failure" "$1"
	test -n "$tb_audited" || return 0
	tb_shorten "$tb_id"
	tb_audit failure ${tb_digits:+"backup_id=$tb_digits"} "error=$tb_reason"
}

# tb_shorten ID: sets tb_digits to the twelve digits to display.
tb_shorten() { tb_digits=${1%"${1#????????????}"}; }

# tb_short ID: prints them.
tb_short() {
	tb_shorten "$1"
	printf '%s' "$tb_digits"
}

# tb_show FILE: prints the file. Not every cat reports a failed write.
tb_show() { cat -- "$1" 2>/dev/null || tb_unwritable "$?"; }

# tb_unwritable STATUS: exits after a failed write with this status; silently if the pipe has no reader.
tb_unwritable() {
	test "$1" -ne 141 || exit 141
	tb_die 74 'cannot write to standard output' 'is the disk full?'
}

# tb_print_report KIND KEY=VALUE…: ends the verb if the report cannot be made or printed.
tb_print_report() {
	tb_kind=$1
	shift
	"$tb_sh" report ${tb_json:+--json} ${tb_quiet:+--quiet} "$tb_kind" -- "$@" || exit
}

# tb_show_held NAME…: prints the messages of stages that were held back.
tb_show_held() {
	for tb_name in "$@"; do
		test ! -s "$tb_work/$tb_name.err" || cat -- "$tb_work/$tb_name.err" >&2
	done
}

# tb_can_ask: whether a user can be asked at a terminal.
tb_can_ask() {
	test -z "$tb_no_input$tb_json" || return 1
	(: </dev/tty) 2>/dev/null
}

# tb_ask QUESTION [FILE]: true if the user at the terminal answers yes; l shows the file.
tb_ask() {
	tb_can_ask || return 1
	{
		tb_exec=1
		tb_stage ask "$tb_sh" ask ${2:+"--list=$2"} -- "$1"
	} &
	wait $!
}

# tb_make_directory DIRECTORY: creates it if it does not exist; exits if that fails.
tb_make_directory() {
	test -d "$1" || mkdir -m 700 -- "$1" 2>/dev/null || test -d "$1" ||
		tb_die 73 "cannot create the directory '$1'"
}
