#!/bin/sh
# Say in one line why cards cannot be tried on this machine, and fail; or say nothing and succeed.
# With the argument "boot": why they can be tried but not booted.
set -eu

refuse() { printf '%s\n' "$*"; exit 1; }

[ "$(uname -s)" = Linux ] || refuse "loop devices as cards need Linux; this is $(uname -s)"
[ "$(id -u)" = 0 ] || refuse "loop devices as cards need root; this is user $(id -un) (run with sudo)"
command -v apt-get >/dev/null || refuse "the tools for cards come from Debian or Ubuntu (apt-get was not found)"

file=$(mktemp)
trap 'rm -f "$file"' EXIT
truncate -s 1M "$file"
device=$(losetup --find --show "$file" 2>/dev/null) ||
    refuse "this machine allows no loop devices, which stand for cards (losetup --find failed)"
losetup --detach "$device"

[ "${1:-}" = boot ] || exit 0
binfmt=/proc/sys/fs/binfmt_misc
[ -e "$binfmt/register" ] || mount -t binfmt_misc binfmt_misc "$binfmt" 2>/dev/null ||
    refuse "an arm64 system cannot be made here, as binfmt_misc is not allowed (mount failed)"
# Boards without a card boot from a server in a virtual rack.
"$(dirname "$0")/rack-possible.sh"
