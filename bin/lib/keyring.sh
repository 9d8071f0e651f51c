# shellcheck shell=sh disable=SC2034,SC2154
# The keyring, which keeps the token and passwords. lib/setup.sh sources this.

# tb_keyring COMMAND OPTION…: tbk-sh keyring, as the stage of that name; returns its status. A secret goes in by
# standard input.
tb_keyring() {
	tb_stage keyring "$tb_sh" keyring "$@" ${tb_no_input:+--no-input} ${tb_quiet:+--quiet}
	set -- $?
	test -z "$tb_json" || tb_show_held keyring
	return "$1"
}

# tb_has_keyring: whether there is one.
tb_has_keyring() {
	tb_hold=1
	tb_stage keyring "$tb_sh" keyring find --token
	tb_hold=
	return "$(tb_status keyring)"
}

# tb_keyring_keep SECRET OPTION…: puts it there and reads it back; ends if that fails.
tb_keyring_keep() {
	tb_secret=$1
	shift
	printf '%s\n' "$tb_secret" | tb_keyring store "$@" || tb_failed "$(tb_status keyring)" keyring
	tb_secret=
}
