# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices of the controller, and whether one may be written as a card."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

#: The largest device that is taken for a card, in bytes.
MAXIMUM_SIZE = 256 * 10**9

#: Runs a command and returns its exit code, output and errors.
Run = Callable[[Sequence[str]], "tuple[int, str, str]"]


class BlockDeviceError(Exception):
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
    #: Whether it is memory that is soldered in or otherwise part of this machine.
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


def human_size(size: int) -> str:
    """Return a size as it is printed on cards, in powers of ten."""
    raise NotImplementedError


def describe(device: BlockDevice) -> str:
    """Name a device with model, size and transport."""
    raise NotImplementedError


def parse_lsblk(*, text: str) -> list[BlockDevice]:
    """Read C(lsblk --json --bytes --all --output-all)."""
    raise NotImplementedError


def parse_diskutil(*, listing: str, infos: Mapping[str, str]) -> list[BlockDevice]:
    """Read C(diskutil list -plist physical), and for each of its disks C(diskutil info -plist)."""
    raise NotImplementedError


def refusals(
    *,
    device: BlockDevice,
    minimum_size: int = 0,
    maximum_size: int = MAXIMUM_SIZE,
    allow_loop: bool = False,
    allow_fixed: Collection[str] = (),
) -> list[Refusal]:
    """Return everything that speaks against writing a device; C(allow_fixed) names paths or serial numbers."""
    raise NotImplementedError


def list_devices(*, run: Run) -> list[BlockDevice]:
    """Return the disks of this machine, each with its partitions."""
    raise NotImplementedError


def find_device(*, run: Run, path: str) -> BlockDevice:
    """Return the device that a path or link leads to."""
    raise NotImplementedError
