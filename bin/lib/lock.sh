# Locks of the home, for verbs that change something. The kernel releases them however this process ends.

# tb_lock_profile: exits if another process is working on the profile.
tb_lock_profile() {
	tb_lock 9 "run-$profile_name" || {
		# Lets the process that started this one recognise it.
		test -z "${TERMBACKUP_BUSY-}" || : >"$TERMBACKUP_BUSY"
		tb_die 75 "another run of '$profile_name' is in progress" 'wait until it has finished'
	}
}

# tb_lock DESCRIPTOR NAME: takes this lock of the home; false if another process has it. Commands do not inherit the
# descriptor: a process that one of them leaves behind must not keep the lock.
tb_lock() {
	tb_lock_file=$tb_home/state/$2.lock
	{ test -f "$tb_lock_file" && test ! -L "$tb_lock_file" && true >>"$tb_lock_file"; } 2>/dev/null ||
		tb_stage lock-file "$tb_sh" make-file --lock -- "$tb_lock_file" || tb_failed "$(tb_status lock-file)" lock-file
	eval "exec $1>>\"\$tb_lock_file\""
	tb_closed="$tb_closed $1>&-"
	tb_try_lock "$1"
}

# tb_try_lock DESCRIPTOR: false if another process has the lock.
tb_try_lock() {
	tb_kept_closed=$tb_closed
	tb_closed=
	tb_quietly tb_stage lock "$tb_sh" lock "$1"
	tb_closed=$tb_kept_closed
	tb_end_of lock
	case $tb_ended in
	0) ;;
	75) return 1 ;;
	*) tb_failed "$tb_ended" lock ;;
	esac
}
