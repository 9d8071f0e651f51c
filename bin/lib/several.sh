# Runs of several profiles, and runs that another verb starts.

# tb_hand_on_secrets: exports the secrets of the environment again, in a process that only starts a verb.
tb_hand_on_secrets() {
	tb_hand_on : _file:_FILE _command:_COMMAND
	test -z "$tb_env_shared" || export GITHUB_TOKEN="$tb_env_shared"
}

# tb_run_each VERB ARGUMENT…: executes the program that runs the verb for one profile after another.
tb_run_each() {
	shift
	tb_hand_on_secrets
	exec "$tb_sh" each "$tb_verbs/run" "$@"
}
