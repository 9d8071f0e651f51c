# shellcheck shell=sh disable=SC2034,SC2154
# Runs of several profiles, and secrets of the environment, which lib/setup.sh has taken out of it, for a verb that
# this one starts.

# tb_hand_on NAME VALUE [IS-SET]: puts it back, as it came.
tb_hand_on() {
	test -z "$2${3-}" || export "$1=$2"
}

# tb_hand_on_secrets: all of them; for a process that does nothing but start the verb.
tb_hand_on_secrets() {
	tb_hand_on TERMBACKUP_PASSWORD "$tb_password_value" "$tb_password_is_set"
	tb_hand_on TERMBACKUP_PASSWORD_FILE "$tb_password_value_file"
	tb_hand_on TERMBACKUP_PASSWORD_COMMAND "$tb_password_value_command"
	tb_hand_on TERMBACKUP_KEY_PASSWORD "$tb_key_value" "$tb_key_is_set"
	tb_hand_on TERMBACKUP_KEY_PASSWORD_FILE "$tb_key_value_file"
	tb_hand_on TERMBACKUP_KEY_PASSWORD_COMMAND "$tb_key_value_command"
	tb_hand_on TERMBACKUP_TOKEN "$tb_token_value" "$tb_token_is_set"
	tb_hand_on TERMBACKUP_TOKEN_FILE "$tb_token_value_file"
	tb_hand_on TERMBACKUP_TOKEN_COMMAND "$tb_token_value_command"
	tb_hand_on GITHUB_TOKEN "$tb_token_shared"
}

# tb_run_each VERB ARGUMENT…: becomes what runs it for one profile after the other.
tb_run_each() {
	shift
	tb_hand_on_secrets
	exec "$tb_sh" each "$tb_verbs/run" "$@"
}
