# The profile, and the backups that a verb works on: those of a profile or of a store. lib/setup.sh sources this.

tb_token_known='' tb_store='' tb_group='' tb_present='' tb_others='' tb_rivals=''

# tb_config ARGUMENT…: sets tb_answer to the output of tbk-config; exits if it fails.
tb_config() { tb_answer=$(tb_stage config "${tb_bin}tbk-config" "$@") || tb_failed "$(tb_status config)" config; }

# tb_load_profile NAME: sets profile_*, and gets the token if the store needs one and tb_token_known is not set.
tb_load_profile() {
	tb_configuration=ProfileError
	eval "tb_config profile show --shell ${args_suite-}${args_recipient-}${args_recipients_file-} -- \"\$1\""
	tb_configuration=
	eval "$tb_answer"
	tb_know_store
}

# tb_know_store: sets what is needed to access the profile's store.
tb_know_store() {
	tb_up=${opt_limit_upload:-$profile_limit_upload} tb_down=${opt_limit_download:-$profile_limit_download}
	case $profile_store in
	github:*) test -n "$tb_token_known" || tb_get_token ;;
	esac
}

# tb_load_store: as tb_load_profile, for --store and --group. Messages name the store by its address.
tb_load_store() {
	tb_config store -- "$tb_store"
	profile_store=$tb_answer profile_name=$tb_answer profile_group=$tb_group
	case $tb_group in
	'') tb_every_group=1 ;;
	-) profile_group= ;;
	esac
	tb_know_store
}

# tb_need_source: exits unless the profile's source exists.
tb_need_source() {
	test -n "$profile_source_dir" || tb_die 78 "the profile '$profile_name' has no source directory yet" \
		"set it with 'termbackup profile edit $profile_name --source DIR'"
	test -d "$profile_source_dir" ||
		tb_cause='source missing' tb_die 66 "the directory '$profile_source_dir' does not exist" 'mount it, or change the profile'
}

# tb_choose_placement: sets placement to where an archive goes, from the options or the profile.
tb_choose_placement() {
	placement=${opt_placement:-$profile_placement}
	test "$placement" != auto || placement=
}

# tb_list: writes the backups, oldest first, to $tb_work/list, and the result for the ledger's signature to
# $tb_work/trust; sets tb_latest to the last id. With tb_present the list also has what the store has of them.
tb_list() {
	tb_must list tb_pull list ${tb_quiet:+--quiet} --list ${tb_present:+--present} --trust-out "$tb_work/trust" \
		-- "$profile_store" >"$tb_work/list"
	tb_latest=$(tail -n 1 -- "$tb_work/list")
	tb_latest=${tb_latest%%"$tb_tab"*}
}

# tb_list_all FILE: lists all backups in the store. A failure is not an error here.
tb_list_all() {
	(
		profile_group='' profile_ungrouped='' tb_every_group=1
		tb_quietly tb_run others tb_pull others --list --quiet -- "$profile_store" >"$1"
		test "$tb_result" = 0
	) || : >"$1"
}

# tb_whose COMMAND OPTION…: evaluates the answer of tbk-sh about the backups of this profile or store, given a list on
# standard input; exits if it fails.
tb_whose() {
	tb_name=$1
	shift
	if test -n "$tb_store"; then
		set -- "--store=$profile_store" ${tb_group:+"--group=$tb_group"} "$@"
	else
		if test "$profile_ungrouped" = true; then set -- --ungrouped "$@"; fi
		set -- "--profile=$profile_name" "--address=$profile_store" ${profile_group:+"--group=$profile_group"} "$@"
	fi
	tb_evaluate "$tb_name" "$tb_sh" "$tb_name" "$@"
}

# tb_find_others: for a profile without backups: sets tb_others to how many backups of no local profile the store has,
# as text, and tb_others_hint to a hint; to nothing if there are none.
tb_find_others() {
	tb_list_all "$tb_work/others"
	tb_whose others <"$tb_work/others"
}

# tb_find_rivals: sets tb_rivals to the other local profiles that, like this one, use the store's ungrouped backups:
# TermBackup 6 did not record which profile made a backup. Empty if there are none.
tb_find_rivals() {
	tb_rivals=
	if test -n "$profile_group" && test "$profile_ungrouped" != true; then return; fi
	if test -f "$tb_work/list"; then tb_whose rivals <"$tb_work/list"; else tb_whose rivals --unseen </dev/null; fi
}

# tb_no_backups: exits because there are no backups.
tb_no_backups() {
	: >"$tb_work/others"
	test -n "$tb_store" || tb_list_all "$tb_work/others"
	tb_whose others --none <"$tb_work/others"
}

# tb_find_backup ID [TIME]: sets tb_id, tb_created, tb_size, tb_count, tb_file and tb_sha256 from the list, and tb_old
# if TermBackup 6 made it: for a full id, a unique prefix, latest or latest~2; with TIME, for the last one made by then.
tb_find_backup() {
	test -n "$tb_latest" || tb_no_backups
	tb_whose pick ${2:+"--at=$2"} ${1:+-- "$1"} <"$tb_work/list"
}
