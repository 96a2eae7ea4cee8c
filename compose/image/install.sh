#!/bin/bash
# In the build stage: installs the packages of packages.txt in the versions that it pins.
set -euo pipefail

if [ -n "${SNAPSHOT:-}" ]; then
    rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
    printf 'deb [check-valid-until=no] http://snapshot.debian.org/archive/%s\n' \
        "debian/$SNAPSHOT bookworm main" "debian-security/$SNAPSHOT bookworm-security main" \
        >/etc/apt/sources.list
fi
mapfile -t packages < <(grep -v '^#' /image/packages.txt)
apt-get update -q
apt-get install -q -y --no-install-recommends "${packages[@]}"
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
