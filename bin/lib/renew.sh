# Another identity for the backups of a profile. The verb rotate-key uses this.

# tb_renew_identity: makes another identity for the backups to come, and puts all of them under the new password, unless
# they are under it already; leaves in tb_identities the newest, and in tb_former those before.
tb_renew_identity() {
	tb_pull_identity || tb_die 64 "the backups of '$profile_name' are sealed to recipients whose identities are elsewhere" \
		"'termbackup profile edit $profile_name --recipient …' changes them from the next backup on"
	tb_reads_sealed=1
	tb_get_password
	tb_given new_password || tb_read_secret new_password --confirm ${tb_no_input:+--no-input}
	tb_try_identity
	tb_list
	tb_prepare_signing
	tb_lock_profile
	# Unless a rotation came so far.
	if tb_judge_open open-identity; then
		tb_with 'old-password=password password=new_password' new-identity "$tb_sh" new-identity --quiet \
			--known "$tb_work/identity" --out "$tb_work/new-identity" >/dev/null || tb_failed "$(tb_status new-identity)" new-identity
		tb_must push-identity tb_on_store push-identity identity --quiet --replace --group-identity "$tb_identity_sha" \
			--group "$profile_group" -- "$profile_store" "$tb_work/new-identity"
		mv -f -- "$tb_work/new-identity" "$tb_work/identity"
	fi
	tb_try_identity tb_with_new
	tb_judge_open open-identity "this is not the password of the backups of '$profile_name'" ''
	! tb_follow_identities ||
		tb_note "backups from now on are sealed to the new identity; all identities are under the new password"
	# Runs go on.
	exec 9>&-
	tb_former=${tb_identities#*AGE-SECRET-KEY-*"$tb_newline"}
	test "$tb_former" != "$tb_identities" || tb_former=
	tb_identities=${tb_identities%"$tb_former"}
}
