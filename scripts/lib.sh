# What scripts/test, scripts/bench and scripts/soak share: words for the reader, and what is missing installed by package name.
# shellcheck shell=bash

log=$(mktemp) # of the last command that is not shown
updated=      # whether the lists of packages are of today
export CARGO_TERM_PROGRESS_WHEN=never

say() { printf '\n==> %s\n' "$*"; }

fail() {
    printf '\nscripts/%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

run() { # shows the command, then runs it
    printf '    $ %s\n' "$*"
    "$@"
}

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif [[ -t 0 ]]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

missing_commands() { # COMMAND… → those that are not there
    local name
    for name in "$@"; do
        command -v "$name" >/dev/null || printf '%s ' "$name"
    done
}

packages_of() { # COMMAND… → the packages of those that are not there
    local name packages=()
    for name in $(missing_commands "$@"); do
        case $name in
            cc) packages+=(gcc libc6-dev) ;;
            c++) packages+=(g++) ;;
            chromedriver) packages+=(chromium-driver) ;;
            nghttp) packages+=(nghttp2-client) ;;
            node) packages+=(nodejs ca-certificates) ;; # npm reads the system's certificates
            taskset | setpriv) packages+=(util-linux) ;;
            systemd-analyze) packages+=(systemd) ;;
            *) packages+=("$name") ;;
        esac
    done
    printf '%s' "${packages[*]}"
}

# Installs the packages of those commands that are not there. Succeeds if all are there afterwards.
install_commands() {
    local missing packages
    missing=$(missing_commands "$@")
    [[ -z $missing ]] && return
    if ! command -v apt-get >/dev/null; then
        printf '    no apt-get here to install: %s\n' "$missing" >&2
        return 1
    fi
    read -ra packages <<<"$(packages_of "$@")"
    install_packages "${packages[@]}"
    [[ -z $(missing_commands "$@") ]]
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }

update_lists() { # once; an old list may do
    [[ -n $updated ]] || apt_get update >"$log" 2>&1 || true
    updated=yes
}

install_packages() { # PACKAGE…
    printf '    installing %s\n' "$*"
    update_lists
    apt_get install -y --no-install-recommends "$@" >>"$log" 2>&1 || tail -n 20 "$log" >&2
}

need_rust() {
    command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.89 or later first"
    install_commands cc make || fail "not there and could not be installed: $(missing_commands cc make); install gcc and make"
}

# Installing the package of a server starts that server.
stop_service() { # NAME
    if [[ -d /run/systemd/system ]]; then
        as_root systemctl disable --quiet --now "$1.service" || true
    elif [[ -x /etc/init.d/$1 ]]; then
        as_root "/etc/init.d/$1" stop >/dev/null 2>&1 || true
    fi
}

has_postgres() { # its programs are not in the path
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

# Installs PostgreSQL, which is then started by who needs it, in a folder of its own. Succeeds if it is there afterwards.
need_postgres() {
    install_commands setpriv || return 1
    ! has_postgres || return 0
    command -v apt-get >/dev/null || return 1
    install_packages postgresql
    has_postgres || return 1
    stop_service postgresql
}
