# How doctor and status collect what only commands can find out: in files of $facts, for tbk-sh to evaluate.

# collect: from here on commands report errors as JSON, into files; false if the home cannot be written.
collect() {
	tb_json='' tb_progress=never
	export TERMBACKUP_ERRORS=json
	facts=$tb_work/facts
	# Test that there is as much space as the files need.
	{ mkdir -- "$facts" && : >"$facts/names" && head -c 65536 /dev/zero >"$tb_work/room"; } 2>/dev/null || return 1
	rm -f -- "$tb_work/room"
}

# note DIRECTORY NAME COMMAND…: runs the stage NAME, and stores its output, messages and end in the directory; false if
# it fails.
note() (
	tb_work=$1 tb_hold=1 noted=$2
	shift 2
	tb_run "$noted" "$@" >"$tb_work/$noted"
	exit "$tb_result"
)

# note_token: if any profile's store is a repository, as listed in $facts/repositories, writes the token's source to
# $facts/token. Sets tb_token, for all profiles.
note_token() {
	tb_token_known=1 tb_token='' tb_token_source=''
	test -s "$facts/repositories" || return 0
	given=$(tb_get_token 2>"$facts/token.err" && printf '%s %s' "$tb_token_source" "${tb_token-}")
	printf '%s\n' "$?" >"$facts/token.status"
	tb_token_source=${given%% *} tb_token=${given#* } given=''
	printf '%s\n' "$tb_token_source" >"$facts/token"
}

# note_token_report DIRECTORY OPTION…: what GitHub reports about the token.
note_token_report() {
	place=$1
	shift
	note "$place" token-report tb_with token=token token-report "${tb_bin}tbk-token" --max-wait "$tb_max_wait" "$@"
}
