# shellcheck shell=sh disable=SC2034,SC2154
# The keyring, which keeps the token and passwords. lib/setup.sh sources this.
#
# An item belongs to a home: service termbackup, home HOME, item github_token or profile:NAME. Earlier versions
# had one for all homes, which is still found where a home has none of its own: service termbackup, and profile
# NAME for a password; for the token username github_token, as Python's keyring library, and so TermBackup 6, has it.

unset tb_own
tb_item=
tb_keyring=
tb_keyring_why=
# Set if time ran out, which says nothing about what the keyring has, to that in words; and the status for a
# keyring that does not do what it should.
tb_keyring_late=
tb_keyring_status=69

# tb_keyring_find: sets tb_keyring to the program, or to nothing and tb_keyring_why to the reason.
tb_keyring_find() {
	test -z "$tb_keyring" || return 0
	tb_keyring_why=
	if test "$(uname -s)" = Darwin; then
		if command -v security >/dev/null 2>&1; then
			tb_keyring=security
		else
			tb_keyring_why="the command 'security' is not installed"
		fi
	elif ! command -v secret-tool >/dev/null 2>&1; then
		tb_keyring_why="the command 'secret-tool' is not installed"
	elif test -z "${DBUS_SESSION_BUS_ADDRESS-}" && ! test -S "${XDG_RUNTIME_DIR:-/nonexistent}/bus"; then
		tb_keyring_why='there is no session bus'
	else
		tb_keyring=secret-tool
	fi
	test -n "$tb_keyring"
}

# tb_no_keyring: ends for want of one.
tb_no_keyring() {
	tb_die 69 "there is no keyring to keep the token in: $tb_keyring_why" "$tb_keyring_hint"
}
tb_keyring_hint="install secret-tool (package libsecret-tools or libsecret) and a keyring, or go without: --token-command 'gh auth token', or TERMBACKUP_TOKEN_FILE and a file of mode 0600"

# SECONDS COMMAND…, with status 124 if the time was up. timeout(1) is not on every system, and where
# it is it may keep an interrupt at the terminal from the command.
# shellcheck disable=SC2016
tb_watchdog='
	limit=$1
	shift
	exec 4<&0
	"$@" <&4 4<&- &
	child=$!
	exec 4<&- </dev/null
	(
		trap "kill \"\$nap\"; exit" TERM
		sleep "$limit" &
		nap=$!
		wait "$nap"
		kill -TERM "$child"
	) >/dev/null 2>&1 &
	dog=$!
	trap "kill -TERM $child $dog" HUP INT QUIT TERM
	wait "$child"
	status=$?
	kill -TERM "$dog" 2>/dev/null
	test "$status" -ne 143 || status=124
	exit "$status"'

# tb_keyring_call ARGUMENT…: runs the keyring's program: as long as a person at a screen needs to unlock
# it, or else as long as a bus needs to start it on a machine that has much to do; longest where nobody waits.
# Returns its status.
tb_keyring_call() {
	tb_keyring_patience
	tb_hold=1
	# Its messages are looked at.
	tb_stage keyring env LC_ALL=C sh -c "$tb_watchdog" sh "$tb_patience" "$tb_keyring" "$@"
	tb_hold=
	return "$(tb_status keyring)"
}

# tb_keyring_patience: sets tb_patience to how many seconds an answer may take.
tb_keyring_patience() {
	tb_patience=120
	test -z "$tb_no_input" || return 0
	case $tb_keyring${DISPLAY-}${WAYLAND_DISPLAY-} in
	secret-tool) tb_patience=30 ;;
	*) tb_patience=60 ;;
	esac
}

# tb_keyring_failure: sets tb_keyring_why to what went wrong with the last call, and tb_keyring to
# nothing if that was for want of a keyring.
tb_keyring_failure() {
	tb_keyring_status=69
	if test "$(tb_status keyring)" -eq 124; then
		tb_keyring_patience
		tb_keyring_late="the keyring did not answer within $tb_patience seconds"
		tb_keyring_why="it did not answer within $tb_patience seconds; perhaps it is locked"
		tb_keyring_status=75
		return
	fi
	tb_keyring_why=$(sed -n '/./{s/[[:cntrl:]]//g;s/^[a-z-]*: //;p;q;}' "$tb_work/keyring.err")
	case $tb_keyring_why in
	*'not provided by any'*)
		tb_keyring=
		tb_keyring_why='nothing keeps secrets on the session bus'
		;;
	'Could not connect'*)
		tb_keyring=
		tb_keyring_why='there is no session bus'
		;;
	'') tb_keyring_why="$tb_keyring failed with status $(tb_status keyring)" ;;
	esac
}

# Items

# tb_item_call FORM ARGUMENT…: secret-tool with the attributes of tb_item: those of this home (own), or of all
# homes (shared).
tb_item_call() {
	tb_form=$1
	shift
	case $tb_form.$tb_item in
	own.*) set -- "$@" service termbackup home "$tb_home" item "$tb_item" ;;
	shared.profile:*) set -- "$@" service termbackup profile "${tb_item#profile:}" ;;
	*) set -- "$@" service termbackup username "$tb_item" ;;
	esac
	tb_keyring_call "$@"
}

# tb_item_account FORM: sets tb_account to what macOS's program calls it.
tb_item_account() {
	tb_account=$tb_item
	test "$1" = shared || tb_account="$tb_home $tb_item"
}

# tb_item_lookup FORM: sets tb_secret to what the keyring has; false if there is nothing, with tb_keyring_why
# set if it could not be asked.
tb_item_lookup() {
	if test "$tb_keyring" = security; then
		tb_item_account "$1"
		tb_hear tb_keyring_call find-generic-password -s termbackup -a "$tb_account" -w
	else
		tb_hear tb_item_call "$1" lookup
	fi
	tb_secret=${tb_secret%"$tb_newline"}
	test -z "$tb_secret" || return 0
	case $tb_keyring.$(tb_status keyring) in
	*.0 | security.44) return 1 ;;
	secret-tool.1) test -s "$tb_work/keyring.err" || return 1 ;;
	esac
	tb_keyring_failure
	return 1
}

# tb_item_find: sets tb_secret to what the keyring has for this home, else to what an earlier version has put
# there for all; false if there is nothing, with tb_keyring_why set if that is not known.
tb_item_find() {
	tb_keyring_why='' tb_keyring_late='' tb_keyring_status=69
	tb_keyring_find || return 1
	if tb_item_lookup own; then return; fi
	test -z "$tb_keyring_why" || return 1
	if tb_item_lookup shared; then return; fi
	test -z "$tb_keyring_why" || return 1
	tb_item_locked own || tb_item_locked shared || :
	return 1
}

# tb_item_locked FORM: whether there is an item, after a call that gave nothing: secret-tool says the same of
# one that is not there and of one that it could not unlock, and only the second kind can be found. Sets
# tb_keyring_why.
tb_item_locked() {
	test "$tb_keyring" = secret-tool || return 1
	tb_found=$(tb_item_call "$1" search </dev/null)
	test "$(tb_status keyring)" -ne 124 || {
		tb_keyring_failure
		return 0
	}
	test -n "$tb_found" || return 1
	tb_keyring_why='it is locked'
}

# tb_item_put LABEL: puts tb_secret there, for this home; false if that fails.
tb_item_put() {
	if test "$tb_keyring" = security; then
		tb_item_account own
		case $tb_account in
		*[\"\\]* | *"$tb_newline"*) tb_die 64 "macOS's security does not take the name of this home" "$tb_keyringless" ;;
		esac
		printf 'add-generic-password -U -s termbackup -a "%s" -l "%s" -w "%s"\n' "$tb_account" "$1" "$tb_secret" |
			tb_keyring_call -i >/dev/null
	else
		printf '%s' "$tb_secret" | tb_item_call own store "--label=$1"
	fi
	tb_put=$?
	tb_secret=
	return "$tb_put"
}

# tb_item_clear FORM: takes it out; false if that fails, with tb_keyring_why set.
tb_item_clear() {
	if test "$tb_keyring" = security; then
		tb_item_account "$1"
		tb_keyring_call delete-generic-password -s termbackup -a "$tb_account" </dev/null >/dev/null
	else
		tb_item_call "$1" clear </dev/null
	fi && return
	tb_keyring_failure
	return 1
}

# tb_item_forget: takes tb_item out; false if it was not there, with tb_keyring_why set if that is not known.
# What was put there for all homes goes if this home has none of its own, or the same.
tb_item_forget() {
	tb_keyring_why='' tb_keyring_late='' tb_keyring_status=69 tb_own='' tb_forgotten=''
	tb_keyring_find || return 1
	if tb_item_lookup own; then
		tb_own=$tb_secret
		tb_item_clear own || return 1
		tb_forgotten=1
	fi
	test -z "$tb_keyring_why" || return 1
	if tb_item_lookup shared && { test -z "$tb_own" || test "$tb_own" = "$tb_secret"; }; then
		tb_item_clear shared || return 1
		tb_forgotten=1
	fi
	tb_own='' tb_secret=''
	test -z "$tb_forgotten" || return 0
	test -n "$tb_keyring_why" || tb_item_locked own || tb_item_locked shared || :
	return 1
}
