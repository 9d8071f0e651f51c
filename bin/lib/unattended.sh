# Runs without a user: the daemon and the watch. The secrets are read once, at the start, and passed to each run through
# pipes.

# tb_take_secrets: gets the password, the token and the password of the key, and tries each as far as possible without a
# backup.
tb_take_secrets() {
	tb_check_password --confirm || :
	# Each run reports the trust in the ledger itself.
	: >"$tb_work/trust"
	tb_prepare_signing
}

# tb_repeat [--every SECONDS] -- VERB ARGUMENT…: as the stage loop, runs the verb after each line of standard input, or
# at the interval, until a signal, and reports the results. Each run prints its own messages.
tb_repeat() {
	set -- "$@" ${tb_quiet:+--quiet} ${tb_json:+--json} ${tb_max_wait:+--max-wait "$tb_max_wait"} --no-input --progress "$tb_progress" \
		${opt_limit_upload:+--limit-upload "$opt_limit_upload"} ${opt_limit_download:+--limit-download "$opt_limit_download"}
	set -- ${tb_quiet:+--quiet} ${tb_json:+--json} --name "$profile_name" --busy "$tb_work/busy" --verbs "$tb_verbs" "$@"
	tb_json='' tb_hold=''
	tb_with 'password=password token=token key-password=key_password' loop "$tb_sh" repeat "$@"
}
