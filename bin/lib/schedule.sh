# shellcheck shell=sh disable=SC2034,SC2154
# Timetables: blocks of a crontab, and timers of systemd. The verbs schedule-* source this.

# tb_parse_schedule TEXT: sets tb_schedule to its five fields as cron takes them, names made numbers, and
# tb_calendar to lines for OnCalendar=. Ends if it is none.
tb_parse_schedule() {
	tb_parsed=$("$tb_sh" timetable -- "$1") || exit
	tb_schedule=${tb_parsed%%"$tb_newline"*}
	tb_calendar=${tb_parsed#*"$tb_newline"}
}

# tb_lock_schedules: one change of timetables at a time, of this home.
tb_lock_schedules() {
	tb_lock 9 schedule || tb_die 75 'another process changes the schedules' 'try again when it has finished'
}

# cron

# tb_crontab_read: the crontab of this user into $tb_work/crontab, empty if there is none. False
# without cron.
tb_crontab_read() {
	: >"$tb_work/crontab"
	command -v crontab >/dev/null 2>&1 || return 1
	tb_hold=1
	# Through cat, which tells of a disk that is full: a part of the crontab would be all of the next.
	tb_stage crontab env LC_ALL=C crontab -l </dev/null | cat >"$tb_work/crontab" ||
		tb_die 74 "cannot write '$tb_work/crontab'"
	tb_hold=
	test "$(tb_status crontab)" -ne 0 || return 0
	: >"$tb_work/crontab"
	case $(cat -- "$tb_work/crontab.err") in
	*'no crontab for'* | *"can't open"*': No such file or directory'*) return 0 ;;
	esac
	tb_show_held crontab
	tb_die 69 'cannot read the crontab'
}

# tb_crontab_blocks: what the crontab has for this home, a line for each block: name, schedule. Ends if a
# block has no end.
tb_crontab_blocks() {
	HOME_MARK=$tb_home LC_ALL=C awk '
		BEGIN { first = "# BEGIN termbackup "; last = "# END termbackup "; home = ENVIRON["HOME_MARK"] }
		function name(start,   rest, at) {
			if (index($0, start) != 1) return ""
			rest = substr($0, length(start) + 1)
			at = index(rest, " ")
			return substr(rest, at + 1) == home ? substr(rest, 1, at - 1) : ""
		}
		inside != "" && name(first) != "" { exit 1 }
		name(first) != "" { inside = name(first); next }
		inside != "" && name(last) == inside { inside = ""; next }
		inside != "" && $0 !~ /^#/ { print inside "\t" $1 " " $2 " " $3 " " $4 " " $5 }
		END { exit inside != "" }' "$tb_work/crontab" >"$tb_work/blocks" ||
		tb_die 78 'a block of termbackup in the crontab has no end' \
			"fix it with 'crontab -e': it ends with a line '# END termbackup NAME HOME'"
	cat -- "$tb_work/blocks"
}

# tb_crontab_change NAME [FILE]: takes the profile's block out of the crontab, and puts the lines of FILE
# in its place; every other line stays as it is. False if there was nothing to change.
tb_crontab_change() {
	tb_crontab_read || return 1
	tb_crontab_blocks >/dev/null
	HOME_MARK="$1 $tb_home" BLOCK_FILE=${2-} LC_ALL=C awk '
		function put(   line) {
			if (done || ENVIRON["BLOCK_FILE"] == "") return
			done = 1
			print "# BEGIN termbackup " ENVIRON["HOME_MARK"]
			while ((getline line < ENVIRON["BLOCK_FILE"]) > 0) print line
			print "# END termbackup " ENVIRON["HOME_MARK"]
		}
		$0 == "# BEGIN termbackup " ENVIRON["HOME_MARK"] { inside = 1; put(); next }
		$0 == "# END termbackup " ENVIRON["HOME_MARK"] && inside { inside = 0; next }
		!inside { print }
		END { put() }' "$tb_work/crontab" >"$tb_work/crontab.new" ||
		tb_die 74 "cannot write '$tb_work/crontab.new': the crontab stays as it is"
	! cmp -s "$tb_work/crontab" "$tb_work/crontab.new" || return 1
	tb_hold=1
	if test -s "$tb_work/crontab.new"; then
		# By standard input: Debian's crontab cuts the name of a file at 100 bytes.
		tb_stage crontab crontab - <"$tb_work/crontab.new"
	else
		tb_stage crontab crontab -r </dev/null
	fi
	tb_hold=
	test "$(tb_status crontab)" -eq 0 || {
		tb_show_held crontab
		tb_die 73 'crontab rejects the schedule'
	}
}

# systemd

# tb_units: the directory of the user's units.
tb_units() {
	printf '%s/systemd/user\n' "${XDG_CONFIG_HOME:-$HOME/.config}"
}

# tb_unit_of FILE: the name of the profile if it is a timer of this home; else nothing.
tb_unit_of() {
	HOME_MARK=$tb_home LC_ALL=C awk '
		index($0, "# termbackup ") == 1 {
			rest = substr($0, 14)
			at = index(rest, " ")
			if (substr(rest, at + 1) == ENVIRON["HOME_MARK"]) print substr(rest, 1, at - 1)
			exit
		}' "$1"
}

# tb_unit_schedules: the timers of this home, a line for each: name, schedule.
tb_unit_schedules() {
	for tb_file in "$(tb_units)"/termbackup-*.timer; do
		test -f "$tb_file" || continue
		tb_unit=$(tb_unit_of "$tb_file")
		test -z "$tb_unit" || printf '%s\t%s\n' "$tb_unit" "$(sed -n 's/^# schedule //p' "$tb_file")"
	done
}

# tb_schedules: what cron or systemd has, profile, and schedule of all there are, a line each.
tb_schedules() {
	: >"$tb_work/scheduled"
	if tb_crontab_read; then
		tb_crontab_blocks >/dev/null
		sed "s/^/cron$tb_tab/" "$tb_work/blocks" >>"$tb_work/scheduled"
	fi
	tb_unit_schedules | sed "s/^/systemd$tb_tab/" >>"$tb_work/scheduled"
	LC_ALL=C sort -t "$tb_tab" -k 2,2 "$tb_work/scheduled"
}

# tb_systemctl ARGUMENT…: systemctl of this user; false if no manager runs.
tb_systemctl() {
	command -v systemctl >/dev/null 2>&1 || return 1
	tb_hold=1
	tb_stage systemctl systemctl --user "$@" </dev/null >/dev/null
	tb_hold=
	return "$(tb_status systemctl)"
}

# tb_unit_name PROFILE: sets tb_unit to what its units are called. Those of two homes have different names: the
# plain one is of the home of every day.
tb_unit_name() {
	tb_unit=termbackup-$1
	tb_timer=$(tb_units)/$tb_unit.timer
	test "$tb_home" = "${HOME-}/.termbackup" && { ! test -f "$tb_timer" || test "$(tb_unit_of "$tb_timer")" = "$1"; } ||
		tb_unit=$tb_unit-$(printf '%s' "$tb_home" | cksum | tr ' ' '-')
}

# tb_unit_remove PROFILE [KEPT]: takes its timers away, by whatever name earlier versions have called them, but
# for the one that is KEPT; false if there is none.
tb_unit_remove() {
	tb_unscheduled=
	for tb_timer in "$(tb_units)"/termbackup-*.timer; do
		test -f "$tb_timer" || continue
		test "$(tb_unit_of "$tb_timer")" = "$1" || continue
		tb_unit_file=${tb_timer##*/}
		test "${tb_unit_file%.timer}" != "${2-}" || continue
		tb_systemctl stop "$tb_unit_file" || :
		rm -f -- "$tb_timer" "${tb_timer%.timer}.service" "$(tb_units)/timers.target.wants/$tb_unit_file" ||
			tb_die 73 "cannot remove '$tb_timer'"
		tb_unscheduled=1
	done
	test -n "$tb_unscheduled" || return 1
	tb_systemctl daemon-reload || :
}
