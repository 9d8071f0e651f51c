# How doctor and status find out what only commands can: into files of $facts, for tbk-sh to judge.

# collect: from here on commands say what is wrong as JSON, into files; false if the home cannot be written.
collect() {
	tb_json='' tb_progress=never
	export TERMBACKUP_ERRORS=json
	facts=$tb_work/facts
	# As much as is noted down.
	{ mkdir -p -- "$facts/profile" "$facts/repository" && head -c 65536 /dev/zero >"$tb_work/room"; } 2>/dev/null || return 1
	rm -f -- "$tb_work/room"
}

# note FILE COMMAND…: what it prints goes there, what it says into FILE.err, its status into FILE.status.
note() {
	noted=$1
	shift
	"$@" >"$noted" 2>"$noted.err"
	set -- $?
	# A stage has its error behind its status.
	test ! -f "$tb_work/${noted##*/}.status" || tail -n +2 -- "$tb_work/${noted##*/}.status" >>"$noted.err"
	printf '%s\n' "$1" >"$noted.status"
	return "$1"
}

# ask NAME OPTION…: tbk-pull as this stage, so that a signal is heard.
ask() {
	tb_run "$1" tb_pull "$@"
	return "$tb_result"
}

# note_token: into $facts/token where it comes from, if a profile's store is a repository: those are in
# $facts/repositories then. Sets tb_token, for all profiles.
note_token() {
	tb_token_known=1 tb_token='' tb_token_source=''
	cat -- "$facts"/profile/*/store 2>/dev/null | sed -n 's/^github:\([^#]*\).*/\1/p' | sort -u >"$facts/repositories"
	test -s "$facts/repositories" || return 0
	given=$(tb_get_token 2>"$facts/token.err" && printf '%s %s' "$tb_token_source" "${tb_token-}")
	printf '%s\n' "$?" >"$facts/token.status"
	tb_token_source=${given%% *} tb_token=${given#* } given=''
	printf '%s\n' "$tb_token_source" >"$facts/token"
}

# note_stores: the profiles in $tb_work/names that can be read, each with its store.
note_stores() {
	while read -r name; do
		mkdir -p -- "$facts/profile/$name"
		"${tb_bin}tbk-config" profile store --quiet -- "$name" >"$facts/profile/$name/store" 2>/dev/null ||
			rm -rf -- "$facts/profile/$name"
	done <"$tb_work/names"
}

# note_token_report FILE OPTION…: what GitHub says of the token.
note_token_report() {
	report=$1
	shift
	printf '%s\n' "$tb_token" |
		note "$report" "${tb_bin}tbk-token" --token-fd 0 --max-wait "$tb_max_wait" "$@"
}
