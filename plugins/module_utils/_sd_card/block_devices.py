# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices of the controller, and what lies on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: Transports over which cards and their readers are attached.
_CARD_TRANSPORTS = frozenset(("usb", "mmc"))
#: Those of disks, which call themselves removable where their socket allows it.
_DISK_TRANSPORTS = frozenset(("ata", "fc", "iscsi", "nvme", "pci-express", "sas", "sata", "virtio"))


#: Sizes are printed on cards in powers of ten.
UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


class BlockDeviceError(BrambleError):
    """There is no such device, or the devices cannot be listed; the message says how to fix it."""


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


def human_size(size: int) -> str:
    """Return a size as it is printed on cards, in powers of ten."""
    for unit, factor in UNITS:
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


def one_line(value: Any) -> str:
    """Return a text of whatever kind, or of none, with single blanks."""
    return " ".join(str(value or "").split())


def call(run: Runner, command: list[str]) -> tuple[int, str, str]:
    """Run a command that every system of its kind has."""
    try:
        return run(command)
    except FileNotFoundError as error:
        raise BlockDeviceError(
            f"there is no command {command[0]}; install the package util-linux."
        ) from error


def listing(run: Runner, command: list[str]) -> str:
    """Run a command that lists devices."""
    code, output, errors = call(run, command)
    # lsblk fails with 32 for a device that went away meanwhile, and prints the others.
    if code and not output.strip():
        raise BlockDeviceError(
            f"'{' '.join(command)}' failed with {code}: {errors.strip()}; expected its devices."
        )
    return output
