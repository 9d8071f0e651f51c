#!/bin/sh
# Reports backups to ntfy, on https://ntfy.sh or your own server.
#
#   termbackup profile edit PROFILE --notify-command '/usr/local/bin/ntfy.sh https://ntfy.sh/TOPIC'
#
# Anyone who knows a topic can read it: choose one that nobody can guess. For a protected topic, NTFY_HEADER names a
# file of mode 0600 with a line 'Authorization: Bearer TOKEN'.
set -eu

test $# -eq 1 || {
	printf 'usage: ntfy.sh URL\n' >&2
	exit 64
}

case ${TERMBACKUP_STATUS:?} in
success | unchanged) tags=white_check_mark priority=low ;;
partial) tags=warning priority=high ;;
*) tags=rotating_light priority=urgent ;;
esac
if test -n "${TERMBACKUP_WARNING-}"; then tags=warning priority=high; fi

{
	test -z "${TERMBACKUP_ERROR-}" || printf '%s\n' "$TERMBACKUP_ERROR"
	test -z "${TERMBACKUP_WARNING-}" || printf 'Warning: %s\n' "$TERMBACKUP_WARNING"
	test -z "${TERMBACKUP_ID-}" ||
		printf '%.12s: %s files, %s bytes\n' "$TERMBACKUP_ID" "${TERMBACKUP_FILE_COUNT-?}" "${TERMBACKUP_SIZE-?}"
	printf 'on %s, after %s s\n' "$(uname -n)" "${TERMBACKUP_SECONDS-?}"
} | curl --fail --silent --show-error --output /dev/null --max-time 30 \
	--header "Title: $TERMBACKUP_SUMMARY" --header "Tags: $tags" --header "Priority: $priority" \
	${NTFY_HEADER:+--header "@$NTFY_HEADER"} --data-binary @- -- "$1"
