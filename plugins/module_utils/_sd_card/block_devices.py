# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices of the controller, and whether one may be written as a card."""

from __future__ import annotations

import errno
import json
import os
import plistlib
import re
import stat
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: The largest device that is taken for a card, in bytes: what is printed as 256 GB holds up to 256.1.
MAXIMUM_SIZE = 257 * 10**9

_LSBLK = ["lsblk", "--json", "--bytes", "--all", "--output-all"]
_DISKUTIL = ["diskutil", "list", "-plist"]

#: Transports over which cards and their readers are attached.
_CARD_TRANSPORTS = frozenset(("usb", "mmc"))
#: Those of disks, which call themselves removable where their socket allows it.
_DISK_TRANSPORTS = frozenset(("ata", "fc", "iscsi", "nvme", "pci-express", "sas", "sata", "virtio"))

#: What lies on a device that is a part of something else, beside the types that end in _member.
_MEMBERS = frozenset(("crypto_LUKS", "BitLocker", "bcache", "ceph_bluestore", "drbd"))

#: Where a mounted file system is a part of the running system.
_SYSTEM = frozenset(("/", "/boot", "/boot/efi", "/boot/firmware", "/efi", "/etc", "/home", "/usr", "/var"))

#: Types of which nothing else is made.
_PLAIN_TYPES = frozenset(("disk", "loop", "part", "rom"))

_TAKE_APART = {
    "crypt": "cryptsetup close",
    "dm": "dmsetup remove",
    "lvm": "lvchange --activate n",
    "mpath": "multipath -f",
    "raid": "mdadm --stop",
}

_MEMORY = re.compile(r"z?ram\d+")
_EMMC_BOOT_AREA = re.compile(r"(mmcblk\d+)boot\d+")


class BlockDeviceError(BrambleError):
    """There is no such device, or the devices cannot be listed; the message says what mends it."""


class BlockDevice(NamedTuple):
    """A disk, partition or other block device, with what lies on it."""

    path: str
    name: str
    #: disk, part, loop, rom, crypt, lvm, raid1 ...
    type: str
    size: int
    model: str = ""
    vendor: str = ""
    serial: str = ""
    transport: str = ""
    removable: bool = False
    read_only: bool = False
    fstype: str = ""
    mountpoints: tuple[str, ...] = ()
    #: Whether it is swap in use.
    swap: bool = False
    #: Whether it is eMMC, which laptops and boards start from: only that has boot areas beside it.
    built_in: bool = False
    #: Whether something has it, or a part of it, open for itself alone.
    busy: bool = False
    #: The whole disk of a partition.
    parent: str | None = None
    #: The device to write to, which on macOS is the unbuffered one.
    write_path: str = ""
    #: What tells this card from the next one in the same slot, as far as the kernel does.
    id: str = ""
    #: Partitions, and what is made of them: LVM, RAID, encryption.
    children: tuple[BlockDevice, ...] = ()

    @property
    def family(self) -> Iterator[BlockDevice]:
        """The device and all that is on it."""
        yield self
        for child in self.children:
            yield from child.family

    @property
    def by_card_reader(self) -> bool:
        """Whether it is attached as cards are."""
        if self.built_in or self.transport in _DISK_TRANSPORTS:
            return False
        return self.removable or self.transport in _CARD_TRANSPORTS


class Refusal(NamedTuple):
    """Why a device is not written."""

    #: A sentence with the device, its model and size.
    reason: str
    #: The variable that would allow it; None if none does.
    variable: str | None
    #: A sentence with the command or variable that mends it.
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason} {self.remedy}"


# Words


def human_size(size: int) -> str:
    """Return a size as it is printed on cards, in powers of ten."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def describe(device: BlockDevice) -> str:
    """Name a device with model, size and transport."""
    name = " ".join(part for part in (device.vendor, device.model) if part) or "no model"
    size = human_size(device.size) if device.size else "empty"
    return f"{device.path} ({', '.join(filter(None, (name, size, device.transport)))})"


def contents(device: BlockDevice) -> str:
    """Say in a few words what lies on a device."""
    if not device.children:
        return f"a file system ({device.fstype})" if device.fstype else "no partitions"
    parts = [f"{human_size(part.size)} {part.fstype or 'unknown'}" for part in device.children]
    return f"{len(parts)} partition{'s' if len(parts) > 1 else ''} ({', '.join(parts)})"


# Linux


def _text(value: Any) -> str:
    return " ".join(str(value or "").split())


def _flag(value: Any) -> bool:
    """Read a boolean, which lsblk up to 2.33 writes as text."""
    return value in {True, "1"}


def _lsblk_device(entry: Mapping[str, Any], built_in: Collection[str]) -> BlockDevice:
    mounts = [mount for mount in entry.get("mountpoints") or [entry.get("mountpoint")] if mount]
    subsystems = _text(entry.get("subsystems")).split(":")
    transport = _text(entry.get("tran"))
    if not transport:
        transport = next((name for name in ("usb", "mmc", "virtio") if name in subsystems), "")
    name = entry["kname"]
    path = entry["path"]
    vendor = _text(entry.get("vendor"))
    return BlockDevice(
        path=path,
        name=name,
        type=_text(entry.get("type")),
        size=int(entry.get("size") or 0),
        model=_text(entry.get("model")),
        # A virtual disk has a PCI number here.
        vendor="" if vendor.startswith("0x") else vendor,
        serial=_text(entry.get("serial")),
        transport=transport,
        removable=_flag(entry.get("rm")) or _flag(entry.get("hotplug")),
        read_only=_flag(entry.get("ro")),
        fstype=_text(entry.get("fstype")),
        mountpoints=tuple(mount for mount in mounts if mount != "[SWAP]"),
        swap="[SWAP]" in mounts,
        built_in=name in built_in,
        parent=f"/dev/{entry['pkname']}" if entry.get("pkname") else None,
        write_path=path,
        id=path,
        children=tuple(_lsblk_device(child, built_in) for child in entry.get("children") or []),
    )


def parse_lsblk(*, text: str) -> list[BlockDevice]:
    """Read C(lsblk --json --bytes --all --output-all)."""
    try:
        entries = json.loads(text)["blockdevices"]
        boot_areas = [_EMMC_BOOT_AREA.fullmatch(entry["kname"]) for entry in entries]
        built_in = {name for area in boot_areas if area for name in (area[0], area[1])}
        return [_lsblk_device(entry, built_in) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise BlockDeviceError(
            f"lsblk printed {text[:80]!r}, wanted is JSON of block devices; install util-linux 2.33 or later."
        ) from error


# macOS


def _plist(text: str) -> dict[str, Any]:
    try:
        content = plistlib.loads(text.encode())
    except (ValueError, plistlib.InvalidFileException) as error:
        raise BlockDeviceError(
            f"diskutil printed {text[:80]!r}, wanted is a property list. Run 'diskutil list -plist' by hand."
        ) from error
    return dict(content)


def whole_disks(*, listing: str) -> list[str]:
    """Return the names of the disks in C(diskutil list -plist)."""
    return [disk["DeviceIdentifier"] for disk in _plist(listing).get("AllDisksAndPartitions", [])]


def _diskutil_volume(entry: Mapping[str, Any], parent: str) -> BlockDevice:
    name = entry["DeviceIdentifier"]
    return BlockDevice(
        path=f"/dev/{name}",
        name=name,
        type="part",
        size=int(entry.get("Size", 0)),
        fstype=entry.get("Content", ""),
        mountpoints=tuple(filter(None, [entry.get("MountPoint")])),
        parent=f"/dev/{parent}",
    )


def parse_diskutil(*, listing: str, infos: Mapping[str, str]) -> list[BlockDevice]:
    """Read C(diskutil list -plist), and C(diskutil info -plist) of its disks by their names."""
    disks = _plist(listing).get("AllDisksAndPartitions", [])
    volumes: dict[str, list[BlockDevice]] = {}
    for disk in disks:
        parts = [*disk.get("Partitions", []), *disk.get("APFSVolumes", [])]
        # The volumes of an APFS container are listed apart from the disk that it lies on.
        stores = [
            store["DeviceIdentifier"].rpartition("s")[0] for store in disk.get("APFSPhysicalStores", [])
        ]
        for owner in stores or [disk["DeviceIdentifier"]]:
            volumes.setdefault(owner, []).extend(_diskutil_volume(part, owner) for part in parts)
    devices = []
    for disk in disks:
        name = disk["DeviceIdentifier"]
        info = _plist(infos[name])
        image = info.get("BusProtocol") == "Disk Image"
        if disk.get("APFSPhysicalStores") or (info.get("VirtualOrPhysical") == "Virtual" and not image):
            continue
        protocol = info.get("BusProtocol", "")
        devices.append(
            BlockDevice(
                path=f"/dev/{name}",
                name=name,
                type="loop" if image else "disk",
                size=int(info.get("TotalSize", info.get("Size", 0))),
                model=_text(info.get("MediaName")),
                transport={"Secure Digital": "mmc"}.get(protocol, protocol.lower()),
                # A built-in reader calls itself internal, its card removable.
                removable=bool(info.get("RemovableMediaOrExternalDevice")),
                read_only=not info.get("WritableMedia", True),
                mountpoints=tuple(filter(None, [info.get("MountPoint")])),
                write_path=f"/dev/r{name}",
                id=f"/dev/{name}",
                children=tuple(volumes.get(name, ())),
            )
        )
    return devices


# Judgement


def _holds_system(device: BlockDevice) -> Iterator[Refusal]:
    for part in device.family:
        mounts = [mount for mount in part.mountpoints if mount in _SYSTEM or mount.startswith("/System/")]
        if mounts:
            yield Refusal(
                f"{describe(device)} holds the running system ({part.path} is {', '.join(mounts)}).",
                None,
                "Nothing allows it to be written. Set flash_device to the card.",
            )


def _in_use(device: BlockDevice) -> Iterator[Refusal]:
    """Refuse what is mounted, swapped to or a part of something else; no variable allows any of it."""
    macos = device.write_path.startswith("/dev/rdisk")
    for part in device.family:
        if part.mountpoints:
            command = f"diskutil unmountDisk {device.path}" if macos else f"umount {part.path}"
            yield Refusal(
                f"{describe(device)} is in use: {part.path} is mounted on {', '.join(part.mountpoints)}.",
                None,
                f"If it is the card, unmount it ('{command}') and run this again.",
            )
        if part.swap:
            yield Refusal(
                f"{describe(device)} is in use: this machine swaps to {part.path}.",
                None,
                f"If it is the card, take it out of use ('swapoff {part.path}') and run this again.",
            )
        if part.type not in _PLAIN_TYPES:
            command = _TAKE_APART.get(part.type, _TAKE_APART["raid"])
            yield Refusal(
                f"{describe(device)} is in use: {part.path} (type {part.type}) is made of it.",
                None,
                f"If nothing on it is needed, take that apart ('{command} {part.path}') and run this again.",
            )
        elif part.fstype.endswith("_member") or part.fstype in _MEMBERS:
            yield Refusal(
                f"{describe(device)} is no card: {part.path} is a part of something else ({part.fstype}).",
                None,
                f"If nothing on it is needed, clear it ('wipefs --all {part.path}') and run this again.",
            )


def _wrong_kind(device: BlockDevice, allow_loop: bool, allow_fixed: Collection[str]) -> Iterator[Refusal]:
    """Refuse what is no whole disk, or none that can be taken out."""
    if device.type == "part":
        yield Refusal(
            f"{describe(device)} is a partition; an image goes onto a whole disk.",
            None,
            f"If it is on the card, set flash_device to {device.parent}.",
        )
    elif device.type == "loop":
        if not allow_loop:
            yield Refusal(
                f"{describe(device)} is a loop device, which is no card.",
                "flash_allow_loop",
                "To write it all the same, as a test, set flash_allow_loop to true.",
            )
    elif device.type != "disk":
        yield Refusal(
            f"{describe(device)} is no disk: its type is {device.type}.",
            None,
            "Set flash_device to the card.",
        )
    elif not device.by_card_reader and not {device.path, device.serial}.intersection(
        filter(None, allow_fixed)
    ):
        why = "is built into this machine" if device.built_in else "is no removable disk on USB or MMC"
        yield Refusal(
            f"{describe(device)} {why}.",
            "flash_allow_fixed",
            f"If all that is on it may go, set flash_allow_fixed to ['{device.serial or device.path}'].",
        )


def _wrong_size(device: BlockDevice, minimum: int, maximum: int) -> Iterator[Refusal]:
    if device.size < minimum:
        yield Refusal(
            f"{describe(device)} is too small: the image needs {minimum} bytes, and it has {device.size}.",
            None,
            f"Take a card of {human_size(minimum)} or more.",
        )
    if device.size > maximum:
        yield Refusal(
            f"{describe(device)} is larger than the largest card that is expected, {human_size(maximum)}.",
            "flash_max_size",
            f"If it is a card, set flash_max_size to {device.size} (bytes).",
        )


def is_card(*, device: BlockDevice, allow_loop: bool) -> bool:
    """Tell whether a device is one that a user puts in, be it fit to be written or not."""
    attached = device.by_card_reader or (allow_loop and device.type == "loop")
    return bool(device.size) and attached and not any(_holds_system(device))


def refusals(
    *,
    device: BlockDevice,
    minimum_size: int = 0,
    maximum_size: int = MAXIMUM_SIZE,
    allow_loop: bool = False,
    allow_fixed: Collection[str] = (),
) -> list[Refusal]:
    """Return everything that speaks against writing a device.

    C(allow_fixed) has the paths or serial numbers of disks that may be written though they are fixed.
    """
    system = list(_holds_system(device))
    if system:
        # What would allow other disks is of no use here.
        return system
    found = [*_wrong_kind(device, allow_loop, allow_fixed), *_in_use(device)]
    if device.size == 0:
        empty = Refusal(f"{describe(device)} has no card in it.", None, "Put one in, and run this again.")
        return [*found, empty]
    if device.read_only:
        found.append(
            Refusal(
                f"{describe(device)} is write-protected.",
                None,
                "Slide the switch on the card or its adapter away from 'lock'. A card without a switch is "
                "worn out; take another.",
            )
        )
    found.extend(_wrong_size(device, minimum_size, maximum_size))
    if device.busy and not found:
        found.append(
            Refusal(
                f"{describe(device)} is in use: a program, a container or a file system has it for itself.",
                None,
                f"Look which one ('fuser --verbose {device.path}'), end it and run this again.",
            )
        )
    return found


# The devices of this machine


def _call(run: Runner, command: list[str]) -> tuple[int, str, str]:
    try:
        return run(command)
    except FileNotFoundError as error:
        raise BlockDeviceError(
            f"there is no command {command[0]}; install the package util-linux."
        ) from error


def _run(run: Runner, command: list[str]) -> str:
    code, output, errors = _call(run, command)
    # lsblk fails with 32 for a device that went away meanwhile, and prints the others.
    if code and not output.strip():
        raise BlockDeviceError(
            f"'{' '.join(command)}' failed with {code}: {errors.strip()}. Expected are its devices."
        )
    return output


def _is_busy(path: str) -> bool:
    """Ask the kernel, which knows file systems in other namespaces as well."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _sequence(name: str) -> str:
    """Return the number that the kernel gives every card that it meets (Linux 5.15 and later)."""
    try:
        with open(f"/sys/class/block/{name}/diskseq", encoding="ascii") as file:
            return f"#{file.read().strip()}"
    except OSError:
        return ""


def _probe(device: BlockDevice, run: Runner) -> BlockDevice:
    """Look what lies on a device; lsblk has it from udev, which may be late, or missing as in containers."""
    _code, output, _errors = _call(run, ["blkid", "-p", "-o", "value", "-s", "TYPE", device.path])
    children = tuple(_probe(child, run) for child in device.children)
    return device._replace(fstype=device.fstype or output.strip(), children=children)


def _ask_kernel(device: BlockDevice, run: Runner) -> BlockDevice:
    """Add what lsblk does not know of a device that might be written."""
    if sys.platform == "darwin":
        return device
    writable = device.size > 0 and (device.by_card_reader or device.type == "loop")
    if writable:
        device = _probe(device, run)
    return device._replace(
        busy=writable and _is_busy(device.path), id=f"{device.path}{_sequence(device.name)}"
    )


def _disks(run: Runner) -> list[BlockDevice]:
    if sys.platform == "darwin":
        listing = _run(run, _DISKUTIL)
        infos = {
            name: _run(run, ["diskutil", "info", "-plist", name]) for name in whole_disks(listing=listing)
        }
        return parse_diskutil(listing=listing, infos=infos)
    return [
        device
        for device in parse_lsblk(text=_run(run, _LSBLK))
        # Neither memory disks nor loop devices without a file.
        if not _MEMORY.fullmatch(device.name) and (device.size or device.type != "loop")
    ]


def _is_at(device: BlockDevice, path: str) -> bool:
    return path in {os.path.realpath(device.path), f"/dev/{device.name}", device.write_path}


def list_devices(*, run: Runner, paths: Collection[str] = ()) -> list[BlockDevice]:
    """Return the disks of this machine, or those that paths or links lead to, each with its partitions."""
    wanted = [os.path.realpath(path) for path in paths]
    return [
        _ask_kernel(device, run)
        for device in _disks(run)
        if not wanted or any(_is_at(device, path) for path in wanted)
    ]


def find_device(*, run: Runner, path: str) -> BlockDevice:
    """Return the device that a path or link leads to."""
    real = os.path.realpath(path)
    disks = _disks(run)
    there = "; ".join(describe(disk) for disk in disks if disk.size) or "none"
    try:
        mode = os.stat(real).st_mode
    except OSError as error:
        raise BlockDeviceError(
            f"{path} cannot be looked at: {error.strerror}. Put the card in, or set flash_device to one of "
            f"the devices that are there: {there}."
        ) from error
    if stat.S_ISREG(mode):
        raise BlockDeviceError(
            f"{path} is a regular file, wanted is a block device. Set flash_device to one of: {there}. For a "
            f"test, make it one ('losetup --find --show {real}') and set flash_allow_loop to true."
        )
    for disk in disks:
        if any(_is_at(part, real) for part in disk.family):
            # No other disk is asked for, as it might be one that hangs.
            return next(part for part in _ask_kernel(disk, run).family if _is_at(part, real))
    problem = "a block device without a disk in it" if stat.S_ISBLK(mode) else "no block device"
    raise BlockDeviceError(f"{path} is {problem}. Set flash_device to one of those that are there: {there}.")
