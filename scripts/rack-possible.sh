#!/bin/sh
# Say in one line why this machine cannot run the virtual rack, and fail; or say nothing and succeed.
set -eu

refuse() { printf '%s\n' "$*"; exit 1; }

[ "$(uname -s)" = Linux ] || refuse "the virtual rack needs Linux; this is $(uname -s)"
[ "$(id -u)" = 0 ] || refuse "the virtual rack needs root; this is user $(id -un) (run with sudo)"
command -v apt-get >/dev/null || refuse "the virtual rack needs Debian or Ubuntu (apt-get was not found)"
unshare --mount --net --pid --fork true 2>/dev/null ||
    refuse "the virtual rack needs namespaces, which this machine does not allow (unshare failed)"
command -v podman >/dev/null || apt-cache show podman >/dev/null 2>&1 || { apt-get update >/dev/null 2>&1 && apt-cache show podman >/dev/null 2>&1; } ||
    refuse "the virtual rack needs podman, which is neither installed nor offered by apt"
