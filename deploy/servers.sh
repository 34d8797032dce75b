#!/bin/sh
# Installs what the test suite starts beside Hone, where it is missing and may be installed; otherwise says what will be skipped.
set -eu

missing=""
found=""
for initdb in /usr/lib/postgresql/*/bin/initdb; do [ -x "$initdb" ] && found=1; done
[ -n "$found" ] || missing="postgresql"
command -v promtool >/dev/null || missing="$missing prometheus"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing for the test suite: $missing" >&2
    apt-get update -qq >/dev/null
    # shellcheck disable=SC2086 # a list of packages
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
else
    echo "not installed: $missing. The tests that need them will be skipped; install them with your package manager." >&2
fi
