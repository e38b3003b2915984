# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a block device may be written as a card, and what speaks against it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._sd_card.block_devices import (
    UNITS,
    BlockDevice,
    describe,
    human_size,
)

#: The largest device that is taken for a card, in bytes: what is printed as 256 GB holds up to 256.1.
MAXIMUM_SIZE = 257 * 10**9
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


class Refusal(NamedTuple):
    """Why a device is not written."""

    #: A sentence with the device, its model and size.
    reason: str
    #: The variable that would allow it; None if none does.
    variable: str | None
    #: A sentence with the command or variable that fixes it.
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason} {self.remedy}"


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
                f"If nothing on it is needed, stop that ('{command} {part.path}') and run this again.",
            )
        elif part.fstype.endswith("_member") or part.fstype in _MEMBERS:
            yield Refusal(
                f"{describe(device)} is not a card: {part.path} is a part of something else ({part.fstype}).",
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
                f"{describe(device)} is a loop device, which is not a card.",
                "flash_allow_loop",
                "To write it all the same, as a test, set flash_allow_loop to true.",
            )
    elif device.type != "disk":
        yield Refusal(
            f"{describe(device)} is not a disk: its type is {device.type}.",
            None,
            "Set flash_device to the card.",
        )
    elif not device.by_card_reader and not {device.path, device.serial}.intersection(
        filter(None, allow_fixed)
    ):
        why = "is built into this machine" if device.built_in else "is not a removable disk on USB or MMC"
        yield Refusal(
            f"{describe(device)} {why}.",
            "flash_allow_fixed",
            f"If all that is on it may go, set flash_allow_fixed to ['{device.serial or device.path}'].",
        )


def _size_above(minimum: int, there: int) -> str:
    """Return a size as it is printed on cards that is enough, and looks larger than what is there."""
    unit, factor = next((unit for unit in UNITS if minimum >= unit[1]), UNITS[-1])
    tenths = max(-(-minimum * 10 // factor), round(float(f"{there / factor:.1f}") * 10) + 1)
    return f"{tenths / 10:.1f} {unit}"


def _wrong_size(device: BlockDevice, minimum: int, maximum: int) -> Iterator[Refusal]:
    if device.size < minimum:
        yield Refusal(
            f"{describe(device)} is too small: the image needs {minimum} bytes, and it has {device.size}.",
            None,
            f"Take a card of {_size_above(minimum, device.size)} or more.",
        )
    if device.size > maximum:
        yield Refusal(
            f"{describe(device)} is larger than the largest card that is expected, {human_size(maximum)}.",
            "flash_max_size",
            f"If it is a card, set flash_max_size to {device.size} (bytes).",
        )


def holds_system(device: BlockDevice) -> bool:
    """Tell whether the running system is on a device."""
    return any(_holds_system(device))


def is_card(*, device: BlockDevice, allow_loop: bool) -> bool:
    """Tell whether a device is one that a user puts in, be it fit to be written or not."""
    attached = device.by_card_reader or (allow_loop and device.type == "loop")
    return bool(device.size) and attached and not holds_system(device)


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
