# shellcheck shell=sh disable=SC2034,SC2154
# What a verb reports: to the audit log, and to people. lib/setup.sh sources this.

# The audit log

# tb_audit STATUS KEY=VALUE…: one entry for what this verb does. That it cannot be written does not
# undo what was done.
tb_audit() {
	tb_audit_status=$1
	shift
	for tb_detail in "$@"; do
		set -- "$@" --detail "$tb_detail"
		shift
	done
	test -z "$tb_audit_profile" || set -- "$@" "--profile=$tb_audit_profile"
	TERMBACKUP_ERRORS='' "${tb_bin}tbk-audit" append --operation "$tb_audited" --status "$tb_audit_status" "$@" ||
		tb_warn 'cannot write to the audit log'
}

# What is being read or made, if a verb knows by then.
tb_id=

# Called with the status of a failure, if a verb sets it.
tb_on_failure=

# tb_audit_failure STATUS: the entry of an operation that was begun and failed.
tb_audit_failure() {
	test -z "$tb_on_failure" || "$tb_on_failure" "$1"
	test -n "$tb_audited" || return 0
	if test -n "$tb_id"; then
		tb_shorten "$tb_id"
		tb_audit failure "backup_id=$tb_digits" "error=$(tb_reason "$1")"
	else
		tb_audit failure "error=$(tb_reason "$1")"
	fi
	tb_audited=
}

# For programs

# tb_in_words: from here on commands say in words what is wrong, for this shell to read, until
# tb_as_asked.
tb_in_words() {
	tb_asked_json=$tb_json
	tb_asked_errors=$tb_errors
	tb_json=
	tb_errors=
	unset TERMBACKUP_ERRORS
}

tb_as_asked() {
	tb_json=$tb_asked_json
	tb_errors=$tb_asked_errors
	test -z "$tb_errors" || export TERMBACKUP_ERRORS=json
}

# tb_make_directory DIRECTORY: makes it, if it is not there; ends if that fails.
tb_make_directory() {
	test -d "$1" || mkdir -m 700 -- "$1" 2>/dev/null || test -d "$1" ||
		tb_die 73 "cannot create the directory '$1'"
}

# tb_json_list: the lines of standard input, each a value, as an array.
tb_json_list() {
	LC_ALL=C awk 'BEGIN { printf "[" } { printf "%s%s", (NR > 1 ? "," : ""), $0 } END { printf "]" }'
}

# tb_json_or_null WORD: the word as a string of JSON; null for none.
tb_json_or_null() {
	if test -z "$1"; then
		printf null
	else
		tb_member=$("$tb_sh" object -- "word=$1") || return
		tb_member=${tb_member#'{"word":'}
		printf '%s' "${tb_member%?}"
	fi
}

# Standard output

# tb_say FORMAT WORD…: printf, which ends the verb if standard output cannot be written.
tb_say() {
	# shellcheck disable=SC2059 # The formats are those of the verbs.
	printf "$@" 2>/dev/null || tb_unwritable "$?"
}

# tb_show FILE|-: likewise, a file or standard input. Not every awk tells of a write that failed.
tb_show() {
	cat -- "$1" 2>/dev/null || tb_unwritable "$?"
}

# tb_unwritable STATUS: ends for what a command that writes there ended with; quietly if nobody reads.
tb_unwritable() {
	test "$1" -ne 141 || exit 141
	tb_die 74 'cannot write to standard output' 'is the disk full?'
}

# For people

# tb_escape TEXT: sets tb_text to it as it may go to a terminal: on one line, control characters escaped.
# Every message goes through here, for names in it may come from anyone.
tb_escape() {
	tb_text=$1
	case $1 in
	*[![:print:]]*)
		tb_text=$(printf '%s' "$1" | LC_ALL=C awk '
			BEGIN { for (i = 1; i < 256; i++) code[sprintf("%c", i)] = i }
			NR > 1 { printf "\\n" }
			{
				out = ""
				for (i = 1; i <= length($0); i++) {
					c = substr($0, i, 1)
					n = code[c]
					# Those of C1 too, which UTF-8 puts after 302.
					if (c == "\t") out = out "\\t"
					else if (n < 32 || n == 127) out = out sprintf("\\%03o", n)
					else if (n == 194 && code[substr($0, i + 1, 1)] < 160) {
						out = out sprintf("\\302\\%03o", code[substr($0, ++i, 1)])
					} else out = out c
				}
				printf "%s", out
			}')
		;;
	esac
}

# tb_can_ask: whether there is a person at a terminal.
tb_can_ask() {
	test -z "$tb_no_input$tb_json" || return 1
	(: </dev/tty) 2>/dev/null
}

# tb_ask QUESTION: true if a person at the terminal says yes.
tb_ask() {
	tb_can_ask || return 1
	tb_escape "$1"
	printf '%s [y/N] ' "$tb_text" >/dev/tty
	read -r tb_answer </dev/tty || return 1
	case $tb_answer in
	[Yy] | [Yy][Ee][Ss]) ;;
	*) return 1 ;;
	esac
}

# tb_ask_or_list QUESTION FILE: likewise, of what is in the file, which is shown for an l.
tb_ask_or_list() {
	tb_can_ask || return 1
	tb_escape "$1"
	while :; do
		printf '%s [y/N/l: list them] ' "$tb_text" >/dev/tty
		read -r tb_answer </dev/tty || return 1
		case $tb_answer in
		[Yy] | [Yy][Ee][Ss]) return 0 ;;
		[Ll]) cat -- "$2" >/dev/tty ;;
		*) return 1 ;;
		esac
	done
}

# tb_show_held NAME…: what stages said while their messages were held back, but errors in JSON, which
# tb_failed passes on.
tb_show_held() {
	for tb_name in "$@"; do
		test ! -s "$tb_work/$tb_name.err" || sed '/^{"error":/d' "$tb_work/$tb_name.err" >&2
	done
}

# tb_colours DESCRIPTOR: sets tb_red, tb_green, tb_yellow and tb_plain to what a terminal there takes
# for them; to nothing where it is none, or colours are not wanted.
tb_colours() {
	tb_red='' tb_green='' tb_yellow='' tb_plain=''
	test -z "${NO_COLOR-}$tb_json" && test -t "$1" || return 0
	case ${TERM-} in
	'' | dumb) return ;;
	esac
	tb_plain=$(printf '\033[0m') tb_red=$(printf '\033[31m')
	tb_green=$(printf '\033[32m') tb_yellow=$(printf '\033[33m')
}

# tb_push_progress: when tbk-push shows progress. What goes to a directory does so as it is sealed, and
# tbk-seal shows that.
tb_push_progress() {
	if test -n "$profile_store_directory"; then printf never; else printf '%s' "$tb_progress"; fi
}

# tb_shown WORD: a name as the commands show it: quoted, if it is not plain ASCII.
tb_shown() {
	printf '%s' "$1" | LC_ALL=C awk '
		BEGIN { for (i = 1; i < 256; i++) code[sprintf("%c", i)] = i }
		NR > 1 { out = out "\\n"; special = 1 }
		{
			for (i = 1; i <= length($0); i++) {
				c = substr($0, i, 1)
				if (c == "\\" || c == "\"") { out = out "\\" c; special = 1 }
				else if (c == "\t") { out = out "\\t"; special = 1 }
				else if (code[c] < 32 || code[c] > 126) { out = out sprintf("\\%03o", code[c]); special = 1 }
				else out = out c
			}
		}
		END { if (special) printf "\"%s\"", out; else printf "%s", out }'
}

# tb_shorten ID: sets tb_digits to the twelve digits that are shown.
tb_shorten() {
	tb_digits=${1%"${1#????????????}"}
}

# tb_short ID: prints them.
tb_short() {
	tb_shorten "$1"
	printf '%s' "$tb_digits"
}

# tb_print_report KIND KEY=VALUE…: ends the verb if the report cannot be made, or nobody gets it.
tb_print_report() {
	tb_kind=$1
	shift
	"$tb_sh" report ${tb_json:+--json} ${tb_quiet:+--quiet} "$tb_kind" -- "$@" || exit
}

# human(BYTES) of awk: as people read it.
tb_awk_human='
	function human(n,   i, unit) {
		split("B KiB MiB GiB TiB PiB", unit, " ")
		for (i = 1; n >= 1023.95 && i < 6; i++) n /= 1024
		return sprintf(i == 1 ? "%d %s" : "%.1f %s", n, unit[i])
	}'

# tb_human BYTES: likewise.
tb_human() {
	LC_ALL=C awk -v n="$1" "$tb_awk_human"' BEGIN { printf "%s", human(n) }'
}

# tb_duration SECONDS: likewise.
tb_duration() {
	if test "$1" -ge 3600; then
		printf '%d h %d min' $(($1 / 3600)) $(($1 / 60 % 60))
	elif test "$1" -ge 60; then
		printf '%d min %d s' $(($1 / 60)) $(($1 % 60))
	else
		printf '%d s' "$1"
	fi
}

# --version of each verb.
if test "${1-}" = --version; then
	tb_version=$("${tb_bin}tbk-config" version) || exit
	tb_version=${tb_version%%"$tb_newline"*}
	printf 'termbackup %s %s\n' "$tb_verb" "${tb_version##* }"
	exit
fi
