#!/bin/sh
# Runs FILE in a copy of this machine's system that forgets all changes: no disk, no network, no name of it is touched.
# usage: sandbox.sh FOLDER FILE; FOLDER is seen as /lab in there. Needs root.
set -eu
top=$(mktemp -d)
trap 'umount -R "$top"; rmdir "$top"' EXIT
mount -t tmpfs sandbox "$top"
mkdir "$top/changes" "$top/work" "$top/root"
mount -t overlay sandbox -o "lowerdir=/,upperdir=$top/changes,workdir=$top/work" "$top/root"
mount -t proc proc "$top/root/proc"
mount -t tmpfs run "$top/root/run"
mount --bind /dev "$top/root/dev"
mkdir "$top/root/lab" "$top/root/changes"
mount --bind "$1" "$top/root/lab"
mount --bind "$top/changes" "$top/root/changes"
chroot "$top/root" sh -eu "/lab/$2"
