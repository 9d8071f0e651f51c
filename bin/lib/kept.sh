# The manifest of the last backup, which is kept in the home for the next one.

# tb_open_previous: the manifest of the last backup, which lies sealed in the cache or came from the store, goes in
# clear to descriptor 5. Ends unless it opens.
tb_open_previous() {
	set --
	case $prepared_manifest in
	cached) sealed=$tb_home/cache/$profile_group/$tb_latest.tbk ;;
	local)
		sealed=$tb_home/cache/$profile_group/$tb_latest.age
		set -- -i "$tb_home/state/local_identity"
		;;
	*) sealed=$tb_work/manifest ;;
	esac
	# shellcheck disable=SC2086 # Words without blanks.
	tb_quietly tb_sealed previous "${tb_bin}tbk-open" --manifest --quiet $tb_costs --expect-id "$tb_latest" "$@" <"$sealed" >&5
	if test "$prepared_proof" = manifest && tb_asks_again previous; then
		tb_open_previous
		return
	fi
	case $prepared_proof in
	manifest) tb_judge_open previous "this is not the password of the backups of '$profile_name'" '' ;;
	*) tb_judge_open previous || tb_failed 77 previous ;;
	esac
	test "$prepared_manifest" != fetched || tb_keep_manifest "$tb_latest" "$sealed"
}

# tb_find_local: sets tb_local_recipient to whom the manifest that is kept here is sealed, where the backup itself is
# sealed to recipients.
tb_local_recipient=
tb_find_local() {
	test "$profile_cipher_suite.$profile_backup_mode" = age.incremental && test -z "$opt_dry_run" || return 0
	tb_local_recipient=$(tb_stage local "$tb_sh" local-identity) || tb_failed "$(tb_status local)" local
}

# tb_keep_manifest ID FILE: the sealed manifest of the last backup, for the next run. What only others could open
# is kept as it is sealed for this machine, if it is.
tb_keep_manifest() {
	test "$profile_backup_mode" = incremental || return 0
	if test -f "$tb_work/local"; then set -- "$1" "$tb_work/local" --local; fi
	"$tb_sh" cache "$profile_group" "$@" ${profile_recipients:+--readers="$profile_recipients"}
}

# tb_compare_readers: what is built on has the same readers, and opens here.
tb_compare_readers() {
	case $prepared_full.$profile_cipher_suite.$prepared_last_suite in
	-.age.age)
		tb_readers=
		test ! -f "$tb_home/cache/$profile_group/recipients" || { IFS= read -r tb_readers <"$tb_home/cache/$profile_group/recipients"; } 2>/dev/null
		if test "$tb_readers" != "$tb_latest $profile_recipients"; then
			prepared_full=readers
		elif test "$prepared_manifest" = local; then
			test -f "$tb_home/state/local_identity" || prepared_full=identity
		elif test -z "$opt_identity" || test "$prepared_manifest" != cached; then
			prepared_full=identity
		fi
		;;
	-.age.* | -.*.age) prepared_full=readers ;;
	esac
}
