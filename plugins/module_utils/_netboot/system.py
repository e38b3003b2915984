# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes the file systems of an OS image those of a node that boots over the network, as texts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._boot.cmdline import Desired, key_of, split
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import data_folders

#: The last eight hex digits of the serial number, which the firmware asks the TFTP server for.
#: 44444444 is none: the boot ROM of every Pi 3 sends it with its DHCP request.
_SERIAL = re.compile(r"(?!44444444)[0-9a-f]{8}")

#: The name in ``boot=``, by which initramfs-tools finds the script.
NFS4_BOOT = "nfs4"
NFS4_SCRIPT_PATH = f"etc/initramfs-tools/scripts/{NFS4_BOOT}"
NFS4_SCRIPT = """\
# Written by the collection bramble.pi; changes are overwritten.
# The root over NFS version 4, which klibc's nfsmount does not know; chosen by boot=nfs4.
. /scripts/nfs

nfs_mount_root_impl()
{
    configure_networking
    nfs_premount
    modprobe -q nfsv4
    server=${NFSROOT%%:*}
    path=${NFSROOT#*:}
    busybox mount -t nfs4 -o "addr=$server,${path#*,}" "$server:${path%%,*}" "${rootmnt?}"
}
"""

#: Where a node keeps images and containers, as overlayfs does not work on NFS.
STORAGE = "/var/lib/bramble/containers"
STORAGE_FILE = f"{STORAGE}.img"
STORAGE_USERS = (*(os.path.basename(folder) for folder in data_folders()), "kubelet")

#: What is touched at a boot from the tree.
BOOTED = "var/lib/bramble/booted"


#: What first boot does to a card, or waits for somebody to type: growing, swap files, new host keys, a user.
MASKED = (
    *("dphys-swapfile", "regenerate_ssh_host_keys", "resize2fs_once", "rpi-resize", "userconfig"),
    *("sshswitch", "systemd-growfs-root", "rpi-resize-swap-file"),
)
#: Tokens of the command line that are of a card, or of its first boot.
_CARD_KEYS = frozenset(
    {"root", "rootfstype", "rootflags", "init", "ro", "rw", "nfsroot", "ip", "boot", "rootwait"}
    | {"resize", "ds", "fsck.repair", "systemd.run", "systemd.run_success_action", "systemd.unit"}
)


class NetbootTreeError(BrambleError):
    """No tree can be made of it; the message gives what was seen, what is expected and how to fix it."""


class NfsBoot(NamedTuple):
    """How a kernel of the image comes to a root over NFS."""

    #: Whether an initramfs mounts it; else the kernel does so by itself.
    initramfs: bool
    why: str


class User(NamedTuple):
    """Who logs in."""

    name: str
    password_hash: str
    authorized_keys: tuple[str, ...]


def check_serial(serial: str) -> None:
    """Refuse what the firmware would not ask for."""
    if _SERIAL.fullmatch(serial) is None:
        raise NetbootTreeError(
            f"netboot_tree_serial is {serial!r}; expected the last eight digits of the board's serial, in "
            "lower case and in quotes, such as '6a1b9c04' (grep Serial /proc/cpuinfo shows it, and the "
            "playbook scan with scan_listen): set netboot_tree_serial"
        )


def check_container_storage(*, storage: str, device: str) -> None:
    """Refuse a disk for containers that is not named."""
    if storage == "disk" and not device:
        raise NetbootTreeError(
            "netboot_tree_container_storage is 'disk', and netboot_tree_container_device is ''; expected the "
            "disk, such as LABEL=containers: set netboot_tree_container_device"
        )


_BUILT_IN = ("CONFIG_ROOT_NFS=y", "CONFIG_NFS_V4=y", "CONFIG_IP_PNP_DHCP=y")
#: The same where an image comes without the configuration of its kernels.
_BUILT_IN_MODULES = ("kernel/fs/nfs/nfs.ko", "kernel/fs/nfs/nfsv4.ko")


def mount_nfs(*, kernels: Mapping[str, str]) -> bool:
    """Tell whether the kernels mount a root over NFS by themselves.

    ``kernels`` has, for each version, the text of its config or modules.builtin.
    """
    lines = [set(text.split("\n")) for text in kernels.values()]
    return bool(lines) and all(
        having.issuperset(_BUILT_IN) or having.issuperset(_BUILT_IN_MODULES) for having in lines
    )


def choose_nfs_boot(*, kernels: Mapping[str, str], initramfs_files: Sequence[str] | None) -> NfsBoot:
    """Say how the image's kernels come to a root over NFS.

    ``kernels`` is as for mount_nfs, ``initramfs_files`` has the names in the initramfs that config.txt
    names, None if there is none.
    """
    if mount_nfs(kernels=kernels):
        return NfsBoot(False, "the kernel mounts it by itself")
    if initramfs_files is None:
        raise NetbootTreeError(
            "the image boots without an initramfs, and NFS is not built into its kernels "
            f"({', '.join(sorted(kernels)) or 'there are none in /lib/modules'}); expected one of both: set "
            "flash_image to an image such as Raspberry Pi OS or Debian"
        )
    names = {name.rsplit("/", 1)[-1] for name in initramfs_files}
    modules = {re.sub(r"\.ko(\.[a-z0-9]+)?$", "", name) for name in names}
    missing = [
        *([] if "scripts/nfs" in initramfs_files else ["script nfs of initramfs-tools"]),
        *([] if "nfsv4" in modules else ["module nfsv4"]),
        *([] if "busybox" in names else ["busybox"]),
    ]
    if missing:
        raise NetbootTreeError(
            f"the image's initramfs has no {' and no '.join(missing)}, which a root over NFS takes; expected "
            "one of initramfs-tools, made with MODULES=most and with the package busybox: set "
            "flash_image to such an image"
        )
    return NfsBoot(True, "the initramfs mounts it by busybox")


def initramfs_names(*, config: str) -> tuple[list[str], bool]:
    """Return the files that config.txt names as initramfs, and whether the firmware looks for one."""
    lines = [line.split("#", 1)[0].strip() for line in config.splitlines()]
    named = [line.split()[1] for line in lines if line.split()[:1] == ["initramfs"] and len(line.split()) > 1]
    automatic = [
        line.replace(" ", "").partition("=")[2] for line in lines if line.startswith("auto_initramfs")
    ]
    return list(dict.fromkeys(named)), automatic[-1:] == ["1"]


def initramfs_archive(*, files: Mapping[str, str]) -> bytes:
    """Return a cpio archive (newc) to stand before an initramfs; the kernel unpacks one after the other.

    https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
    """
    archive = b""
    # The kernel makes no folder that is not in it.
    folders = dict.fromkeys(name.rpartition("/")[0] for name in files)
    entries = [
        *((name, b"", 0o040755) for name in folders if name),
        *((name, text.encode(), 0o100644) for name, text in files.items()),
        ("TRAILER!!!", b"", 0),
    ]
    for number, (name, data, mode) in enumerate(entries, start=1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + data
        archive += bytes(-len(archive) % 4)
    return archive + bytes(-len(archive) % 512)


def cmdline_desired(
    *, line: str, server: str, path: str, boot: NfsBoot, present: Sequence[str]
) -> tuple[Desired, str]:
    """Say what the command line is to have, and how the line reads without what is of a card."""
    root = f"nfsroot={server}:{path},vers=4.1,proto=tcp,port=2049"
    ours = ["root=/dev/nfs", root, "rw", "ip=dhcp", "rootwait"]
    if boot.initramfs:
        ours.append(f"boot={NFS4_BOOT}")
    kept = [token for token in split(line=line) if key_of(token) not in _CARD_KEYS]
    return Desired(present=(*ours, *present)), " ".join(kept)


def fstab(*, text: str, server: str, path: str, mount_point: str) -> str:
    """Take the card's file systems out of an fstab, and have the boot partition over NFS."""
    # With addr= the kernel mounts it as well where there is no mount.nfs.
    ours = f"{server}:{path} {mount_point} nfs4 vers=4.1,proto=tcp,addr={server} 0 0"
    kept = []
    for line in text.splitlines():
        fields = line.split()
        if fields and not fields[0].startswith("#") and line != ours:
            on_card = "mmcblk" in fields[0] or fields[0].startswith("PARTUUID=")
            if on_card or fields[1:2] in (["/"], ["/boot"], ["/boot/firmware"]):
                continue
        kept.append(line)
    return "\n".join(kept if ours in kept else [*kept, ours]) + "\n"


def hosts(*, text: str, hostname: str) -> str:
    """Name the node in its own /etc/hosts, unless that names it already."""
    own = [line.split()[1:] for line in text.splitlines() if line.split()[:1] == ["127.0.1.1"]]
    if any(hostname in names for names in own):
        return text
    kept = [line for line in text.splitlines() if line.split()[:1] != ["127.0.1.1"]]
    if not any(line.split()[:1] == ["127.0.0.1"] for line in kept):
        kept.insert(0, "127.0.0.1 localhost")
    return "\n".join([*kept, f"127.0.1.1 {hostname}"]) + "\n"


def resolv_conf(*, resolvers: Sequence[str]) -> str:
    """Name the resolvers; the kernel's own DHCP client hands none of them on."""
    return MANAGED + "".join(f"nameserver {resolver}\n" for resolver in resolvers)


def _rows(text: str) -> list[list[str]]:
    return [line.split(":") for line in text.splitlines() if line]


def _lines(rows: Sequence[Sequence[str]]) -> str:
    return "".join(":".join(row) + "\n" for row in rows)


#: What the first user of these systems is in, as far as the image has it.
_GROUPS = (
    *("adm", "dialout", "audio", "netdev", "video", "plugdev", "cdrom", "users", "games", "input"),
    *("gpio", "spi", "i2c", "render", "sudo"),
)


def accounts(*, files: Mapping[str, str], user: User) -> tuple[dict[str, str], int, int]:
    """Have a user in passwd, shadow, group and gshadow; return these texts, and the user's ids.

    One who is there keeps ids, home and groups.
    """
    passwd, shadow = _rows(files["passwd"]), _rows(files["shadow"])
    group, gshadow = _rows(files["group"]), _rows(files.get("gshadow", ""))
    entry = next((row for row in passwd if row[0] == user.name), None)
    if entry is None:
        taken = {int(row[2]) for row in [*passwd, *group]}
        number = str(next(number for number in range(1000, 60000) if number not in taken))
        entry = [user.name, "x", number, number, "", f"/home/{user.name}", "/bin/bash"]
        passwd.append(entry)
        group.append([user.name, "x", number, ""])
        gshadow.append([user.name, "!", "", ""])
    for rows in (group, gshadow):
        for row in rows:
            members = [name for name in row[3].split(",") if name]
            if row[0] in _GROUPS and user.name not in members:
                row[3] = ",".join([*members, user.name])
    secret = user.password_hash or "!"
    line = next((row for row in shadow if row[0] == user.name), None)
    if line is None:
        # The day of the last change is one that asks for no new password, whatever the clock says.
        shadow.append([user.name, secret, "19000", "0", "99999", "7", "", "", ""])
    else:
        line[1] = secret
    texts = {"passwd": _lines(passwd), "shadow": _lines(shadow), "group": _lines(group)}
    if "gshadow" in files:
        texts["gshadow"] = _lines(gshadow)
    return texts, int(entry[2]), int(entry[3])


def home_of(*, passwd: str, user: str) -> str:
    """Return the user's home."""
    return next(row[5] for row in _rows(passwd) if row[0] == user)


def _mount_unit(*, what: str, where: str, kind: str, options: str, after: str = "") -> str:
    order = f"Requires={after}\nAfter={after}\n" if after else ""
    mount = f"What={what}\nWhere={where}\nType={kind}\nOptions={options}\n"
    return f"{MANAGED}[Unit]\n{order}\n[Mount]\n{mount}"


_PLACES_SERVICE = "bramble-containers.service"


def storage_units(*, device: str) -> dict[str, str]:
    """Return the units by which container storage is on a loop file, or on a device of the node's own."""
    source, options = (device, "noatime") if device else (STORAGE_FILE, "loop,noatime")
    name = STORAGE.strip("/").replace("/", "-")
    places = " ".join(f"{STORAGE}/{user}" for user in STORAGE_USERS)
    service = (
        f"{MANAGED}[Unit]\nDescription=Have room for containers beside the root over NFS\n"
        f"DefaultDependencies=no\nRequiresMountsFor={STORAGE}\nBefore=local-fs.target\n\n"
        f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/mkdir -p {places}\n"
    )
    units = {
        f"{name}.mount": _mount_unit(what=source, where=STORAGE, kind="ext4", options=options),
        _PLACES_SERVICE: service,
    }
    for user in STORAGE_USERS:
        units[f"var-lib-{user}.mount"] = _mount_unit(
            what=f"{STORAGE}/{user}",
            where=f"/var/lib/{user}",
            kind="none",
            options="bind",
            after=_PLACES_SERVICE,
        )
    return units


BOOTED_UNIT_NAME = "bramble-booted.service"
#: By this the server learns that the tree is good, and the one before it can go.
BOOTED_UNIT = f"""\
{MANAGED}[Unit]
Description=Note that this tree has booted
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/touch /{BOOTED}
"""
