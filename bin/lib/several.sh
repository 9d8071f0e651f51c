# Runs of several profiles, and of one that another verb starts.

# tb_hand_on_secrets: those of the environment, as they came; for a process that does nothing but start a verb.
tb_hand_on_secrets() {
	tb_hand_on : _file:_FILE _command:_COMMAND
	test -z "$tb_env_shared" || export GITHUB_TOKEN="$tb_env_shared"
}

# tb_run_each VERB ARGUMENT…: becomes what runs it for one profile after the other.
tb_run_each() {
	shift
	tb_hand_on_secrets
	exec "$tb_sh" each "$tb_verbs/run" "$@"
}
