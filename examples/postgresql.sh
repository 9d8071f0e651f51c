#!/bin/sh
# Backups of a PostgreSQL database, as a dump in the custom format.
#
#   postgresql.sh backup DATABASE STORE
#   postgresql.sh restore DATABASE STORE [ID]     into a database that exists and is empty
#
# The password is where TERMBACKUP_PASSWORD_FILE or TERMBACKUP_PASSWORD_COMMAND says; PostgreSQL has PGHOST, ~/.pgpass
# and the rest of its own. Several databases can share a store: each is a group.
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
	# tbk-seal runs pg_dump itself and knows when it fails. Then there is no archive, and tbk-push, which
	# takes complete ones only, publishes nothing. Not compressed twice: tbk-seal does that on all cores.
	tbk-seal stream -q --receipt "$work/receipt" "$database.dump" -- \
		pg_dump --format=custom --compress=0 --no-password "$database" |
		tbk-push -q "$store" --receipt "$work/receipt" --group "$group" --new-group
	;;
restore)
	# Nothing comes out of tbk-open before all of the archive has been authenticated, and the dump is on no disk in
	# clear. One transaction: the database is as it was if anything fails, an empty dump included.
	tbk-pull -q "$store" "$id" --group "$group" | tbk-open -q --cat "$database.dump" |
		pg_restore --exit-on-error --single-transaction --no-password --dbname="$database"
	;;
*) usage ;;
esac
