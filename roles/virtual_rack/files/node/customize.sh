#!/bin/sh
# mmdebstrap runs this, outside the new root file system ($1), when all packages are in it.
# RACK_CACHED_PACKAGES: names, one a line
set -eu
root=$1
here=$(dirname "$0")

# Packages that most nodes get are at hand where apt keeps what it has downloaded. Releases differ in which there are.
chroot "$root" apt-get clean
chroot "$root" apt-cache pkgnames | grep --fixed-strings --line-regexp "$RACK_CACHED_PACKAGES" |
  xargs chroot "$root" apt-get install --download-only --no-install-recommends --yes --quiet=2

chroot "$root" useradd --create-home --shell /bin/bash --groups adm,sudo pi
# In Debian trixie /etc/default/locale is a link to a file that is not there yet.
cp --remove-destination --recursive --no-dereference --preserve=mode,links "$here/overlay/." "$root"

# Each node makes its own at its first boot.
rm "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"
: >"$root/etc/hostname"
: >"$root/etc/resolv.conf"

# A container has no console to log in at, and no devices and binary formats of its own: these are the machine's.
systemctl --root="$root" --quiet mask \
  console-getty.service getty@tty1.service \
  proc-sys-fs-binfmt_misc.automount systemd-binfmt.service \
  systemd-udev-trigger.service systemd-udevd.service \
  systemd-udevd-control.socket systemd-udevd-kernel.socket
# They would take the lock of dpkg from under a role.
systemctl --root="$root" --quiet disable apt-daily.timer apt-daily-upgrade.timer
