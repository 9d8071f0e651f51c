# Removal of old backups: after a run, and by the verb prune.

# tb_count_pruned FILE [--status STATUS]: reads the output of tbk-prune or 'tbk-push --then-prune': sets tb_removed,
# tb_kept, tb_freed, in bytes, and tb_unpruned, why it failed.
tb_count_pruned() {
	tb_pruned=$1
	shift
	tb_assignments=$("$tb_sh" pruned "$@" <"$tb_pruned") || exit
	eval "$tb_assignments"
}

# tb_conclude: caches and logs the stored backup, and reports what became of old ones.
tb_conclude() {
	IFS=$tb_tab read -r tb_id size count _ <"$tb_work/entry" || tb_die 70 'tbk-push printed no entry'
	tb_keep_manifest "$tb_id" "$tb_work/manifest"
	tb_shorten "$tb_id"
	tb_audit "$tb_outcome" "backup_id=$tb_digits" "file_count=$count" "bytes=$size" "mode=$mode" ${tb_problem:+"warning=$tb_problem"}
	if tb_may_retain; then tb_report_pruned "$tb_result" "$tb_work/entry"; fi
}

# tb_retain: removes backups beyond the profile's limits after a run that stored nothing.
tb_retain() {
	tb_may_retain || return 0
	removed=0
	test "$prepared_prune" = yes || return 0
	tb_prune prune --quiet --refuse-sudden ${profile_max_backups:+--max-backups "$profile_max_backups"} \
		${profile_retention_days:+--retention-days "$profile_retention_days"} -- "$profile_store" \
		</dev/null >"$tb_work/pruned" &
	tb_await $!
	tb_report_pruned "$(tb_status prune)" "$tb_work/pruned"
}

# tb_may_retain: whether old backups may be removed.
tb_may_retain() {
	test -n "$limits" && test -z "$opt_no_prune" || return 1
	test -n "$tb_partial" || return 0
	tb_note 'no old backup is removed for one that is not complete'
	return 1
}

# tb_report_pruned STATUS FILE: reports the removal of old backups, from its exit status and output. Its failure does
# not change how this run ends.
tb_report_pruned() {
	tb_audited=prune
	tb_count_pruned "$2" --status "$1"
	if test -n "$tb_unpruned"; then
		tb_audit failure "error=$tb_unpruned"
		tb_warn "the backup is complete, but old backups were not removed: $tb_unpruned"
		tb_problem="${tb_problem:+$tb_problem; }old backups were not removed: $tb_unpruned"
	else
		removed=$tb_removed
		test "$removed" -eq 0 || tb_audit success "removed_count=$removed" "kept_count=$tb_kept" "bytes=$tb_freed"
	fi
	tb_audited=
}
