# shellcheck shell=sh disable=SC2034,SC2154
# The backups that a verb works on: those of a profile, or what a store has. lib/setup.sh
# sources this.

# The store and the group of it that are named in a profile's place.
tb_store=
tb_group=
tb_every_group=
tb_present=
tb_others=

# tb_load_store: as tb_load_profile, for --store and --group. Messages call it by its address.
tb_load_store() {
	profile_store=$(tb_stage config "${tb_bin}tbk-config" store -- "$tb_store") ||
		tb_failed "$(tb_status config)" config
	profile_name=$profile_store
	profile_group=$tb_group
	case $tb_group in
	'') tb_every_group=1 ;;
	-) profile_group= ;;
	esac
	case $profile_store in
	github:*) tb_get_token ;;
	esac
}

# tb_listing: the command that lists these backups.
tb_listing() {
	if test -n "$tb_store"; then
		printf 'termbackup list --store %s' "$(tb_quote "$profile_store")"
		test -z "$tb_group" || printf ' --group %s' "$tb_group"
	else
		printf 'termbackup list %s' "$profile_name"
	fi
}

# tb_list: puts the backups into $tb_work/list, oldest first, the last id into tb_latest, and what the
# signature of the ledger is worth into $tb_work/trust; with what the store holds of them if tb_present is set.
tb_list() {
	tb_waiting tb_pull list ${tb_quiet:+--quiet} --list ${tb_present:+--present} --trust-out "$tb_work/trust" -- "$profile_store" \
		>"$tb_work/list" || tb_failed "$(tb_status list)" list
	test -z "$tb_json" || tb_show_held list
	tb_latest=$(tail -n 1 -- "$tb_work/list" | cut -f 1)
}

prepared_full='' prepared_lost='' prepared_manifest='' prepared_proof='' prepared_prune='' prepared_last_count='' prepared_last_suite=''

# tb_prepare OPTION…: all that a run needs to know of the store, in one visit: $tb_work/list, trust, check and
# manifest, and in prepared_NAME what tbk-pull --prepare says; sets what tb_list and tb_pull_check set, too.
tb_prepare() {
	test -n "$tb_require_signature" || set -- --unvouched "$@"
	tb_waiting tb_pull pull-prepare ${tb_quiet:+--quiet} --prepare "$tb_work" "$@" -- "$profile_store" ||
		tb_failed "$(tb_status pull-prepare)" pull-prepare
	test -z "$tb_json" || tb_show_held pull-prepare
	while IFS=$tb_tab read -r tb_name tb_value; do
		eval "prepared_$tb_name=\$tb_value"
	done <"$tb_work/prepared"
	tb_latest=${prepared_last#-} tb_pinned=$prepared_check tb_check_sha=${prepared_check_sha256#-}
}

# tb_short_list IDS: ids with commas, shortened, in words.
tb_short_list() {
	printf '%s\n' "$1" | tr ',' '\n' | cut -c 1-12 | paste -s -d ' ' -
}

# tb_groups: the groups of the profiles here, one a line, each with a tab and the profile's name.
tb_groups() {
	"${tb_bin}tbk-config" profile list --quiet 2>/dev/null | cut -f 1 | while read -r tb_name; do
		tb_word=$("${tb_bin}tbk-config" profile get --quiet "$tb_name" group 2>/dev/null </dev/null)
		test -z "$tb_word" || printf '%s\t%s\n' "$tb_word" "$tb_name"
	done
}

# tb_find_others: for a profile without backups: sets tb_others to how many the store has that are in
# groups that no profile here has, or in none, in words, and tb_others_hint to what may be done; to nothing
# if there are none. Made anew, on a new machine, a profile does not know its backups.
tb_find_others() {
	tb_others=
	tb_others_hint=
	tb_groups >"$tb_work/groups"
	# That they cannot be told is no failure here.
	set -- "$profile_group" "$profile_ungrouped"
	profile_group='' profile_ungrouped='' tb_every_group=1 tb_hold=1
	tb_waiting tb_pull others --list --quiet -- "$profile_store" >"$tb_work/others"
	profile_group=$1 profile_ungrouped=$2 tb_every_group='' tb_hold=''
	test "$(tb_status others)" = 0 || return 0
	LC_ALL=C awk -F '\t' '
		FILENAME == ARGV[1] { known[$1]; next }
		$6 == "-" { ungrouped++; next }
		!($6 in known) { count++ }
		END { printf "%d %d\n", count, ungrouped }' "$tb_work/groups" "$tb_work/others" >"$tb_work/counts"
	read -r tb_count tb_ungrouped <"$tb_work/counts" || return 0
	case $tb_count.$tb_ungrouped in
	0.0) return ;;
	0.1) tb_others='the store has 1 backup in no group, as TermBackup 6 made them' ;;
	0.*) tb_others="the store has $tb_ungrouped backups in no group, as TermBackup 6 made them" ;;
	1.*) tb_others='the store has 1 backup of a group that no profile here has' ;;
	*) tb_others="the store has $tb_count backups of groups that no profile here has" ;;
	esac
	case $tb_count in
	0) tb_others_hint="if they are its own, 'termbackup profile edit $profile_name --ungrouped' says so" ;;
	*) tb_others_hint="'termbackup list --store $(tb_quote "$profile_store")' shows the groups, and 'termbackup profile edit $profile_name --group GROUP' goes on with one" ;;
	esac
}

# tb_find_rivals: sets tb_rivals to the other profiles here that take the store's backups in no group for
# theirs, as this one does: TermBackup 6 did not write down whose a backup is. To nothing if there are none.
tb_find_rivals() {
	tb_rivals=
	test -z "$tb_store" || return 0
	test -z "$profile_group" || test "$profile_ungrouped" = true || return 0
	! test -f "$tb_work/list" || cut -f 6 -- "$tb_work/list" | grep -qx -e - || return 0
	tb_rivals=$("${tb_bin}tbk-config" profile list --quiet 2>/dev/null | cut -f 1 | while read -r tb_name; do
		test "$tb_name" != "$profile_name" || continue
		(
			# shellcheck disable=SC2030
			tb_place=$profile_store profile_store='' profile_group='' profile_ungrouped=''
			eval "$("${tb_bin}tbk-config" profile show --quiet --shell -- "$tb_name" 2>/dev/null </dev/null)"
			test "$profile_store" = "$tb_place" || exit
			if test -z "$profile_group" || test "$profile_ungrouped" = true; then printf ' %s' "$tb_name"; fi
		)
	done)
	tb_rivals=${tb_rivals# }
}
tb_rivals=
tb_rivals_hint="when each of them has a backup of its own, 'termbackup profile edit NAME --unset ungrouped' takes the old ones from those that have none there"

# tb_no_backups: ends, for there is none.
# shellcheck disable=SC2031
tb_no_backups() {
	case $tb_group in
	'') ;;
	-) tb_die 69 "the store '$profile_store' has no ungrouped backups" "see 'termbackup list --store $(tb_quote "$profile_store")'" ;;
	*) tb_die 69 "the store '$profile_store' has no backups of the group '$tb_group'" ;;
	esac
	test -z "$tb_store" || tb_die 69 "the store '$profile_store' has no backups"
	tb_find_others
	tb_die 69 "the profile '$profile_name' has no backups${tb_others:+; $tb_others}" "$tb_others_hint"
}

# tb_find_backup ID [TIME]: sets tb_id, tb_created, tb_size, tb_count from the list: of a whole id, a unique
# beginning of one, latest or latest~2; with TIME of the last one that was made by then.
tb_find_backup() {
	test -n "$tb_latest" || tb_no_backups
	case $1 in
	latest* | '')
		if test -n "$tb_store" && test "$(cut -f 6 -- "$tb_work/list" | sort -u | wc -l)" -gt 1; then
			tb_usage_error "the store has backups of several groups, each with a last one: give --group" \
				"see '$(tb_listing)'"
		fi
		tb_by_place=1
		;;
	*) tb_by_place= ;;
	esac
	tb_whose="the profile '$profile_name'"
	test -z "$tb_store" || tb_whose="the store '$profile_name'"
	tb_stage pick "$tb_sh" pick --verb "$tb_verb" --of "$tb_whose" --listing "$(tb_listing)" ${2:+"--at=$2"} ${1:+-- "$1"} \
		<"$tb_work/list" >"$tb_work/picked" || tb_failed "$(tb_status pick)" pick
	IFS=$tb_tab read -r tb_id tb_created tb_size tb_count _ tb_word _ tb_file _ <"$tb_work/picked" || tb_die 70 'no backup was picked'
	if test -n "$tb_by_place" && test "$tb_word" = -; then
		tb_find_rivals
		test -z "$tb_rivals" ||
			tb_usage_error "this backup may be another profile's, as '$tb_rivals' has the same store, and TermBackup 6 did not write down whose it is" \
				"give its id: '$(tb_listing)' shows them; $tb_rivals_hint"
	fi
	# The password check is that of its group.
	test -z "$tb_store" || test "$tb_word" = - || profile_group=$tb_word
}
