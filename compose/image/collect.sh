#!/bin/bash
# In the build stage: adds to the installed tree $1 what the executables need to run, and nothing
# else: the libraries that the loader finds, the users, and the list of what is in the image.
set -euo pipefail
root=$1

executables=("$root"/usr/sbin/bulkheadd "$root"/usr/bin/bulkheadctl
    "$root"/usr/libexec/bulkhead/bulkhead-*)
plugin=$(dpkg -L libwebsockets-evlib-ev | grep '/libwebsockets-evlib_ev\.so$')

mkdir -p "$root"/usr/lib "$root"/usr/lib64 "$root"/etc "$root"/var/lib "$root"/run/bulkhead \
    "$root"/tmp "$root"/usr/share/bulkhead "$root"/var/lib/dpkg/status.d
ln -s usr/lib "$root"/lib
ln -s usr/lib64 "$root"/lib64
mapfile -t libraries < <({
    printf '%s\n' "$plugin"
    ldd "${executables[@]}" "$plugin" | grep -v ':$' | grep -oE '/(usr/)?lib[^ ]*' | sed 's,^/lib,/usr/lib,'
} | sort -u)
for library in "${libraries[@]}"; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done

# uid_base's numbers, so that names are seen where names are shown.
{
    printf 'root:x:0:0:root:/:/nonexistent\n'
    for user in persistd:51201 router:51202 authd:51203 worker:51216 worker-1:51217; do
        printf 'bulkhead-%s:x:%s:%s::/nonexistent:/nonexistent\n' \
            "${user%:*}" "${user#*:}" "${user#*:}"
    done
} >"$root"/etc/passwd
sed -E 's/^([^:]*):x:[0-9]*:([0-9]*):.*/\1:x:\2:/' "$root"/etc/passwd >"$root"/etc/group
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root"/etc/nsswitch.conf

# The data directory is persistd's; a new volume takes its owner from here. The empty directory is
# what processes are locked into.
install -d -m 0700 -o 51201 -g 51201 "$root"/var/lib/bulkhead
install -d -m 0555 "$root"/usr/share/bulkhead/empty
chmod 1777 "$root"/tmp
# Where a mosquitto.conf that comes from mosquitto's image looks.
mkdir "$root"/mosquitto
ln -s /etc/bulkhead "$root"/mosquitto/config
ln -s /var/lib/bulkhead "$root"/mosquitto/data

packages=()
while read -r package; do packages+=("$package"); done < <(
    for library in "${libraries[@]}"; do
        dpkg -S "$library" 2>/dev/null || dpkg -S "$(realpath "$library")" 2>/dev/null ||
            dpkg -S "${library#/usr}"
    done | sed 's/: .*//' | sort -u)
for package in "${packages[@]}"; do
    name=${package%%:*}
    dpkg -s "$package" >"$root/var/lib/dpkg/status.d/$name"
    mkdir -p "$root/usr/share/doc/$name"
    cp -L "/usr/share/doc/$name/copyright" "$root/usr/share/doc/$name/copyright"
done
bash /image/sbom.sh "$root" "${packages[@]}" >"$root"/usr/share/bulkhead/sbom.spdx.json
find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
