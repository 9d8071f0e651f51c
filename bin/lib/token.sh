# shellcheck shell=sh disable=SC2034,SC2154
# The token of a store on GitHub. lib/setup.sh sources this.
#
# A token is read once and held in a variable that is not exported. The builtin printf hands it on
# through a pipe: no argument and no environment of a child holds it.

unset tb_token tb_token_value tb_token_shared
tb_token_fd=
tb_token_file=
tb_token_command=
tb_max_wait=
# Withheld from every child, from those too that run before the token is needed.
tb_token_is_set=${TERMBACKUP_TOKEN+1}
tb_token_value=${TERMBACKUP_TOKEN-}
tb_token_value_file=${TERMBACKUP_TOKEN_FILE-}
tb_token_value_command=${TERMBACKUP_TOKEN_COMMAND-}
tb_token_shared=${GITHUB_TOKEN-}
unset TERMBACKUP_TOKEN TERMBACKUP_TOKEN_FILE TERMBACKUP_TOKEN_COMMAND GITHUB_TOKEN

# tb_given_token: sets tb_token from the options, else from TERMBACKUP_TOKEN and its kin; false if
# none of them is given.
tb_given_token() {
	test -z "${tb_token-}" || return 0
	if test -n "$tb_token_fd$tb_token_file$tb_token_command"; then
		set --
		test -z "$tb_token_fd" || set -- "$@" --token-fd "$tb_token_fd"
		test -z "$tb_token_file" || set -- "$@" --token-file "$tb_token_file"
		test -z "$tb_token_command" || set -- "$@" --token-command "$tb_token_command"
		tb_token_source=options
	elif test -n "$tb_token_value_file"; then
		set -- --token-file "$tb_token_value_file"
		tb_token_source=TERMBACKUP_TOKEN_FILE
	elif test -n "$tb_token_value_command"; then
		set -- --token-command "$tb_token_value_command"
		tb_token_source=TERMBACKUP_TOKEN_COMMAND
	elif test -n "$tb_token_is_set"; then
		test -n "$tb_token_value" || tb_die 77 'the token in TERMBACKUP_TOKEN is empty'
		tb_token=$tb_token_value
		tb_token_source=TERMBACKUP_TOKEN
		return
	else
		return 1
	fi
	tb_read_secret token token "$@"
	tb_token=$tb_secret tb_secret=
}
tb_token_source=

# tb_get_token: sets tb_token from the first place that has one, and tb_token_source to its name.
# Where there is none, the command that needs one says so.
tb_get_token() {
	if tb_given_token; then
		return
	elif tb_keyring_lookup; then
		tb_token_source=keyring
		return
	fi
	if test -n "$tb_token_shared"; then
		tb_token=$tb_token_shared
		tb_token_source=GITHUB_TOKEN
	else
		tb_stored_token
		if test -n "$tb_token"; then
			tb_token_source=config.json
			tb_note "the token comes from config.json; 'termbackup migrate' moves it to the keyring"
		elif test -n "$tb_keyring_late"; then
			# It may well have one.
			tb_die 75 "it is not known whether there is a token: $tb_keyring_late" \
				'unlock it and try again, or give --token-file or --token-command'
		fi
	fi
	test -z "$tb_keyring" || test -z "$tb_keyring_why" ||
		tb_warn "the keyring gives no token: $tb_keyring_why"
}

# tb_stored_token: sets tb_token to the one in config.json, or to nothing.
tb_stored_token() {
	tb_token=$(tb_stage token "$tb_sh" token --stored) ||
		tb_failed "$(tb_status token)" token
}

# tb_drop_stored_token: takes the token out of config.json, which must not be the only place it is in.
tb_drop_stored_token() {
	tb_kept=$tb_token
	tb_stored_token
	if test -n "$tb_token"; then
		tb_stage config "${tb_bin}tbk-config" unset --quiet github_token ||
			tb_failed "$(tb_status config)" config
		tb_note 'config.json no longer holds a token'
	fi
	tb_token=$tb_kept
}

# tb_ask_token: sets tb_token to what a person enters unseen, or to nothing.
tb_ask_token() {
	tb_token=$(tb_stage token "$tb_sh" token --ask) ||
		tb_failed "$(tb_status token)" token
}

# tb_report_token [OPTION…]: asks GitHub about the token. The report goes to $tb_work/report, what
# tbk-token says to its .err; returns its status.
tb_report_token() {
	if test -n "$tb_max_wait"; then set -- --max-wait "$tb_max_wait" "$@"; fi
	tb_hold=1
	{
		if test -n "${tb_token-}"; then
			printf '%s\n' "$tb_token" | tb_stage token "${tb_bin}tbk-token" --token-fd 0 "$@"
		else
			tb_stage token "${tb_bin}tbk-token" "$@"
		fi
	} >"$tb_work/report" &
	wait $!
	tb_hold=
	return "$(tb_status token)"
}

# tb_check_token [OPTION…]: likewise; ends if the token is not good.
# shellcheck disable=SC2120
tb_check_token() {
	tb_report_token "$@" || {
		test -n "$tb_json" || tb_show_held token
		tb_failed "$(tb_status token)" token
	}
}

# tb_report FIELD: one field of the report.
tb_report() {
	sed -n "s/^$1$tb_tab//p" "$tb_work/report"
}

# tb_keyring_lookup: sets tb_token to the token in the keyring; false if there is none, with
# tb_keyring_why set if it could not be asked.
tb_keyring_lookup() {
	tb_token=
	tb_item=github_token
	tb_item_find || return 1
	tb_token=$tb_secret tb_secret=
}

# tb_keyring_put: hands tb_token to the keyring's program.
tb_keyring_put() {
	tb_item=github_token tb_secret=$tb_token
	tb_item_put "TermBackup: GitHub token ($tb_home)"
}

# tb_keyring_store: puts tb_token into the keyring and reads it back; ends if that fails.
tb_keyring_store() {
	tb_keyring_find || tb_no_keyring
	case $tb_keyring.$tb_token in
	security.*[!A-Za-z0-9_.~+/=-]*)
		tb_die 77 'the token holds a character that no token of GitHub has'
		;;
	esac
	tb_kept=$tb_token
	tb_keyring_put || tb_keyring_lost
	if ! tb_keyring_lookup || test "$tb_token" != "$tb_kept"; then
		test -z "$tb_keyring_why" || tb_keyring_lost
		tb_die 69 'the keyring does not give back the token that was put there'
	fi
}

# tb_keyring_lost: ends because the token could not be stored.
tb_keyring_lost() {
	test -n "$tb_keyring_why" || tb_keyring_failure
	test -n "$tb_keyring" || tb_no_keyring
	tb_die "$tb_keyring_status" "the token cannot be put into the keyring: $tb_keyring_why" \
		"unlock it, or go without: --token-command 'gh auth token', or TERMBACKUP_TOKEN_FILE and a file of mode 0600"
}
