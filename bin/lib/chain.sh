# What the verbs share that read backups of TermBackup 6.
# Its ledger does not say what an increment was made over. The manifest does, which is in the archive.

# The archives of the chain, by id, the oldest first.
tb_chain=
# Whether an archive is taken that the ledger does not vouch for.
tb_unvouched=
# Whether to skip missing archives, and the last one that tb_fetch_chain skipped.
tb_takes_part=
tb_gap=

# tb_is_old ID: whether TermBackup 6 made a backup of the list.
tb_is_old() {
	LC_ALL=C awk -F '\t' -v id="$1" '$1 == id && $5 == "-" { found = 1 } END { exit !found }' "$tb_work/list"
}

# tb_all_well: as if the stages that fetch an archive had ended well.
tb_all_well() {
	for tb_name in pull open needed; do printf '0\n' >"$tb_work/$tb_name.status"; done
}

# tb_fetch_chain ID: fetches a backup of TermBackup 6 and all that it was made over into files, and sets
# tb_chain. False, with tb_result set and the stages pull, open and needed to tell why, if one of them
# cannot be had; with tb_takes_part, one that others were made over may not be there. What is there from
# before is taken.
tb_fetch_chain() {
	tb_all_well
	tb_chain=
	tb_gap=
	tb_open_ends=$1
	while test -n "$tb_open_ends"; do
		tb_link=${tb_open_ends%% *}
		tb_open_ends=${tb_open_ends#"$tb_link"}
		tb_open_ends=${tb_open_ends# }
		case " $tb_chain " in *" $tb_link "*) continue ;; esac
		tb_chain="$tb_link${tb_chain:+ $tb_chain}"
		if ! test -f "$tb_work/link-$tb_link.needs"; then
			test "$tb_link" = "$1" || tb_hold=1
			tb_fetch_link "$tb_link" || {
				test -n "$tb_hold" || return 1
				tb_hold=
				tb_find_gap && test -n "$tb_takes_part" || return 1
				tb_chain=${tb_chain#"$tb_link"}
				tb_chain=${tb_chain# }
				tb_all_well
				continue
			}
			test -z "$tb_hold" || tb_show_held pull open needed
			tb_hold=
		fi
		while read -r tb_needed; do
			tb_open_ends="$tb_open_ends${tb_open_ends:+ }$tb_needed"
		done <"$tb_work/link-$tb_link.needs"
	done
}

# tb_find_gap: whether tb_link is not there, or not whole; sets tb_gap to it then. Shows what was held.
tb_find_gap() {
	tb_gap=
	# Unless the store itself is out of reach.
	test "$(tb_status pull)" != 69 || tb_list
	case $(tb_status pull) in
	65 | 66 | 69)
		tb_gap=$tb_link
		test -n "$tb_json" || tb_show_held pull open needed
		;;
	*) return 1 ;;
	esac
}

# tb_chain_failed ID [HINT]: ends, for tb_fetch_chain did not get all.
tb_chain_failed() {
	test -z "$tb_gap" ||
		tb_die 66 "backup $(tb_short "$1") depends on backup $(tb_short "$tb_gap"), which is missing or damaged in the store" "${2-}"
	tb_failed "$tb_result" pull open needed
}

# tb_drop_others: removes what is there of other chains than tb_chain.
tb_drop_others() {
	for tb_file in "$tb_work"/link-*.needs; do
		tb_link=${tb_file##*/link-}
		tb_link=${tb_link%.needs}
		case " $tb_chain " in
		*" $tb_link "*) ;;
		*) rm -f -- "$tb_file" "$tb_work/link-$tb_link" ;;
		esac
	done
}

# tb_fetch_link ID: one archive into link-ID, and what its manifest names into link-ID.needs.
tb_fetch_link() {
	tb_run 'pull open needed' tb_read_link "$1"
	test "$tb_result" -eq 0 && mv -f -- "$tb_work/needs" "$tb_work/link-$1.needs"
}

tb_read_link() {
	tb_exec=
	tb_pull pull --quiet --progress "$tb_progress" ${tb_unvouched:+--unvouched} \
		-o "$tb_work/link-$1" -- "$profile_store" "$1" &&
		tb_sealed open "${tb_bin}tbk-open" --quiet --progress never --manifest --expect-id "$1" <"$tb_work/link-$1" |
		tb_stage needed "${tb_bin}tbk-manifest" id --needed - >"$tb_work/needs"
}

# tb_open_chain NAME OPTION…: tbk-open as a stage, over the archives of tb_chain, which have to be what the
# list says.
tb_open_chain() {
	tb_name=$1
	shift
	set -- --expect "$tb_work/list" "$@" --
	for tb_link in $tb_chain; do set -- "$@" "$tb_work/link-$tb_link"; done
	tb_sealed "$tb_name" "${tb_bin}tbk-open" --quiet --progress never "$@" </dev/null
}
