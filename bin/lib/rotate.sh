# The steps of a rotation.

# list_ids [EDIT]: the profile's backups, oldest first, into the file ids, as sed edits it; without --full not those under
# no password.
list_ids() {
	tb_list
	LC_ALL=C awk -F '\t' -v full="${tb_former:+$opt_full}" 'full != "" || $8 !~ /[.]age$/ { print $1 }' "$tb_work/list" | sed "${1-}" >"$tb_work/ids"
	total=$(($(wc -l <"$tb_work/ids")))
	test -z "${1-}" || total=$((total + 1))
}

# is_gone ID: whether the store no longer has the backup, as after a prune meanwhile.
is_gone() {
	tb_list
	! cut -f 1 -- "$tb_work/list" | grep -Fqx -- "$1"
}

neither() {
	if test -n "$tb_to_recipients"; then
		outcome=left
		tb_warn "backup $(tb_short "$1") is sealed to recipients whose identities are elsewhere, and stays as it is"
		return
	fi
	tb_die 77 "backup $(tb_short "$1") opens with neither password" \
		'or it has been altered; where a rotation was interrupted, both passwords have to be the same again'
}

# seal_check: the check under the new password, into the file new-check; ends if it is the old password.
seal_check() {
	# shellcheck disable=SC2086 # Words without blanks.
	printf 'TermBackup password check\n' |
		tb_with_new tb_sealed seal-check "${tb_bin}tbk-seal" stream --quiet $profile_sealing check \
			-o "$tb_work/new-check" || tb_failed "$(tb_status seal-check)" seal-check
	! tb_opens "$tb_work/new-check" --verify || tb_usage_error 'the new password is the old one' \
		"'tbk-seal reseal' gives one archive a new salt under the same password"
}

# rotate ID: one backup. Sets outcome to rotated, already (under the new password) or gone. Archive
# and manifest change in one commit: what holds for one holds for the other.
rotate() {
	tb_id=$1
	outcome=rotated
	tb_to_recipients=
	! cut -f 1,8 -- "$tb_work/list" | grep -q "^$1$tb_tab.*[.]age\$" || tb_to_recipients='sealed to the new identity'
	set --
	if tb_pull_manifest pull-manifest "$tb_id" "$tb_work/manifest"; then
		tb_quietly tb_resealed reseal-manifest --expect-id "$tb_id" <"$tb_work/manifest" >"$tb_work/new-manifest"
		if ! tb_judge_open reseal-manifest; then
			outcome=already
			tb_opens_with_new "$tb_work/manifest" --manifest --expect-id "$tb_id" || neither "$tb_id"
			return
		fi
		set -- --sealed-manifest "$tb_work/new-manifest"
	else
		# Its archive alone can tell the password: that it does not open is no error yet.
		tb_hold=1
	fi
	tb_swap "$tb_id" --rekeyed ${tb_to_recipients:+--receipt "$tb_work/receipt"} "$@"
	tb_hold=
	test "$tb_result" -ne 0 || return 0
	case $(tb_status pull).$(tb_status seal).$(tb_status push) in
	66.* | 69.* | *.69)
		if is_gone "$tb_id"; then
			outcome=gone
			return
		fi
		;;
	0.77.* | 141.77.*)
		if test $# -eq 0; then
			outcome=already
			already_new || neither "$tb_id"
			return
		fi
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

# rotate_listed: what is in the file ids and has not been seen to. Sets found if there was any.
rotate_listed() {
	found=
	number=0
	while read -r listed <&7; do
		number=$((number + 1))
		! grep -Fqx -- "$listed" "$tb_work/done" || continue
		found=1
		rotate "$listed"
		case $outcome in
		rotated)
			rotated=$((rotated + 1))
			bytes=$((bytes + tb_size))
			tb_note "$(tb_short "$listed") is ${tb_to_recipients:-under the new password} ($number of $total)"
			tb_audit success "backup_id=$(tb_short "$listed")" "bytes=$tb_size"
			tb_audited=rotate-key
			;;
		already) already=$((already + 1)) ;;
		gone) tb_note "$(tb_short "$listed") has been removed from the store meanwhile" ;;
		esac
		printf '%s\n' "$listed" >>"$tb_work/done"
	done 7<"$tb_work/ids"
	tb_id=
}

# store_check: the profile's password is the new one from here on.
store_check() {
	set --
	test "$tb_pinned" != pinned || set -- --group-check "$tb_check_sha"
	tb_must push-check tb_on_store push-check password-check --quiet --replace "$@" \
		--group "$profile_group" --new-group -- "$profile_store" "$tb_work/new-check"
	check=new
}

# renew_keyring: puts the password to come where the keyring has another one for the profile; sets in_keyring if it is
# there now. 1 is that the keyring has none.
renew_keyring() {
	(
		if test -n "$tb_new_password_file"; then tb_read_secret new_password --password-file "$tb_new_password_file"; fi
		printf '%s\n' "$tb_new_password" | tb_quietly tb_stage keyring "$tb_sh" keyring store --if-kept \
			--profile "$profile_name" ${tb_no_input:+--no-input}
	)
	case $(tb_status keyring) in
	0) in_keyring=1 ;;
	1) ;;
	*)
		tb_warn 'the keyring may still have the old password'
		tb_note "'termbackup schedule-enable --store-password' puts the new one there"
		;;
	esac
}
