# Reading parts of backups.

# The file for the result of checking archive signatures, if they are to be checked; whether to read archives that do
# not verify.
tb_signatures='' tb_unvouched=''

# tb_choose_backup ID [TIME]: selects a backup of a profile or a store, as tb_find_backup does, and gets what opens it.
tb_choose_backup() {
	test -z "$tb_store" || tb_load_store
	tb_list
	tb_tell_trust
	tb_find_backup "$@"
	tb_password_for_reading
}

# tb_from NAME ID OPTION…: runs tbk-open as a stage on a listed backup.
tb_from() {
	tb_name=$1
	shift
	tb_open_parts "$tb_name" --from "$@"
}

# tb_open_parts NAME OPTION…: the same, on what the options name.
tb_open_parts() {
	tb_name=$1
	shift
	tb_with_parts "$tb_name" "${tb_bin}tbk-open" --quiet --expect "$tb_work/list" "$@"
}

# tb_with_parts NAME COMMAND ARGUMENT…: runs a command as a stage, which starts tbk-pull to get parts of archives.
tb_with_parts() {
	tb_name=$1
	shift
	tb_pull_options
	tb_options="$tb_options ${tb_max_wait:+--max-wait $tb_max_wait} ${tb_down:+--limit-download $tb_down}"
	eval "set -- \"\$@\" -- \"\${tb_bin}tbk-pull\" $tb_options"
	tb_options=
	tb_fed "${tb_token:+6:tb_token}" tb_sealed "$tb_name" "$@" ${tb_token:+--token-fd 6} \
		--serve ${tb_signatures:+--signatures-out "$tb_signatures"} ${tb_unvouched:+--unvouched} --quiet -- "$profile_store"
}
