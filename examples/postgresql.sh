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
	# --from-command: tbk-seal runs pg_dump and knows when it fails. Then there is no archive, and tbk-push, which
	# takes complete ones only, publishes nothing. pg_dump compresses badly (-Z0: not at all), tbk-seal on all cores.
	tbk-seal -q --stdin-name "$database.dump" --receipt "$work/receipt" --from-command -- \
		pg_dump --format=custom --compress=0 --no-password "$database" |
		tbk-push -q "$store" --receipt "$work/receipt" --group "$group"
	;;
restore)
	# First all of it, authenticated; then one transaction, so that the database is as it was if anything fails.
	umask 077
	tbk-pull -q "$store" "$id" --group "$group" | tbk-open -q --cat "$database.dump" >"$work/dump"
	test -s "$work/dump" || exit 65
	pg_restore --exit-on-error --single-transaction --no-password --dbname="$database" "$work/dump"
	;;
*) usage ;;
esac
