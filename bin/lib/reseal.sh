# shellcheck shell=sh disable=SC2034,SC2154
# What the verbs share that seal archives again; they source this after lib/setup.sh. The
# password of before is tb_password or in tb_password_file, as everywhere; the one to come is
# tb_new_password or in tb_new_password_file.

unset tb_new_password
tb_new_password_file=

# tb_resealed NAME OPTION…: tbk-seal reseal as a stage, with each password through a pipe of its
# own; standard input, the archive, stays.
tb_resealed() {
	tb_name=$1
	shift
	set -- --quiet "$@"
	# Of suite 3, as all archives of a group and its check.
	test ! -f "$tb_work/new-check" || set -- --salt-from "$tb_work/new-check" "$@"
	if test -n "$tb_new_password_file"; then
		set -- --password-file "$tb_new_password_file" "$@"
	else
		set -- --password-fd 3 "$@"
	fi
	if test -n "$tb_password_file"; then
		set -- --old-password-file "$tb_password_file" "$@"
	else
		set -- --old-password-fd 5 "$@"
	fi
	{
		printf '%s\n' "${tb_password-}" | {
			printf '%s\n' "${tb_new_password-}" |
				tb_last "$tb_name" "${tb_bin}tbk-seal" reseal "$@" 3<&0 0<&4 4<&-
		} 5<&0
	} 4<&0
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
	tb_sealed_file=$1
	shift
	tb_hold=1
	tb_sealed open-sealed "${tb_bin}tbk-open" --quiet "$@" <"$tb_sealed_file" >/dev/null
	tb_hold=
	tb_opened
}

# tb_opens_with_new FILE MODE OPTION…: likewise under the password to come.
tb_opens_with_new() {
	tb_sealed_file=$1
	shift
	tb_hold=1
	tb_with_new tb_sealed open-sealed "${tb_bin}tbk-open" --quiet "$@" <"$tb_sealed_file" >/dev/null
	tb_hold=
	tb_opened
}

# tb_opened: the answer of the stage open-sealed.
tb_opened() {
	case $(tb_status open-sealed) in
	0) ;;
	77) return 1 ;;
	*)
		test -n "$tb_json" || tb_show_held open-sealed
		tb_failed "$(tb_status open-sealed)" open-sealed
		;;
	esac
}

# tb_swap ID OPTION…: pulls the archive, seals it again and puts it in its place, in one commit, unless
# it is no longer the one in the list; the options are for 'tbk-store replace'. Sets tb_result and tb_size. A signature is one of the bytes that were: with
# tb_sign_key there is a new one, else none.
tb_swap() {
	tb_swapped=$1
	tb_swapped_archive=$(LC_ALL=C awk -F '\t' -v id="$1" '$1 == id { print $10 }' "$tb_work/list")
	shift
	printf '0\n' >"$tb_work/sign.status"
	if test -n "$tb_sign_key"; then
		tb_swap_signed "$@" &
	else
		tb_resealed_archive | tb_push_swapped "$@" &
	fi
	wait $!
	tb_pipeline pull seal sign push
	tb_size=
	test "$tb_result" -ne 0 || IFS=$tb_tab read -r _ tb_size _ <"$tb_work/entry" ||
		tb_die 70 'tbk-store printed no entry'
}

# tb_resealed_archive: the archive of tb_swapped, sealed again, to standard output.
tb_resealed_archive() {
	tb_when=$tb_progress
	# Nobody sees what is held back.
	test -z "$tb_hold$tb_json" || tb_when=never
	tb_pull pull --quiet --progress never -- "$profile_store" "$tb_swapped" |
		tb_resealed seal --progress "$tb_when" --expect-id "$tb_swapped"
}

# tb_push_swapped OPTION…: puts the archive on standard input into the place of tb_swapped.
tb_push_swapped() {
	tb_on_store push replace --quiet --progress "$(tb_push_progress)" ${placement:+--placement "$placement"} \
		"$@" -- "$profile_store" "$tb_swapped${tb_swapped_archive:+:$tb_swapped_archive}" >"$tb_work/entry"
}

# tb_swap_signed OPTION…: the archive waits as ciphertext: its signature is one of all of it.
tb_swap_signed() {
	tb_resealed_archive >"$tb_work/archive"
	test "$(tb_status pull).$(tb_status seal)" = 0.0 || return
	tb_signing tb_push_swapped "$@"
}

# tb_keyring_renew: puts the password to come where the keyring has another one for the profile. 0 if it is there
# now, 1 if the keyring has none, else it could not be asked or told.
tb_keyring_renew() {
	(
		if test -n "$tb_new_password_file"; then
			tb_read_secret password password --password-file "$tb_new_password_file"
			tb_new_password=$tb_secret tb_secret=
		fi
		tb_hold=1
		printf '%s\n' "$tb_new_password" |
			tb_stage keyring "$tb_sh" keyring store --if-kept --profile "$profile_name" ${tb_no_input:+--no-input}
	)
}
