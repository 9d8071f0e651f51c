#!/bin/sh
# Backs up a PostgreSQL database, as a dump in the custom format.
#
#   postgresql.sh backup DATABASE STORE
#   postgresql.sh restore DATABASE STORE [ID]     into a database that exists and is empty
#
# The password comes from TERMBACKUP_PASSWORD_FILE or TERMBACKUP_PASSWORD_COMMAND; PostgreSQL uses PGHOST, ~/.pgpass and
# its other settings as usual. Several databases can share a store: each is a group.
set -eu

usage() {
	printf '%s\n' 'usage: postgresql.sh backup DATABASE STORE' '       postgresql.sh restore DATABASE STORE [ID]' >&2
	exit 64
}

test $# -ge 3 || usage
action=$1 database=$2 store=$3 id=${4-latest}
group=postgresql-$database
case $database in
*[!A-Za-z0-9_-]*) usage ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

case $action in
backup)
	# tbk-seal runs pg_dump itself, so it knows if pg_dump fails. Then there is no archive, and tbk-push, which
	# accepts only complete ones, publishes nothing. pg_dump need not compress: tbk-seal does that on all cores.
	tbk-seal stream -q --receipt "$work/receipt" "$database.dump" -- \
		pg_dump --format=custom --compress=0 --no-password "$database" |
		tbk-push -q "$store" --receipt "$work/receipt" --group "$group" --new-group
	;;
restore)
	# tbk-open prints nothing before the whole archive has been authenticated, and the dump is never on a disk
	# unencrypted. A single transaction leaves the database unchanged if anything fails, even on an empty dump.
	tbk-pull -q "$store" "$id" --group "$group" | tbk-open -q --cat "$database.dump" |
		pg_restore --exit-on-error --single-transaction --no-password --dbname="$database"
	;;
*) usage ;;
esac
