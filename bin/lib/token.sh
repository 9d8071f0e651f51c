# The token of a store on GitHub, and the keyring that stores it. lib/setup.sh sources this.

# tb_get_token: sets tb_token from the first source that has one, and tb_token_source to its name. If there is none, the
# command that needs it reports that.
tb_get_token() {
	if tb_given token; then return; fi
	tb_read_secret token --kept ${tb_env_shared:+--shared} ${tb_no_input:+--no-input} ${tb_quiet:+--quiet}
	tb_token_source=${tb_token%% *} tb_token=${tb_token#* }
	test "$tb_token_source" != GITHUB_TOKEN || tb_token=$tb_env_shared
}
tb_token_source=

# tb_report_token [OPTION…]: queries GitHub about the token, as the stage token. The report goes to $tb_work/report.
tb_report_token() {
	tb_quietly tb_run token tb_with token=token token "${tb_bin}tbk-token" ${tb_max_wait:+--max-wait "$tb_max_wait"} "$@" \
		>"$tb_work/report"
}

# tb_keyring COMMAND OPTION…: runs tbk-sh keyring, as the stage of that name. A secret is passed on standard input.
tb_keyring() {
	tb_stage keyring "$tb_sh" keyring "$@" ${tb_no_input:+--no-input} ${tb_quiet:+--quiet}
	tb_end_of keyring
	test "$tb_ended" -eq 0 || tb_failed "$tb_ended" keyring
}

# tb_has_keyring: whether there is a keyring.
tb_has_keyring() {
	tb_quietly tb_stage keyring "$tb_sh" keyring find
	return "$(tb_status keyring)"
}

# tb_ask_token: sets tb_token to what the user enters, without echo, or to nothing.
tb_ask_token() { tb_token=$(tb_stage token "$tb_sh" token --ask) || tb_failed "$(tb_status token)" token; }

# tb_drop_stored_token: removes the token from config.json; it must already be stored elsewhere.
tb_drop_stored_token() {
	tb_stage token "$tb_sh" token --drop ${tb_quiet:+--quiet} || tb_failed "$(tb_status token)" token
}

# tb_check_token [OPTION…]: as tb_report_token; exits if the token is invalid.
tb_check_token() {
	tb_report_token "$@"
	test "$tb_result" -eq 0 || tb_failed "$tb_result" token
}
