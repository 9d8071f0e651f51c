# The token of a store on GitHub, and the keyring that keeps it. lib/setup.sh sources this.

# tb_get_token: sets tb_token from the first place that has one, and tb_token_source to its name.
# Where there is none, the command that needs one says so.
tb_get_token() {
	if tb_given token; then return; fi
	tb_read_secret token --kept ${tb_env_shared:+--shared} ${tb_no_input:+--no-input} ${tb_quiet:+--quiet}
	tb_token_source=${tb_token%% *} tb_token=${tb_token#* }
	test "$tb_token_source" != GITHUB_TOKEN || tb_token=$tb_env_shared
}
tb_token_source=

# tb_report_token [OPTION…]: asks GitHub about the token, as the stage token. The report goes to $tb_work/report.
tb_report_token() {
	tb_quietly tb_run token tb_with token=token token "${tb_bin}tbk-token" ${tb_max_wait:+--max-wait "$tb_max_wait"} "$@" \
		>"$tb_work/report"
}

# tb_keyring COMMAND OPTION…: tbk-sh keyring, as the stage of that name. A secret goes in by standard input.
tb_keyring() {
	tb_stage keyring "$tb_sh" keyring "$@" ${tb_no_input:+--no-input} ${tb_quiet:+--quiet}
	tb_end_of keyring
	test "$tb_ended" -eq 0 || tb_failed "$tb_ended" keyring
}

# tb_has_keyring: whether there is one.
tb_has_keyring() {
	tb_quietly tb_stage keyring "$tb_sh" keyring find
	return "$(tb_status keyring)"
}

# tb_ask_token: sets tb_token to what a person enters unseen, or to nothing.
tb_ask_token() { tb_token=$(tb_stage token "$tb_sh" token --ask) || tb_failed "$(tb_status token)" token; }

# tb_drop_stored_token: takes the token out of config.json, which must not be the only place it is in.
tb_drop_stored_token() {
	tb_stage token "$tb_sh" token --drop ${tb_quiet:+--quiet} || tb_failed "$(tb_status token)" token
}

# tb_check_token [OPTION…]: as tb_report_token; ends if the token is not good.
tb_check_token() {
	tb_report_token "$@"
	test "$tb_result" -eq 0 || tb_failed "$tb_result" token
}
