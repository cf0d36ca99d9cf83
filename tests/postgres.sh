#!/usr/bin/env bash
# Start a PostgreSQL server of Debian's package for the length of one command, in a folder of its own, reachable only
# through a socket there; run the ledger's tests (or the command given) against it; stop it and remove the folder.
set -euo pipefail
cd "$(dirname "$0")/.."

programs() { compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -1; }
if [ -z "$(programs)" ]; then
  [ "$(id -u)" = 0 ] || { echo "PostgreSQL is needed: apt-get install postgresql"; exit 3; }
  echo "installing PostgreSQL"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql > /dev/null
fi
bin=$(programs)
folder=$(mktemp -d)
as_owner=()
if [ "$(id -u)" = 0 ]; then  # the server refuses to run as root
  chown postgres "$folder"
  as_owner=(runuser -u postgres --)
fi
server() { (cd "$folder" && "${as_owner[@]}" "$@"); }
trap 'server "$bin/pg_ctl" -D "$folder/data" -m immediate stop > /dev/null 2>&1 || true; rm -rf "$folder"' EXIT

server "$bin/initdb" -D "$folder/data" -U sluice --auth=trust --encoding=UTF8 > /dev/null
server "$bin/pg_ctl" -D "$folder/data" -w -l "$folder/log" \
  -o "-c listen_addresses='' -c unix_socket_directories='$folder' -c unix_socket_permissions=0777" start > /dev/null
chmod 755 "$folder"
export SLUICE_TEST_POSTGRES="postgresql://sluice@/postgres?host=$folder"
if [ $# -gt 0 ]; then
  "$@"
else
  python -m pytest -k postgres tests/unit/test_ledger_postgres.py tests/unit/test_traffic.py tests/soak
fi
