#!/bin/sh
# Install what the demonstration and the tests need: the Python tools into .venv, and for each
# GROUP also its Debian packages. Does nothing where all is there.
#
# usage: scripts/setup.sh [GROUP...]      GROUP: rack, cards, boot, network, browser, pythons
set -eu
cd "$(dirname "$0")/.."

# What `make demo` and the container tests need on top of Python.
rack_packages="podman runc netavark aardvark-dns iptables nftables mmdebstrap gpg openssh-client"
# What writes and looks into cards, and what their tests compare it with.
cards_packages="mtools dosfstools fdisk e2fsprogs zstd xz-utils zip cpio bmap-tools cloud-init openssh-client"
# What makes an arm64 system and boots it, and what asks a server as a board without a card does.
boot_packages="qemu-system-arm qemu-user-static binfmt-support arch-test mmdebstrap busybox curl libnfs-utils iproute2"
# What reads the network's configurations in tests.
network_packages="dnsmasq-base iproute2 iptables"
# What shows the live page in tests; Playwright's own browsers would have to be downloaded.
browser_packages="chromium fonts-dejavu-core"
# What makes a Debian with another Python than this machine's.
pythons_packages="mmdebstrap debian-archive-keyring"

say() { printf '%s\n' "$*" >&2; }

# Install the Debian packages among the arguments that are missing.
install_packages() {
    missing=""
    for package in "$@"; do
        case "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)" in
            ii*) ;;
            *) missing="$missing $package" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        say "Missing Debian packages:$missing. Run as root, or first: sudo apt-get install$missing"
        return 1
    fi
    say "Installing Debian packages:$missing"
    case "$missing " in
        # Only its command is needed, which checks documents; it is not to set up this machine at its next boot.
        *" cloud-init "*) mkdir -p /etc/cloud && touch /etc/cloud/cloud-init.disabled ;;
    esac
    log=$(mktemp)
    # shellcheck disable=SC2086 # a list of names
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
        >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        say "apt-get could not install$missing; its whole output is in $log"
        return 1
    fi
    rm -f "$log"
}

if ! command -v apt-get >/dev/null; then
    say "This needs a Debian or Ubuntu machine (apt-get was not found)."
    exit 1
fi

python_ok() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
if ! python_ok python3; then
    install_packages python3 python3-venv
    python_ok python3 || { say "Python 3.11 or later is needed; python3 is $(python3 --version)."; exit 1; }
fi

# The stamp holds what .venv was made from, so that a changed requirement renews it.
desired=$(cat requirements.txt requirements-dev.txt; python3 --version)
if [ "$(cat .venv/.requirements 2>/dev/null || true)" != "$desired" ]; then
    say "Installing the Python tools into .venv"
    python3 -m venv --clear .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
    printf '%s\n' "$desired" >.venv/.requirements
fi

packages=""
for group in "$@"; do
    case "$group" in
        rack) packages="$packages $rack_packages" ;;
        cards) packages="$packages $cards_packages" ;;
        boot) packages="$packages $boot_packages" ;;
        network) packages="$packages $network_packages" ;;
        browser) packages="$packages $browser_packages" ;;
        pythons) packages="$packages $pythons_packages" ;;
        *) say "unknown group $group; the groups are rack, cards, boot, network, browser and pythons"; exit 2 ;;
    esac
done
# shellcheck disable=SC2086 # a list of names
install_packages $packages
