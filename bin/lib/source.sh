# shellcheck shell=sh disable=SC2034,SC2154
# What lies below a directory that is read, and is no part of it; the verbs that read one source this
# after lib/setup.sh.

# tb_real DIRECTORY: sets tb_path to its absolute path, links resolved; false if it cannot be entered.
tb_real() {
	# The dot keeps newlines that are part of the name.
	tb_path=$(CDPATH='' cd -- "$1" 2>/dev/null && pwd -P && printf .) || return 1
	tb_path=${tb_path%.}
	tb_path=${tb_path%"$tb_newline"}
}

# tb_below SOURCE PATH: sets tb_pattern to the pattern for the path and nothing else; false if it is not
# below the source. Both are as tb_real gives them.
tb_below() {
	case $2 in
	"${1%/}"/?*) tb_pattern=$(printf '/%s' "${2#"${1%/}"/}" | sed 's/[][\\*?]/\\&/g') ;;
	*) return 1 ;;
	esac
}

# tb_leave_out DIRECTORY…: adds patterns for those of them that are below the profile's source, however they
# are spelled, to $tb_work/excludes.
tb_leave_out() {
	tb_source=$profile_source_dir
	if tb_real "$tb_source"; then tb_source=$tb_path; fi
	for tb_directory in "$@"; do
		# One that is not mounted has its name alone.
		tb_real "$tb_directory" || tb_path=$tb_directory
		! tb_below "$tb_source" "$tb_path" || printf '%s/\n' "$tb_pattern" >>"$tb_work/excludes"
	done
}
