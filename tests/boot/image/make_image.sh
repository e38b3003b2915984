#!/bin/sh
# Make the image of a card from a tree that make_tree.sh made, packed, with its checksum beside it.
# Partitions, labels and first boot are like those of Raspberry Pi OS trixie. Nothing is mounted.
#
# usage: make_image.sh TREE IMAGE.img
set -eu
tree=$1
image=$2
here=$(dirname "$0")
boot_mib=256
root_mib=1100

work=$(mktemp -d "$image.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The tree is left as it is, for others.
cp --archive --reflink=auto "$tree" "$work/root"
mv "$work/root/boot/firmware" "$work/boot"
mkdir "$work/root/boot/firmware"
cp --recursive --no-dereference "$here/root/." "$work/root"
rm -f "$work/root"/etc/ssh/ssh_host_* "$work/root/etc/hostname"
: >"$work/root/etc/machine-id"
cp "$here"/boot/* "$work/boot"
# The firmware of a Pi has the memory controller off, so that what switches it on is seen to do so.
sed -i '1s/^/cgroup_disable=memory /' "$work/boot/cmdline.txt"

truncate -s "$((4 + boot_mib + root_mib))M" "$work/disk"
# The identifier is what root= and /etc/fstab name.
sfdisk --quiet "$work/disk" <<END
label: dos
label-id: 0x5eedca4d
start=4MiB, size=${boot_mib}MiB, type=c
start=$((4 + boot_mib))MiB, size=${root_mib}MiB, type=83
END
mkfs.vfat --offset 8192 -F 32 -s 4 -n bootfs "$work/disk" $((boot_mib * 1024)) >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
mcopy -s -i "$work/disk@@4M" "$work"/boot/* ::/
mke2fs -q -t ext4 -L rootfs -E "offset=$(((4 + boot_mib) * 1024 * 1024))" -d "$work/root" "$work/disk" "${root_mib}M"

xz --threads=0 -1 --stdout "$work/disk" >"$work/disk.xz"
printf '%s  %s\n' "$(sha256sum "$work/disk.xz" | cut -d ' ' -f 1)" "$(basename "$image").xz" >"$image.xz.sha256"
mv "$work/disk.xz" "$image.xz"
