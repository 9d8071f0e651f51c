# How a secret gets into a variable, and from there to a command. lib/setup.sh sources this.
#
# A secret is read once and kept in an unexported variable. The builtin printf passes it on through a pipe, so it is in
# no child's arguments or environment. A regular file is read by each command itself, byte for byte.

tb_password_file='' tb_key_password_file='' tb_new_password_file='' tb_mbu_password_file='' tb_identity_password_file='' tb_token_file=''
tb_options=

# tb_given NAME: sets tb_NAME to the secret from --NAME-fd, -file or -command, or else the variables of that name, or
# sets tb_NAME_file to its file; false if there is none. NAME is password, key_password, new_password, mbu_password,
# identity_password or token. tbk-sh has provided the code for this at the start.
tb_given() {
	eval "test -z \"\${tb_$1-}\$tb_$1_file\"" || return 0
	eval "test -n \"\$tb_give_$1\" && eval \"\$tb_give_$1\""
}

# tb_take_held NAME VARIABLE OPTION…: takes the variable's value. If empty, the command with these options reports it.
tb_take_held() {
	tb_name=$1
	eval "tb_$1=\$tb_env_$1"
	eval "test -z \"\$tb_$1\"" || return 0
	export "$2="
	shift 2
	tb_read_secret "$tb_name" "$@" --no-input
}

# tb_need_file FILE: exits if a password cannot be read from it.
tb_need_file() { test -r "$1" || tb_die 66 "cannot read the password file '$1'"; }

# tb_read_secret NAME OPTION…: sets tb_NAME to the output of tbk-sh, a secret and a newline; exits if it fails. A
# command that supplies the secret may take long.
tb_read_secret() {
	tb_secret_name=$1
	case " $* " in
	# A background job has another standard input.
	*-file\ /dev/* | *-file\ /proc/* | *-fd\ 0\ *) tb_capture tb_stage "$1" "$tb_sh" "$@" ;;
	*) tb_hear tb_stage "$1" "$tb_sh" "$@" ;;
	esac
	tb_end_of "$tb_secret_name"
	test "$tb_ended" -eq 0 || tb_failed "$tb_ended" "$tb_secret_name"
	eval "tb_$tb_secret_name=\${tb_secret%\"\$tb_newline\"}"
	tb_secret=
}

# tb_hear COMMAND…: sets tb_secret to its output. A signal to this shell alone is handled meanwhile, if the home's file
# system supports FIFOs.
tb_hear() {
	if mkfifo -m 600 -- "$tb_work/heard" 2>/dev/null; then
		"$@" >"$tb_work/heard" &
		tb_secret=
		while IFS= read -r tb_line; do tb_secret=$tb_secret$tb_line$tb_newline; done <"$tb_work/heard"
		tb_secret=$tb_secret$tb_line
		tb_line=
		wait $!
		rm -f -- "$tb_work/heard"
	else
		tb_capture "$@" </dev/null
	fi
}

# tb_capture COMMAND…: the same, in the foreground.
tb_capture() {
	# The dot preserves trailing newlines.
	tb_secret=$("$@" && printf .)
	tb_secret=${tb_secret%.}
}

# tb_fed 'N:VARIABLE …' COMMAND…: runs it with the variables' values on these descriptors; standard input is kept.
tb_fed() {
	tb_feeds=$1
	shift
	if test -z "$tb_feeds"; then
		"$@"
		return
	fi
	tb_feed=${tb_feeds%% *}
	tb_feeds=${tb_feeds#"$tb_feed"}
	{
		eval "printf '%s\\n' \"\${${tb_feed#*:}}\"" | {
			tb_exec=1
			eval "tb_fed \"\${tb_feeds# }\" \"\$@\" ${tb_feed%%:*}<&0 0<&4 4<&-"
		}
	} 4<&0
}

# tb_with 'OPTION=NAME …' STAGE COMMAND [SUBCOMMAND] ARGUMENT…: runs the stage with the options in tb_options, which are
# for eval, and the known secrets of these names, passed by --OPTION-file or --OPTION-fd; standard input is kept.
tb_with() {
	tb_wanted=$1 tb_name=$2 tb_command=$3
	shift 3
	tb_subcommand=
	case ${1-} in
	[a-z]*)
		tb_subcommand=$1
		shift
		;;
	esac
	eval "set -- $tb_options \"\$@\""
	tb_options=
	tb_feeds=
	tb_fds='3 5 6'
	for tb_word in $tb_wanted; do
		eval "tb_file=\${tb_${tb_word#*=}_file} tb_line=\${tb_${tb_word#*=}:+1}"
		if test -n "$tb_file"; then
			set -- "--${tb_word%=*}-file" "$tb_file" "$@"
		elif test -n "$tb_line"; then
			set -- "--${tb_word%=*}-fd" "${tb_fds%% *}" "$@"
			tb_feeds="$tb_feeds${tb_feeds:+ }${tb_fds%% *}:tb_${tb_word#*=}"
			tb_fds=${tb_fds#* }
		fi
	done
	tb_fed "$tb_feeds" tb_stage "$tb_name" "$tb_command" ${tb_subcommand:+"$tb_subcommand"} "$@"
}
