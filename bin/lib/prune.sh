# shellcheck shell=sh disable=SC2034,SC2154
# What the verbs share that lock a profile or remove old backups; they source this after
# lib/setup.sh.

# tb_lock_profile: ends if another process works on the profile. The kernel drops the lock whatever
# happens to this one.
tb_lock_profile() {
	tb_lock 9 "run-$profile_name" || {
		# Whoever started this one can tell.
		test -z "${TERMBACKUP_BUSY-}" || : >"$TERMBACKUP_BUSY"
		tb_die 75 "another run of '$profile_name' is in progress" 'wait until it has finished'
	}
}

# tb_lock DESCRIPTOR NAME: takes that lock of the home; false if another process has it. The commands that run
# do not inherit it: what one of them leaves behind must not hold it.
tb_lock() {
	tb_make_directory "$tb_home/state"
	tb_lock_file=$tb_home/state/$2.lock
	test ! -L "$tb_lock_file" || tb_die 73 "'$tb_lock_file' is a symbolic link"
	test -e "$tb_lock_file" || "$tb_sh" make-file -- "$tb_lock_file" || exit
	{ true >>"$tb_lock_file"; } 2>/dev/null || tb_die 73 "cannot create '$tb_lock_file'"
	eval "exec $1>>\"\$tb_lock_file\""
	tb_closed="$tb_closed $1>&-"
	tb_try_lock "$1"
}

# tb_try_lock DESCRIPTOR: false if another process has the lock.
tb_try_lock() {
	tb_kept_closed=$tb_closed
	tb_closed=
	tb_hold=1
	tb_stage lock "$tb_sh" lock "$1"
	tb_hold=
	tb_closed=$tb_kept_closed
	tb_end_of lock
	case $tb_ended in
	0) ;;
	75) return 1 ;;
	*)
		tb_show_held lock
		tb_failed "$tb_ended" lock
		;;
	esac
}

# tb_profile_limits: the limits of the profile, as options of tbk-prune: words without blanks.
tb_profile_limits() {
	printf '%s' "${profile_max_backups:+--max-backups $profile_max_backups }"
	printf '%s' "${profile_retention_days:+--retention-days $profile_retention_days}"
}

# tb_prune NAME ARGUMENT…: tbk-prune on the profile's backups, as one series.
tb_prune() {
	tb_name=$1
	shift
	# What may be another profile's is not counted, and stays.
	if test -z "$profile_group" || { test "$profile_ungrouped" = true && test -z "$tb_rivals"; }; then set -- --group - "$@"; fi
	set -- --new-group "$@"
	if test -n "$profile_group"; then set -- --group "$profile_group" "$@"; fi
	tb_change "$tb_name" "${tb_bin}tbk-prune" "$@" </dev/null
}

# tb_count_pruned FILE: what tbk-prune or 'tbk-push --then-prune' printed there, as text or JSON Lines:
# tb_removed, tb_kept, tb_freed, which is in bytes, and tb_unpruned, the status of a failure.
tb_count_pruned() {
	# shellcheck disable=SC2046
	set -- $(LC_ALL=C awk -F '\t' '
		/^keep\t/ || /^[{]"action":"keep"/ { kept++ }
		/^remove\t/ { removed++; bytes += $4 }
		/^[{]"action":"remove"/ { removed++; sub(/.*"size":/, ""); bytes += $0 + 0 }
		/^failed\t/ { failed = $2 }
		END { printf "%d %d %.0f %d\n", removed, kept, bytes, failed }' "$1")
	tb_removed=$1 tb_kept=$2 tb_freed=$3 tb_unpruned=$4
}
