# What the verbs share that seal archives again. The password of before is tb_password or in tb_password_file, as
# everywhere; the one to come is tb_new_password or in tb_new_password_file.

# tb_resealed NAME OPTION…: tbk-seal reseal as a stage, with each password through a pipe of its
# own; standard input, the archive, stays. Of suite 3, it has the salt of the group's check. With tb_to_recipients, words
# about it, what one of the identities before opens is sealed to the profile's recipients.
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

# tb_with_new COMMAND…: runs it with the password to come in the place of the other.
tb_with_new() {
	(
		tb_password=${tb_new_password-}
		tb_password_file=$tb_new_password_file
		"$@"
	)
}

# tb_opens FILE MODE OPTION…: whether tbk-open takes the sealed file under the password. Ends on what
# is no answer.
tb_opens() {
	tb_try open-sealed "$@"
	tb_judge_open open-sealed
}

# tb_opens_with_new FILE MODE OPTION…: likewise under the password to come.
tb_opens_with_new() {
	tb_with_new tb_try open-sealed "$@"
	tb_judge_open open-sealed
}

# tb_swap: pulls the archive of tb_id, seals it again and puts it in its place, in one commit, unless it is no longer the one
# of tb_sha256, as in the list. Sets tb_result and tb_size. A signature is one of the bytes that were: with tb_sign_key there
# is a new one, else none. In a rotation tb_rekeyed is set; a new sealed manifest, in the file tb_new_manifest, goes with
# it.
tb_rekeyed='' tb_new_manifest=''
tb_swap() {
	tb_sign_archive=$tb_sign_key
	test -z "$tb_to_recipients" || tb_sign_archive=
	tb_run "pull seal ${tb_sign_archive:+sign} push" tb_seal_into tb_push_swapped tb_resealed_archive
	tb_size=
	test "$tb_result" -ne 0 || IFS=$tb_tab read -r _ tb_size _ <"$tb_work/entry" ||
		tb_die 70 'tbk-store printed no entry'
}

# tb_resealed_archive OPTION…: the archive of tb_id, sealed again.
tb_resealed_archive() {
	tb_when=$tb_progress
	# Nobody sees what is held back.
	test -z "$tb_hold$tb_json" || tb_when=never
	tb_pull pull --quiet --progress never -- "$profile_store" "$tb_id" |
		tb_resealed seal --progress "$tb_when" --expect-id "$tb_id" "$@"
}

# tb_push_swapped OPTION…: puts the archive on standard input into the place of that of tb_id.
tb_push_swapped() {
	tb_storing
	tb_on_store push replace --quiet --progress "$tb_when" ${placement:+--placement "$placement"} ${tb_rekeyed:+--rekeyed} \
		${tb_to_recipients:+--receipt "$tb_work/receipt"} ${tb_new_manifest:+--sealed-manifest "$tb_new_manifest"} \
		"$@" -- "$profile_store" "$tb_id:$tb_sha256" >"$tb_work/entry"
}
