#!/bin/sh
# Unpacks, for another architecture, the packages of Debian that the container images and kubernetes-cni are made of.
# Nothing in them is run.
# usage: foreign.sh ARCHITECTURE DIRECTORY MIRROR [APT_OPTION...]
set -eu

architecture=$1 root=$2 mirror=$3
shift 3
if [ -e "$root" ]; then
    exit 0
fi
# mmdebstrap takes each line of apt.conf as an option of its own.
for line; do
    set -- "$@" "--aptopt=$line"
    shift
done

rm -rf "$root.part"
mmdebstrap --variant=extract --arch="$architecture" --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --include=iptables,conntrack,kmod,busybox-static "$@" bookworm "$root.part" \
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main"
mv "$root.part" "$root"
