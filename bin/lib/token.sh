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
	if tb_given_token; then return; fi
	tb_read_secret token token --kept ${tb_token_shared:+--shared} ${tb_no_input:+--no-input} ${tb_quiet:+--quiet}
	tb_token_source=${tb_secret%% *} tb_token=${tb_secret#* } tb_secret=
	test "$tb_token_source" != GITHUB_TOKEN || tb_token=$tb_token_shared
}

# tb_stored_token: sets tb_token to the one in config.json, or to nothing.
tb_stored_token() {
	tb_token=$(tb_stage token "$tb_sh" token --stored) ||
		tb_failed "$(tb_status token)" token
}

# tb_drop_stored_token: takes the token out of config.json, which must not be the only place it is in.
tb_drop_stored_token() {
	tb_stage token "$tb_sh" token --drop ${tb_quiet:+--quiet} || tb_failed "$(tb_status token)" token
	test -z "$tb_json" || tb_show_held token
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
