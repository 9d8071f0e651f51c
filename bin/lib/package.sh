# shellcheck shell=sh disable=SC2034,SC2154
# What the verbs for packages share; they source this after lib/setup.sh.

tb_packages=

# tb_setting KEY: prints what config.json has for it, or nothing.
tb_setting() {
	tb_configuration=ConfigError
	tb_stage config "${tb_bin}tbk-config" get "$1" || tb_failed "$(tb_status config)" config
}

# tb_package_directory [DIRECTORY]: sets tb_packages to the directory, or to that of the configuration.
tb_package_directory() {
	tb_packages=${1-}
	test -n "$tb_packages" || tb_packages=$(tb_setting package_dir) || exit
	test -n "$tb_packages" || tb_die 78 'there is no directory for packages' \
		"choose one: tbk-config set package_dir DIR"
	test -d "$tb_packages" || tb_die 73 "the directory '$tb_packages' does not exist" 'mount it, or make it'
}

# tb_package_password [NEW]: gets the password, which has to be the one that the check in the home opens
# with. Where there is no check, or NEW is given, this password is the one from now on.
tb_package_password() {
	tb_check=$tb_home/package-check.tbk
	if test -n "${1-}" || ! test -f "$tb_check"; then
		tb_get_password --confirm
		printf 'TermBackup password check\n' | tb_seal_check "${1-}"
		case $(tb_status seal-check) in
		0) return ;;
		# Another process was first: its password is the one.
		73) test -f "$tb_check" || tb_failed 73 seal-check ;;
		*)
			test -n "$tb_json" || tb_show_held seal-check
			tb_failed "$(tb_status seal-check)" seal-check
			;;
		esac
	fi
	tb_get_password
	tb_try_check "$tb_check" --verify
	while tb_asks_again open-check; do tb_try_check "$tb_check" --verify; done
	tb_end_of open-check
	case $tb_ended in
	0) ;;
	77)
		tb_die 77 'this is not the password of your packages' \
			"to take another from now on: 'termbackup package --new-password'"
		;;
	*)
		test -n "$tb_json" || tb_show_held open-check
		tb_failed "$tb_ended" open-check
		;;
	esac
}

# tb_seal_check NEW: seals standard input as the check.
tb_seal_check() {
	tb_when=never
	test -z "$1" || tb_when=always
	tb_hold=1
	tb_sealed seal-check "${tb_bin}tbk-seal" stream --quiet --overwrite "$tb_when" -o "$tb_check" check
	tb_hold=
}
