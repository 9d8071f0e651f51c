# shellcheck shell=sh disable=SC2034,SC2154
# What follows a backup that is stored: the verb run sources this after lib/setup.sh.

# tb_conclude: what is stored is kept in mind and noted, and what has become of old backups.
tb_conclude() {
	IFS=$tb_tab read -r tb_id size count _ <"$tb_work/entry" || tb_die 70 'tbk-push printed no entry'
	tb_keep_manifest "$tb_id" "$tb_work/manifest"
	outcome=success
	test -z "$tb_partial" || outcome=partial
	tb_shorten "$tb_id"
	tb_audit "$outcome" "backup_id=$tb_digits" "file_count=$count" "bytes=$size" "mode=$mode"
	tb_audited=
	test -n "$limits" && test -z "$no_prune" || return 0
	if test -z "$tb_partial"; then
		tb_report_pruned "$tb_result" "$tb_work/entry"
	else
		tb_note 'no old backup is removed for one that is not complete'
	fi
}

# tb_retain: removes what is beyond the profile's limits, where nothing is stored.
tb_retain() {
	test -n "$limits" && test -z "$no_prune" || return 0
	if test -n "$tb_partial"; then
		tb_note 'no old backup is removed for one that is not complete'
		return
	fi
	removed=0
	test "$prepared_prune" = yes || return 0
	# shellcheck disable=SC2046 # Words without blanks.
	tb_prune prune --quiet --refuse-sudden $(tb_profile_limits) -- "$profile_store" >"$tb_work/pruned" &
	tb_await $!
	tb_report_pruned "$(tb_status prune)" "$tb_work/pruned"
}

# tb_report_pruned STATUS FILE: what became of old backups: the status that removing them ended with, and what it
# printed. That it fails undoes nothing, and this run ends as it would have.
tb_report_pruned() {
	tb_audited=prune
	tb_count_pruned "$2"
	test "$tb_unpruned" -eq 0 || set -- "$tb_unpruned"
	if test "$1" -ne 0; then
		reason=$(tb_reason "$1")
		tb_audit failure "error=$reason"
		tb_audited=
		tb_problem="old backups were not removed: $reason"
		tb_warn "the backup is complete, but $tb_problem"
		return
	fi
	removed=$tb_removed
	test "$removed" -eq 0 ||
		tb_audit success "removed_count=$removed" "kept_count=$tb_kept" "bytes=$tb_freed"
	tb_audited=
}
