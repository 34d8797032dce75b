#!/bin/sh
# Makes the secret files that compose.yaml mounts: sudo ./secrets.sh. Files that exist stay as they are.
# Containers run under several users: the folder (0700) keeps the host's users out, each container gets its files only.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

make() {
    [ -e "secrets/$1" ] && return
    printf '%s' "$2" >"secrets/$1"
    chmod 0444 "secrets/$1"
    echo "made secrets/$1"
}

make postgres_password "$(random)"
make grafana_password "$(random)"
make scrape_key ""
# libpq ignores a password file that others may read, so this one belongs to the images' user.
if [ ! -e secrets/pgpass ]; then
    printf 'postgres:5432:hone:hone:%s\n' "$(cat secrets/postgres_password)" >secrets/pgpass
    chown 10001:10001 secrets/pgpass
    echo "made secrets/pgpass"
fi
