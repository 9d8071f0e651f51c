# What the package verbs share.

# tb_package_plan [DIRECTORY OPTION…]: asks tbk-sh where packages are, or how to seal a directory with these options;
# the patterns to exclude go to $tb_work/excludes.
tb_package_plan() {
	tb_evaluate plan "$tb_sh" package-plan ${opt_to:+"--to=$opt_to"} ${opt_output:+"--output=$opt_output"} \
		--left-out "$tb_work/excludes" "$@"
}

# tb_package_password [NEW]: gets the password, which must open the check in the home. If there is no check, or NEW is
# given, this password is used from now on.
tb_package_password() {
	tb_check=$tb_home/package-check.tbk
	if test -n "${1-}" || ! test -f "$tb_check"; then
		tb_get_password --confirm
		tb_when=never
		test -z "${1-}" || tb_when=always
		printf 'TermBackup password check\n' |
			tb_quietly tb_sealed seal-check "${tb_bin}tbk-seal" stream --quiet --overwrite "$tb_when" -o "$tb_check" check
		tb_end_of seal-check
		test "$tb_ended" -ne 0 || return 0
		# Another process was first: its password counts.
		if test "$tb_ended" -ne 73 || ! test -f "$tb_check"; then tb_judge_open seal-check || tb_failed 77 seal-check; fi
	fi
	tb_get_password
	tb_open_asking "$tb_check" --verify
	tb_judge_open open-check 'this is not the password of your packages' \
		"to take another from now on: 'termbackup package --new-password'"
}

# tb_stands_in: an empty directory in place of a missing target, for dry runs.
tb_stands_in() {
	if test -d "$target"; then return; fi
	target=$tb_work/empty
	tb_make_directory "$target"
}

# tb_make_above: creates the parent of the target that tbk-open will create, private until everything is in it.
tb_make_above() {
	if test -e "$target" || test -L "$target"; then return; fi
	above=$(dirname -- "$target"; echo .)
	mkdir -p -- "${above%??}" || tb_die 73 "cannot create the directory '$target'"
}

# tb_selection: prints the options of tbk-open that select files to restore, for eval.
tb_selection() {
	printf '%s' "$args_include$args_exclude${opt_no_owner:+--no-owner }${opt_numeric_owner:+--numeric-owner }${opt_setuid:+--setuid}"
}
