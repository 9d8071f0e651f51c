# shellcheck shell=sh disable=SC2034,SC2154
# How termbackup doctor notes its results down and shows them; it sources this after lib/setup.sh.

# Results

# say RESULT CHECK MESSAGE [HINT]: one result: ok, note, warn or fail. Kept as four fields with tabs.
say() {
	printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$(flat "$3")" "$(flat "${4-}")" 2>/dev/null >>"$results" || no_room
}

# report_alone CHECK MESSAGE HINT: the one failure after which nothing else can be said, and the end.
report_alone() {
	if test -n "$json"; then
		"$tb_sh" object -- ok:=false 'environment:={}' "checks:=[$(
			"$tb_sh" object -- "check=$1" result=fail "message=$2" "hint=$3"
		)]"
	else
		tb_say '%-6s%-15s%s\n' fail "$1" "$(flat "$2")"
		tb_say '%-21s%s\n' '' "$3"
	fi
	exit 1
}

# no_room: what cannot be noted down is not in order.
no_room() {
	test -z "$inside" || exit 2
	report_alone home "'$tb_home/tmp' cannot be written" 'make room: no backup can be made without'
}
inside=

# flat TEXT: on one line, control characters escaped.
flat() {
	tb_escape "$1"
	printf '%s' "$tb_text"
}

# heard FILE: sets why and hint to what a command complained about there.
heard() {
	why=$(sed -n 's/^[a-z -]*: error: //p' "$1" | tail -n 1)
	hint=$(sed -n 's/^[a-z -]*: hint: //p' "$1" | tail -n 1)
	test -n "$why" || why=$(sed -n '/./{p;q;}' "$1")
	test -n "$why" || why='it failed without a word'
}

# warnings FILE CHECK: each warning there is one.
warnings() {
	sed -n 's/^[a-z -]*: warning: //p' "$1" >"$tb_work/said"
	while IFS= read -r line; do say warn "$2" "$line"; done <"$tb_work/said"
	test -s "$tb_work/said"
}

# Report

# environment: NAME VALUE on a line.
environment() {
	for program in "$tb_top/../../bin/termbackup" "$tb_top/termbackup"; do
		if test -x "$program"; then
			"$program" --version 2>/dev/null | sed 's/ /	/'
			break
		fi
	done
	printf 'temporary\t%s\n' "${TMPDIR:-/var/tmp}"
}

# shellcheck disable=SC2016 # The program is awk's.
report_text() {
	if test -z "$tb_quiet"; then
		tb_say '%s\n\n' "$(environment | awk -F '\t' '{ printf "%-14s%s\n", $1, $2 }')"
	fi
	tb_colours 1
	awk -F '\t' -v quiet="$tb_quiet" -v ok="$tb_green" -v warn="$tb_yellow" -v fail="$tb_red" -v plain="$tb_plain" '
		BEGIN { colour["ok"] = ok; colour["warn"] = warn; colour["fail"] = fail }
		{ count[$1]++ }
		quiet == "" || $1 == "fail" || $1 == "warn" {
			gap = substr("      ", length($1) + 1)
			printf "%s%s%s%s%-15s%s\n", colour[$1], $1, colour[$1] ? plain : "", gap, $2, $3
			if ($4 != "") printf "%-21s%s\n", "", $4
		}
		END {
			if (quiet == "")
				printf "\n%d in order, %d %s, %d %s, %d failed\n", count["ok"],
					count["note"], count["note"] == 1 ? "note" : "notes", count["warn"], count["warn"] == 1 ? "warning" : "warnings", count["fail"]
		}' "$results" | tb_show - || exit
}

report_json() {
	: >"$tb_work/checks"
	while IFS= read -r line; do
		result=${line%%"$tb_tab"*}
		line=${line#*"$tb_tab"}
		check=${line%%"$tb_tab"*}
		line=${line#*"$tb_tab"}
		message=${line%%"$tb_tab"*}
		hint=${line#*"$tb_tab"}
		set -- "check=$check" "result=$result" "message=$message"
		if test -n "$hint"; then set -- "$@" "hint=$hint"; else set -- "$@" 'hint:=null'; fi
		"$tb_sh" object -- "$@" >>"$tb_work/checks" || exit
	done <"$results"
	tb_json_list <"$tb_work/checks" >"$tb_work/list"
	environment >"$tb_work/environment"
	set --
	while IFS=$tb_tab read -r name value; do set -- "$@" "$name=$value"; done <"$tb_work/environment"
	"$tb_sh" object -- "ok:=$(test "$failed" -eq 0 && printf true || printf false)" \
		"environment:=$("$tb_sh" object -- "$@")" "checks:=@$tb_work/list" || exit
}

# check_objects: whether the store holds, whole, what its ledger names; its list is in $tb_work/list.
check_objects() {
	LC_ALL=C awk -F '\t' -v OFS='\t' '
		function state(word) { return word == "missing" ? "is missing" : "has another size than the ledger says" }
		$11 != "whole" && shown++ < 10 { print "fail", $8 ", the archive of " substr($1, 1, 12) ", " state($11) }
		$12 != "whole" && $12 != "-" && shown++ < 10 { print "warn", "the sealed manifest of " substr($1, 1, 12) " " state($12) }
		$13 != "-" { lost++ }
		END { if (lost) print "fail", lost " of " NR " backups cannot be restored" }' "$tb_work/list" >"$tb_work/objects"
	while IFS=$tb_tab read -r object_result object_words; do
		case $object_result in
		fail) set -- 'put it back from another copy of the store; the next run makes a full backup' ;;
		*) set -- 'the archive has the manifest too: nothing is lost' ;;
		esac
		say "$object_result" stores "$profile_name: $object_words" "$1"
	done <"$tb_work/objects"
}

# check_daily: whether backups come, come in time, are read back, and lie apart from what they are of.
check_daily() {
	: >"$tb_work/facts"
	tb_pull summary --summary --json -- "$profile_store" >"$tb_work/facts" 2>/dev/null || :
	"$tb_sh" findings profile --schedules "$tb_work/schedules" --summary "$tb_work/facts" \
		${profile_store_directory:+"--store=$profile_store_directory"} -- "$profile_name" >>"$results" ||
		no_room
}

# check_secret_files: whether others can read what passwords and tokens come from.
check_secret_files() {
	cat -- "$tb_work/crontab" "$(tb_units)"/termbackup-*.service 2>/dev/null |
		"$tb_sh" findings secrets -- "$tb_password_file" "$tb_password_value_file" "$tb_key_file" "$tb_key_value_file" \
			"$tb_token_file" "$tb_token_value_file" >>"$results" || no_room
}
