# The steps of a rotation. Its journal, $tb_work/done, has a line for each finished backup: the result, the id and the
# size.

# next_backup [--but-last]: sets tb_id, tb_file and tb_sha256 of the next backup, its number and the total; from the
# journal rotated, already and bytes; and has_sealed if any backup is encrypted with a password. False if none is left.
# Backups without a password are rotated only with --full.
next_backup() {
	tb_evaluate next "$tb_sh" next-to-rotate ${tb_former:+${opt_full:+--full}} ${only:+"--only=$only"} "$@" \
		"$tb_work/list" "$tb_work/done"
	test -n "$tb_id"
}

neither() {
	if test -n "$tb_to_recipients"; then
		outcome=left
		tb_warn "backup $(tb_short "$tb_id") is sealed to recipients whose identities are elsewhere, and stays as it is"
		return
	fi
	tb_die 77 "backup $(tb_short "$tb_id") opens with neither password" \
		'or it has been altered; where a rotation was interrupted, both passwords have to be the same again'
}

# rotate: rotates the backup tb_id. Sets outcome to rotated, already (under the new password), left or gone. Archive and
# manifest change in one commit, so both always have the same password.
rotate() {
	outcome=rotated tb_size='' tb_to_recipients='' tb_rekeyed=1 tb_new_manifest=''
	case $tb_file in *.age) tb_to_recipients='sealed to the new identity' ;; esac
	if tb_pull_manifest pull-manifest "$tb_id" "$tb_work/manifest"; then
		tb_quietly tb_resealed reseal-manifest --expect-id "$tb_id" <"$tb_work/manifest" >"$tb_work/new-manifest"
		if ! tb_judge_open reseal-manifest; then
			outcome=already
			tb_opens_with_new "$tb_work/manifest" --manifest --expect-id "$tb_id" || neither
			return
		fi
		tb_new_manifest=$tb_work/new-manifest
	else
		# Only the archive shows which password it has: if it does not open, that is not an error yet.
		tb_hold=1
	fi
	tb_swap
	tb_hold=
	test "$tb_result" -ne 0 || return 0
	case $(tb_status pull).$(tb_status seal).$(tb_status push).$tb_new_manifest in
	66.* | 69.* | *.*.69.*)
		# It may have been pruned meanwhile.
		tb_list
		outcome=gone
		grep -q -e "^$tb_id$tb_tab" -- "$tb_work/list" || return 0
		;;
	0.77.*. | 141.77.*.)
		outcome=already
		already_new || neither
		return
		;;
	esac
	tb_failed "$tb_result" pull seal ${tb_sign_key:+sign} push
}

# already_new: whether the archive of tb_id opens with the new password.
already_new() {
	tb_quietly tb_run 'pull open' open_with_new
	case $tb_result.$(tb_status pull) in
	0.*) ;;
	77.77) tb_failed 77 pull ;;
	77.*) return 1 ;;
	*) tb_failed "$tb_result" pull open ;;
	esac
}

open_with_new() {
	tb_pull pull --quiet --progress "$tb_progress" -- "$profile_store" "$tb_id" |
		tb_with_new tb_sealed open "${tb_bin}tbk-open" --quiet --manifest --expect-id "$tb_id" >/dev/null
}

# rotate_listed [--but-last]: rotates backups in the list that are not in the journal. Sets found if there were any.
rotate_listed() {
	found=
	while next_backup "$@"; do
		found=1
		rotate
		case $outcome in
		rotated)
			tb_note "$(tb_short "$tb_id") is ${tb_to_recipients:-under the new password} ($number of $total)"
			tb_audit success "backup_id=$(tb_short "$tb_id")" "bytes=$tb_size"
			tb_audited=rotate-key
			;;
		gone) tb_note "$(tb_short "$tb_id") has been removed from the store meanwhile" ;;
		esac
		printf '%s\t%s\t%s\n' "$outcome" "$tb_id" "$tb_size" >>"$tb_work/done"
	done
}

# renew_keyring: stores the new password in the keyring if that has a different one for the profile; sets in_keyring if
# it has the new one now.
renew_keyring() {
	! tb_with password=new_password keyring "$tb_sh" keep-password --renewing --profile "$profile_name" \
		${tb_no_input:+--no-input} ${tb_quiet:+--quiet} || in_keyring=1
}

# renew_identity: creates another identity for new backups, and encrypts all identities with the new password unless
# they already are; sets tb_identities, newest first, and tb_former to the older ones.
renew_identity() {
	tb_pull_identity || tb_die 64 "the backups of '$profile_name' are sealed to recipients whose identities are elsewhere" \
		"'termbackup profile edit $profile_name --recipient …' changes them from the next backup on"
	tb_reads_sealed=1
	tb_get_password
	tb_given new_password || tb_read_secret new_password --new --confirm ${tb_no_input:+--no-input}
	tb_try_identity
	tb_list
	tb_prepare_signing
	tb_lock_profile
	# Otherwise an earlier rotation got this far.
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
	# Runs of the profile may continue.
	exec 9>&-
	tb_former=${tb_identities#*AGE-SECRET-KEY-*"$tb_newline"}
	test "$tb_former" != "$tb_identities" || tb_former=
	tb_identities=${tb_identities%"$tb_former"}
}
