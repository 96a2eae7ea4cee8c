#!/bin/sh
# Fetches the public keys of a token issuer: URL to FILE. What is no key set changes nothing; the
# new file takes the old one's place at once. The broker is told by whoever calls this.
set -eu
: "${URL:?says where the keys are, as https://TEAM.cloudflareaccess.com/cdn-cgi/access/certs}"
: "${FILE:?says where they go}"
umask 022
new=$FILE.new
trap 'rm -f -- "$new"' EXIT
curl --silent --show-error --fail --proto =https --tlsv1.2 --connect-timeout 10 --max-time 60 \
    --max-filesize 1048576 --retry 3 --output "$new" -- "$URL"
bulkheadctl jwks check "$new"
sync -- "$new"
mv -f -- "$new" "$FILE"
