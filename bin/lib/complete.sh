# What completions of every shell ask for: 'termbackup __complete WORD…' gets the words of a command line
# up to the cursor, the last one unfinished, and prints what may stand there, a word and its description a
# line, divided by a tab. A last line ":files" or ":directories" says that names of these may stand there
# too. What commands take is as they declare it: nothing here has to be kept in step with it.
set -u

# takes: how the parser of a command that is not a verb describes it.
takes() {
	case ${1##*/} in
	tbk-store-*) ;;
	tbk-*)
		program=$tb_bin${1##*/}
		test -x "$program" || program=${1##*/}
		"$program" --experimental-dump-help
		;;
	esac
}

# backups PROFILE WORD…: the words again, with its backups. A store that does not answer soon has none.
backups() {
	profile=$1
	shift
	"$tb_front" list --quiet --json --no-input --max-wait 3 -- "$profile" | "$tb_sh" complete --backups -- "$@"
}

# paths PROFILE ID WORD…: likewise, with what this backup has in the directory that the last word is in.
paths() {
	profile=$1 backup=$2
	shift 2
	for directory in "$@"; do :; done
	case $directory in
	*/*) directory=${directory%/*} ;;
	*) directory=. ;;
	esac
	"$tb_front" ls --quiet --json --no-input --max-wait 3 -p "$profile" -- "$backup" "$directory" |
		"$tb_sh" complete --paths -- "$@"
}

exec </dev/null 2>/dev/null
takes "${1-}" | "$tb_sh" complete -- "$@" | while IFS= read -r line; do
	case $line in
	:backups*) backups "${line#:backups }" "$@" ;;
	:paths*)
		line=${line#:paths }
		paths "${line%% *}" "${line#* }" "$@"
		;;
	*) printf '%s\n' "$line" ;;
	esac
done
