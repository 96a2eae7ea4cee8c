#!/bin/bash
# In the build stage: writes the image's SBOM, SPDX 2.3 as JSON: our package with its executables,
# and the Debian packages $2... whose files are in the tree $1.
set -euo pipefail
root=$1
shift
created=$(date -u -d "@${SOURCE_DATE_EPOCH:-0}" +%Y-%m-%dT%H:%M:%SZ)
mapfile -t executables < <(cd "$root" && find usr/sbin usr/bin usr/libexec -type f | sort)
identity=$(cd "$root" && sha256sum "${executables[@]}" | sha256sum | cut -c1-32)

# A name as an SPDX identifier: letters, digits, dots and hyphens.
identifier() {
    printf '%s' "$1" | tr -c 'A-Za-z0-9.-' '-'
}

list=()
relations=()
list+=("$(printf '{"SPDXID":"SPDXRef-bulkhead","name":"bulkhead","versionInfo":"%s",
"downloadLocation":"NOASSERTION","filesAnalyzed":false,"licenseConcluded":"MIT",
"licenseDeclared":"MIT","copyrightText":"NOASSERTION","primaryPackagePurpose":"APPLICATION"}' \
    "${VERSION:-0}")")
for package in "$@"; do
    name=${package%%:*}
    version=$(dpkg-query -W -f '${Version}' "$package")
    arch=$(dpkg-query -W -f '${Architecture}' "$package")
    source=$(dpkg-query -W -f '${source:Package}' "$package")
    id=SPDXRef-deb-$(identifier "$name")
    list+=("$(printf '{"SPDXID":"%s","name":"%s","versionInfo":"%s","sourceInfo":"built from %s",
"supplier":"Organization: Debian","downloadLocation":"NOASSERTION","filesAnalyzed":false,
"licenseConcluded":"NOASSERTION","licenseDeclared":"NOASSERTION","copyrightText":"NOASSERTION",
"externalRefs":[{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl",
"referenceLocator":"pkg:deb/debian/%s@%s?arch=%s&distro=bookworm"}]}' \
        "$id" "$name" "$version" "$source" "$name" "${version//+/%2B}" "$arch")")
    relations+=("$(printf '{"spdxElementId":"SPDXRef-bulkhead","relationshipType":"DEPENDS_ON",
"relatedSpdxElement":"%s"}' "$id")")
done
files=()
for file in "${executables[@]}"; do
    id=SPDXRef-file-$(identifier "$file")
    files+=("$(printf '{"SPDXID":"%s","fileName":"./%s","licenseConcluded":"MIT",
"copyrightText":"NOASSERTION","checksums":[{"algorithm":"SHA1","checksumValue":"%s"},
{"algorithm":"SHA256","checksumValue":"%s"}]}' "$id" "$file" \
        "$(sha1sum <"$root/$file" | cut -d' ' -f1)" "$(sha256sum <"$root/$file" | cut -d' ' -f1)")")
    relations+=("$(printf '{"spdxElementId":"SPDXRef-bulkhead","relationshipType":"CONTAINS",
"relatedSpdxElement":"%s"}' "$id")")
done

joined() {
    local IFS=,
    printf '%s' "$*"
}
printf '{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT",
"name":"bulkhead-image","documentNamespace":"urn:bulkhead:image:%s",
"creationInfo":{"created":"%s","creators":["Tool: bulkhead-sbom"]},
"documentDescribes":["SPDXRef-bulkhead"],"packages":[%s],"files":[%s],"relationships":[%s]}\n' \
    "$identity" "$created" "$(joined "${list[@]}")" "$(joined "${files[@]}")" \
    "$(joined "${relations[@]}")"
