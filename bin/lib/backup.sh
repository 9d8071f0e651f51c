# The stages of a run.

prepared_proof='' prepared_prune='' prepared_last_count=''

# tb_prepare OPTION…: all that a run needs to know about the store, in one visit: writes $tb_work/list, trust, check and
# manifest, and sets prepared_NAME from tbk-pull --prepare, and what tb_list and tb_pull_check set.
tb_prepare() {
	test -n "${opt_require_signature-}" || set -- --unvouched "$@"
	tb_must pull-prepare tb_pull pull-prepare ${tb_quiet:+--quiet} --prepare "$tb_work" ${profile_recipients:+--identity} "$@" -- "$profile_store"
	while IFS=$tb_tab read -r tb_name tb_value; do
		eval "prepared_$tb_name=\$tb_value"
	done <"$tb_work/prepared"
	tb_latest=${prepared_last#-} tb_pinned=$prepared_check tb_check_sha=${prepared_check_sha256#-}
}

# tb_make_manifest OPTION…: walks the tree once, and writes the manifest to standard output.
tb_make_manifest() {
	# shellcheck disable=SC2086 # Words without blanks.
	tb_stage manifest "${tb_bin}tbk-manifest" create --defer-hash ${needs_files:+--need-files} --progress "$tb_progress" \
		--exclude-from "$tb_work/excludes" $profile_walk $walk ${largest:+"--exclude-larger-than=$largest"} "$@" -- "$profile_source_dir"
}

# tb_seal_tree OPTION…: seals the manifest on standard input into an archive. In suite 3 it uses the salt of the group's
# check, so that a reader of many archives derives only one key.
tb_seal_tree() {
	test "$profile_cipher_suite" != 3 || set -- --salt-from "$tb_work/check" "$@"
	test -z "$tb_local_recipient" ||
		set -- --local-manifest-out "$tb_work/local" --local-recipient "$tb_local_recipient" "$@"
	# shellcheck disable=SC2086 # Words without blanks.
	tb_sealed seal "${tb_bin}tbk-seal" --quiet --progress "$tb_progress" $profile_sealing --group "$profile_group" \
		--receipt "$tb_work/receipt" --manifest-out "$tb_work/manifest" "$@"
}

# tb_push_archive OPTION…: stores the archive on standard input, then removes old backups beyond the profile's limits.
# An incomplete backup displaces no other.
tb_push_archive() {
	test -n "$limits" && test -z "$opt_no_prune$tb_partial" || limits=
	# Backups that may belong to another profile are kept.
	if test -n "$limits" && test "$profile_ungrouped" = true && test -z "$tb_rivals"; then set -- --with-ungrouped "$@"; fi
	tb_push push --quiet ${placement:+--placement "$placement"} \
		${limits:+--then-prune "$limits"} --group "$profile_group" --new-group ${tb_check_sha:+--group-check "$tb_check_sha"} --receipt "$tb_work/receipt" \
		--sealed-manifest "$tb_work/manifest" "$@" -- "$profile_store" >"$tb_work/entry"
}

# tb_seal_and_push: seals the manifest on standard input, and stores the backup.
tb_seal_and_push() { tb_seal_into tb_push_archive tb_seal_tree; }

# tb_walk_seal_and_push: all of it in one pipeline.
tb_walk_seal_and_push() { tb_make_manifest | tb_seal_and_push; }

# tb_seal_and_push_walked: the same for the manifest on descriptor 8.
tb_seal_and_push_walked() { tb_seal_and_push <&8 8<&-; }

# tb_open_empty: an empty manifest, for when there is nothing to compare with.
tb_open_empty() {
	tb_make_directory "$tb_work/empty"
	tb_stage previous "${tb_bin}tbk-manifest" create -- "$tb_work/empty" >&5 || tb_failed "$(tb_status previous)" previous
}

# tb_open_nameless: opens an unnamed file with descriptors 5 and 6, to write and to read, and another with 7 and 8, for
# unencrypted manifests: the files disappear with this process.
tb_open_nameless() {
	# shellcheck disable=SC2094
	exec 5>"$tb_work/previous" 6<"$tb_work/previous" 7>"$tb_work/new" 8<"$tb_work/new"
	rm -f -- "$tb_work/previous" "$tb_work/new"
}

# tb_walk_changes: compares the tree with the manifest of the last backup. The new manifest goes to descriptor 7, the
# numbers of differing entries to the file counts, and with --list the entries to changes.
tb_walk_changes() {
	tb_make_manifest --mode "$mode" --previous /dev/fd/6 --counts "$tb_work/counts" ${opt_list:+--changes "$tb_work/changes"} >&7
}

# tb_choose_mode: sets mode to full or incremental, and needs_files.
tb_choose_mode() {
	if test -n "$incremental"; then mode=incremental; else mode=full; fi
	# Usually nothing else has to be found out, which saves a process.
	case $mode.$prepared_full.$profile_cipher_suite.$prepared_last_suite in
	*.*.age.* | *.-.*.age | incremental.[!-]*) tb_find_readers ${incremental:+1} ;;
	esac
	# An unmounted disk must not be taken for an empty directory.
	needs_files=
	case $opt_allow_empty.$prepared_last_count in
	.- | .0) ;;
	.*) needs_files=1 ;;
	esac
}
