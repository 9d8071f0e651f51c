# The commands that open sealed files, and those that access the store, as stages. lib/setup.sh sources this.

tb_up='' tb_down='' tb_max_wait=''
# Whether to use all of a store if no group is given; whether a damaged sealed manifest counts as none.
tb_every_group='' tb_spares_manifest=''

# tb_sealed NAME COMMAND [SUBCOMMAND] OPTION…: runs the stage with the password, if there is one, and with the
# identities if it opens something; standard input is kept.
tb_sealed() {
	tb_wanted=password=password
	tb_opening=
	case $2.${3-}.${opt_identity-}${tb_identities+1} in
	*tbk-open.*.?* | *.manifest.?* | *.consolidate.?*)
		tb_options=${args_identity-}
		tb_wanted='password=password identity-password=identity_password'
		if test -n "${tb_identities-}"; then tb_opening=7:tb_identities tb_options="$tb_options -i /dev/fd/7"; fi
		;;
	esac
	test -n "${tb_password-}$tb_password_file" || tb_options="$tb_options ${tb_no_input:+--no-input}"
	case $2 in *tbk-open) tb_options="$tb_no_age $tb_options" ;; esac
	tb_fed "$tb_opening" tb_with "$tb_wanted" "$@"
	set -- $?
	# Identities read from a pipe are still here.
	tb_options=
	return "$1"
}

# tb_pull NAME ARGUMENT…: runs tbk-pull on the profile's backups: those of its group and, if the profile used ungrouped
# backups before it had one, those; its operands precede the options. Without a group, all of a store if tb_every_group
# is set. A profile's group may be new, but a named one must exist.
tb_pull() {
	tb_pull_options
	tb_talk tbk-pull "$@"
}

# tb_pull_options: sets tb_options to the options that select backups, and how far to trust them.
tb_pull_options() {
	tb_options="${opt_require_signature:+--require-signature} ${opt_accept_store_state:+--accept-store-state}"
	if test -n "$profile_group"; then
		tb_options="$tb_options --group \"\$profile_group\""
		test -n "$tb_group" || tb_options="$tb_options --new-group"
	fi
	if test "$profile_ungrouped" = true || test -z "$profile_group$tb_every_group"; then tb_options="$tb_options --group -"; fi
}

# tb_push NAME ARGUMENT…: runs tbk-push; standard input is kept.
tb_push() {
	tb_storing
	tb_options="--progress $tb_when"
	tb_talk tbk-push "$@"
}

# tb_on_store NAME VERB ARGUMENT…: runs tbk-store in the same way.
tb_on_store() { tb_talk tbk-store "$@"; }

# tb_prune NAME ARGUMENT…: runs tbk-prune on the profile's backups, as one series. Backups that may belong to another
# profile are not counted, and are kept.
tb_prune() {
	tb_options="--new-group ${profile_group:+--group $profile_group}"
	if test -z "$profile_group" || { test "$profile_ungrouped" = true && test -z "$tb_rivals"; }; then
		tb_options="$tb_options --group -"
	fi
	tb_talk tbk-prune "$@"
}

# tb_storing: sets tb_when, when to show progress while an archive is stored. For a directory tbk-seal shows it, as the
# archive is stored while it is sealed.
tb_storing() {
	tb_when=$tb_progress
	test -z "$profile_store_directory" || tb_when=never
}

# tb_talk COMMAND NAME ARGUMENT…: a stage that accesses a store, with the token, and the signing key for a change.
tb_talk() {
	tb_command=$1 tb_name=$2
	shift 2
	tb_options="$tb_options ${tb_max_wait:+--max-wait $tb_max_wait} ${tb_up:+--limit-upload $tb_up} ${tb_down:+--limit-download $tb_down}"
	tb_wanted=token=token
	case $tb_command.$tb_sign_key in
	tbk-pull.* | *.) ;;
	*)
		tb_options="$tb_options --sign-key \"\$tb_sign_key\" --no-input"
		tb_wanted='token=token key-password=key_password'
		;;
	esac
	tb_with "$tb_wanted" "$tb_name" "$tb_bin$tb_command" "$@"
}

# tb_pull_manifest NAME ID FILE: gets the sealed manifest of a backup; false if the store has none, or, with
# tb_spares_manifest, if it is damaged.
tb_pull_manifest() {
	tb_quietly tb_run "$1" tb_pull "$1" --manifest "$2" -o "$3" -- "$profile_store"
	if test -n "$tb_spares_manifest" && test "$tb_result" = 65; then
		test -n "$tb_json" || tb_show_held "$1"
		tb_warn "the sealed manifest of backup $(tb_short "$2") is damaged and is not used; 'termbackup verify' recreates it"
		return 1
	fi
	tb_judge_pull "$1"
}

# tb_judge_pull NAME: false if the store does not have what the stage was to get; exits if it failed.
tb_judge_pull() {
	tb_end_of "$1"
	case $tb_ended in
	0) ;;
	66 | 69) return 1 ;;
	*) tb_failed "$tb_ended" "$1" ;;
	esac
}
