# shellcheck shell=sh disable=SC2034,SC2154
# Reading parts of backups; the verbs that do source this after lib/setup.sh.

# tb_choose_backup ID [TIME]: the backup that is meant, as tb_find_backup sets it, of a profile or a store, and what
# opens it.
tb_choose_backup() {
	test -z "$tb_store" || tb_load_store
	tb_list
	tb_tell_trust
	tb_find_backup "$@"
	tb_password_for_reading
}

# tb_paths: what tbk-open is told of the paths to restore, for eval. None of them is an option.
tb_paths() {
	eval "set -- $opt_paths"
	for tb_argument in "$@"; do printf ' --path %s' "$(tb_quote "./$tb_argument")"; done
}

# tb_from NAME ID OPTION…: tbk-open as a stage on a backup of the list: it gets no more of the archives than it
# needs.
tb_from() {
	tb_name=$1
	shift
	tb_open_parts "$tb_name" --from "$@"
}

# tb_open_parts NAME OPTION…: likewise, on what the options say.
tb_open_parts() {
	tb_name=$1
	tb_open_words=
	shift
	for tb_argument in --expect "$tb_work/list" "$@"; do
		case $tb_argument in
		*\'*) tb_open_words="$tb_open_words $(tb_quote "$tb_argument")" ;;
		*) tb_open_words="$tb_open_words '$tb_argument'" ;;
		esac
	done
	tb_serves=tb_open_served
	tb_pull "$tb_name" --serve --quiet -- "$profile_store"
	tb_serves=
}

# tb_open_served OPTION…: tbk-open with what tb_open_parts was told, over tbk-pull with these options.
tb_open_served() {
	eval "set -- $tb_open_words -- \"\${tb_bin}tbk-pull\" ${tb_token:+--token-fd 5} \"\$@\""
	if test -n "${tb_token-}"; then
		{ printf '%s\n' "$tb_token" | tb_sealed "$tb_name" "${tb_bin}tbk-open" --quiet "$@" 5<&0 0<&6 6<&-; } 6<&0
	else
		tb_sealed "$tb_name" "${tb_bin}tbk-open" --quiet "$@"
	fi
}
