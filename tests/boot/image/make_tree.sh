#!/bin/sh
# Make the tree of files of an arm64 Debian for a Pi: kernel, raspi-firmware, cloud-init, netplan, sshd.
# The packages' scripts run under qemu-user, which takes about ten minutes.
#
# usage: make_tree.sh MIRROR DIRECTORY [APT-OPTION...]
set -eu
mirror=$1
tree=$2
shift 2

# The line before the last is what a Raspberry Pi OS Lite has as well; the last is for a root over NFS.
packages="
linux-image-arm64 initramfs-tools busybox zstd raspi-firmware
systemd-sysv systemd-resolved systemd-timesyncd udev dbus libpam-systemd kmod
cloud-init cloud-guest-utils fdisk e2fsprogs dosfstools netplan.io openssh-server sudo
python3 iproute2 iputils-ping procps ca-certificates tzdata netbase less
nfs-common"

for option in "$@"; do
    set -- "$@" "--aptopt=$option"
    shift
done

# The boards that QEMU has find their disk and network by these modules, in the initramfs.
# raspi-firmware asks for the size of memory that its kernels set aside for graphics.
# shellcheck disable=SC2016 # "$1" is for the shell of the hook
mmdebstrap --arch=arm64 --variant=minbase --components="main non-free-firmware" "$@" \
    --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt=force-confold --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="$packages" \
    --setup-hook='mkdir -p "$1"/boot/firmware "$1"/etc/default' \
    --essential-hook='
        mkdir -p "$1"/etc/initramfs-tools/conf.d
        printf "%s\n" MODULES=list COMPRESS=zstd COMPRESSLEVEL=1 BUSYBOX=y >"$1"/etc/initramfs-tools/conf.d/bramble
        printf "%s\n" ext4 vfat virtio_pci virtio_mmio virtio_blk virtio_net virtio_rng \
            mmc_block sdhci sdhci_iproc bcm2835 bcm2835_dma genet dwc2 usb_storage \
            nfs nfsv3 nfsv4 af_packet >"$1"/etc/initramfs-tools/modules
        printf "%s\n" CMA=64M ROOTPART=PARTUUID=5eedca4d-02 KERNEL_ARCH=arm64 >"$1"/etc/default/raspi-firmware' \
    trixie "$tree" "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main non-free-firmware"
