# What the verbs that reseal archives share. The old password is in tb_password or tb_password_file, as everywhere; the
# new one is in tb_new_password or tb_new_password_file.

# tb_resealed NAME OPTION…: runs tbk-seal reseal as a stage, with each password through a pipe of its own; standard
# input is the archive. In suite 3 it uses the salt of the group's check. With tb_to_recipients, a text for messages, an
# archive that a former identity opens is sealed to the profile's recipients.
tb_to_recipients=
tb_resealed() {
	tb_name=$1
	shift
	if test -n "$tb_to_recipients"; then
		# shellcheck disable=SC2086 # Words without blanks.
		tb_fed 7:tb_former tb_with '' "$tb_name" "${tb_bin}tbk-seal" reseal --quiet --no-input -i /dev/fd/7 $profile_recipients \
			--receipt "$tb_work/receipt" "$@"
		return
	fi
	test ! -f "$tb_work/new-check" || set -- --salt-from "$tb_work/new-check" "$@"
	tb_with 'password=new_password old-password=password' "$tb_name" "${tb_bin}tbk-seal" reseal --quiet "$@"
}

# tb_with_new COMMAND…: runs it with the new password in place of the old one.
tb_with_new() {
	(
		tb_password=${tb_new_password-}
		tb_password_file=$tb_new_password_file
		"$@"
	)
}

# tb_opens FILE MODE OPTION…: whether tbk-open opens the sealed file with the password. Exits on other failures.
tb_opens() {
	tb_try open-sealed "$@"
	tb_judge_open open-sealed
}

# tb_opens_with_new FILE MODE OPTION…: the same with the new password.
tb_opens_with_new() {
	tb_with_new tb_try open-sealed "$@"
	tb_judge_open open-sealed
}

# tb_swap: pulls the archive of tb_id, reseals it and replaces it, in one commit, unless it is no longer the listed one,
# tb_sha256. Sets tb_result and tb_size. The old signature does not fit the new bytes: with tb_sign_key a new one is
# made, else there is none. In a rotation tb_rekeyed is set; a new sealed manifest in the file tb_new_manifest is stored
# too.
tb_rekeyed='' tb_new_manifest=''
tb_swap() {
	tb_sign_archive=$tb_sign_key
	test -z "$tb_to_recipients" || tb_sign_archive=
	tb_run "pull seal ${tb_sign_archive:+sign} push" tb_seal_into tb_push_swapped tb_resealed_archive
	tb_size=
	test "$tb_result" -ne 0 || IFS=$tb_tab read -r _ tb_size _ <"$tb_work/entry" ||
		tb_die 70 'tbk-store printed no entry'
}

# tb_resealed_archive OPTION…: the resealed archive of tb_id.
tb_resealed_archive() {
	tb_when=$tb_progress
	# Progress would not be shown.
	test -z "$tb_hold$tb_json" || tb_when=never
	tb_pull pull --quiet --progress never -- "$profile_store" "$tb_id" |
		tb_resealed seal --progress "$tb_when" --expect-id "$tb_id" "$@"
}

# tb_push_swapped OPTION…: replaces the archive of tb_id with the one on standard input.
tb_push_swapped() {
	tb_storing
	tb_on_store push replace --quiet --progress "$tb_when" ${placement:+--placement "$placement"} ${tb_rekeyed:+--rekeyed} \
		${tb_to_recipients:+--receipt "$tb_work/receipt"} ${tb_new_manifest:+--sealed-manifest "$tb_new_manifest"} \
		"$@" -- "$profile_store" "$tb_id:$tb_sha256" >"$tb_work/entry"
}
