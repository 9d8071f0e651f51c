# What a restore makes sure of before it replaces anything.

# check_signature ID FILE: sets signature to what the signature of its archive, the first in the file, is
# worth; ends if it does not hold.
check_signature() {
	tb_fetch_signature "$1"
	if test "$tb_signature" = fetched; then
		tb_verify_signature <"$2"
		tb_judge_signature
	fi
	if test "$tb_signature" = fails; then
		test -n "$tb_unvouched" ||
			tb_die 65 "the signature of the archive of backup $(tb_short "$1") does not hold" \
				'it has been altered, or the key that signed it is not in trusted_keys; or rotate-key of TermBackup 6 sealed it again and left the signature as it was: --unvouched takes it for its password alone'
		tb_warn "the signature of the archive of backup $(tb_short "$1") does not hold: only the password vouches for it"
		tb_signature=none
	fi
	# One of a chain that is not signed is enough.
	test "$signature" = none || signature=$tb_signature
}

# prepare: makes sure of what the ledger does not vouch for, before anything is put in place: sets
# signature to ledger, holds, unchecked or none; and, if the archives are in files by then, stored.
prepare() {
	stored=
	signature=unchecked
	case $tb_trust in
	verified) signature=ledger ;;
	unchecked) ;;
	*) ! tb_public_keys || signature= ;;
	esac
	if tb_is_old "$tb_id"; then
		stored=chain
		tb_fetch_chain "$tb_id" || tb_chain_failed "$tb_id" '--partial restores what is there'
		test -z "$signature" || return 0
		for link in $tb_chain; do check_signature "$link" "$tb_work/link-$link"; done
	elif test -z "$signature"; then
		tb_fetch_signature "$tb_id"
		signature=$tb_signature
		test "$signature" = fetched || return 0
		keep_archives
		check_signature "$tb_id" "$tb_work/archives"
	fi
}

# keep_archives: what was read once for nothing is kept, as it is read more than once again.
keep_archives() {
	test -z "$stored" || return 0
	stored='file'
	tb_must pull tb_pull pull --chain ${tb_takes_part:+--partial} --quiet --progress "$tb_progress" \
		-o "$tb_work/archives" -- "$profile_store" "$tb_id"
}

# may_replace: whether a person at the terminal says that the files there that differ are replaced, who is told how
# many they are, and which if wanted.
may_replace() {
	sed -n "s/^replace$tb_tab//p" "$tb_work/preview" >"$tb_work/differing"
	differing=$(($(wc -l <"$tb_work/differing")))
	case $differing in
	0) set -- "No file in '$target' differs from the backup. Restore what is missing, and modes and times?" ;;
	1) set -- "1 file in '$target' differs from the backup. Replace it?" ;;
	*) set -- "$differing files in '$target' differ from the backup. Replace them?" ;;
	esac
	tb_ask "$1" "$tb_work/differing"
}
