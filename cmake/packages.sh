# shellcheck shell=bash
# Installs what is missing of the packages that lists name; for ./run and ./test to source.

# The packages of the list files "$@" that are not installed, one a line.
missing_packages() {
    local package command
    while read -r package command; do
        case "$package" in '' | '#'*) continue ;; esac
        if [ -n "$command" ] && command -v "$command" >/dev/null 2>&1; then
            continue
        fi
        # shellcheck disable=SC2016  # the format is dpkg-query's, not the shell's
        case "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" in
        installed) ;;
        *) printf '%s\n' "$package" ;;
        esac
    done < <(cat "$@")
}

# Installs the missing packages of the list files "$@", through sudo when not root.
install_packages() {
    local -a missing as_root=()
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            printf 'Missing packages and no sudo here. As root, type:\n  apt-get install %s\n' \
                "${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    printf 'Installing: %s\n' "${missing[*]}"
    local log
    log=$(mktemp)
    if ! {
        "${as_root[@]}" apt-get update -q &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
                apt-get install -q -y --no-install-recommends "${missing[@]}"
    } >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        rm -f "$log"
        printf 'Installing packages failed, see above.\n' >&2
        return 1
    fi
    rm -f "$log"
}

# Configures and builds preset $1 (further arguments go to the configuration); quiet unless it fails.
build_preset() {
    local preset=$1 log
    shift
    local -a cache=()
    if command -v ccache >/dev/null 2>&1; then
        cache=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
    fi
    log=$(mktemp)
    if ! { cmake --preset "$preset" "${cache[@]}" "$@" && cmake --build --preset "$preset"; } \
        >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        printf 'Building %s failed, see above.\n' "$preset" >&2
        return 1
    fi
    rm -f "$log"
}
