#!/bin/sh
# Reports backups by mail, through the system's sendmail, as provided by postfix, exim, msmtp, ssmtp and others.
#
#   termbackup profile edit PROFILE --notify-command '/usr/local/bin/mail.sh me@example.org'
#
# With --failures as the first argument, it does not report successful backups.
set -eu

failures=
test "${1-}" != --failures || {
	failures=1
	shift
}
test $# -eq 1 || {
	printf 'usage: mail.sh [--failures] ADDRESS\n' >&2
	exit 64
}
case $failures${TERMBACKUP_STATUS:?}${TERMBACKUP_WARNING:+-warning} in
1success | 1unchanged) exit 0 ;;
esac

sendmail=$(PATH=$PATH:/usr/sbin:/usr/lib command -v sendmail) || {
	printf 'mail.sh: sendmail is not installed\n' >&2
	exit 69
}
{
	printf 'To: %s\nSubject: %s\n' "$1" "$TERMBACKUP_SUMMARY"
	printf 'Auto-Submitted: auto-generated\nContent-Type: text/plain; charset=utf-8\n\n'
	for fact in STATUS ERROR WARNING ID MODE FILE_COUNT SIZE SECONDS STORE; do
		value=
		eval "value=\${TERMBACKUP_$fact-}"
		test -z "$value" || printf '%s: %s\n' "$fact" "$value"
	done
	printf 'HOST: %s\n' "$(uname -n)"
} | "$sendmail" -i -- "$1"
