# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The partition table of a disk or of the image of one."""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Callable
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: Reads ``length`` bytes at ``offset``; fewer where the image ends.
Read = Callable[[int, int], bytes]

#: As much of the beginning as is looked at to say what something is.
HEAD_SIZE = 128 << 10

_SECTOR = 512
_MBR_SIGNATURE = b"\x55\xaa"
_EXTENDED_TYPES = frozenset({0x05, 0x0F, 0x85})
_PROTECTIVE_TYPE = 0xEE
#: FAT12, FAT16 and FAT32 with their hidden forms, and EFI system partitions.
_FAT_TYPES = frozenset({0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E, 0x11, 0x14, 0x16, 0x1B, 0x1C, 0x1E, 0xEF})
#: EFI system partition, and Microsoft's basic data, which is what FAT has without being one.
_FAT_GUIDS = frozenset({"c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"})
_MAX_LOGICAL = 128
_MAX_GPT_ENTRIES = 1024
_GPT_SIGNATURE = b"EFI PART"
_GPT_HEADER = struct.Struct("<8s4sIIIQQQQ16sQIII")
_GPT_ENTRY = struct.Struct("<16s16sQQ")
_UNUSED_GUID = bytes(16)

_EXPECTED = "expected the image of a whole disk, with a partition table (MBR or GPT)"

#: What else has a name of its own: offset, magic bytes, name.
_KINDS = (
    (0x8001, b"CD001", "an ISO 9660 image, as for a DVD or an installer"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a rar archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"QFI\xfb", "a qcow2 image of a virtual machine"),
    (0, b"vhdxfile", "a VHDX image of a virtual machine"),
    (0, b"KDMV", "a VMDK image of a virtual machine"),
    (64, b"\x7f\x10\xda\xbe", "a VDI image of a virtual machine"),
    (0, b"\x3a\xff\x26\xed", "an Android sparse image"),
    (0, b"hsqs", "a squashfs file system"),
    (0, b"XFSB", "an XFS file system without a partition table"),
    (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
    (3, b"NTFS    ", "an NTFS file system without a partition table"),
    (1080, b"\x53\xef", "an ext2, ext3 or ext4 file system without a partition table"),
    (0x10040, b"_BHRfS_M", "a btrfs file system without a partition table"),
    (0, b"\x7fELF", "a program (ELF)"),
)


class DiskImageError(BrambleError):
    """This is not a disk image, or none that can be used; the message says what it is instead."""


class Partition(NamedTuple):
    """A piece of the disk."""

    number: int
    offset: int
    size: int
    #: Two hex digits in an MBR, a GUID in a GPT.
    type: str
    fat: bool

    @property
    def end(self) -> int:
        """Return the offset of the first byte behind it."""
        return self.offset + self.size


class PartitionTable(NamedTuple):
    """What a disk is divided into."""

    #: ``dos`` or ``gpt``, as lsblk and sfdisk call them.
    label: str
    partitions: tuple[Partition, ...]


class _Entry(NamedTuple):
    """A line of an MBR."""

    flag: int
    type: int
    start: int
    sectors: int


def _is_fat(sector: bytes) -> bool:
    """Tell a FAT file system by the parameters in its first sector, which are all that every maker sets."""
    if len(sector) < _SECTOR or sector[510:512] != _MBR_SIGNATURE or sector[0] not in (0xE9, 0xEB):
        return False
    sector_size, cluster, reserved, fats = struct.unpack_from("<HBHB", sector, 11)
    return (
        sector_size in (512, 1024, 2048, 4096)
        and cluster > 0
        and cluster & (cluster - 1) == 0
        and reserved > 0
        and fats in (1, 2)
        and sector[21] >= 0xF0
    )


def what_is(head: bytes) -> str:
    """Name what something seems to be, by its first ``HEAD_SIZE`` bytes."""
    if not head:
        return "an empty file"
    if head == bytes(len(head)):
        return "nothing but zeros"
    for offset, magic, name in _KINDS:
        if head.startswith(magic, offset):
            return name
    if _is_fat(head[:_SECTOR]):
        return "a FAT file system without a partition table"
    text = head[:1024].lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML)"
    if text.startswith((b"<?xml", b"{", b"[")) or all(9 <= byte < 127 for byte in head[:1024]):
        return "a text file"
    if len(head) < _SECTOR:
        return f"a file of {len(head)} bytes"
    return "data of a kind not known"


def _no_image(*, head: bytes) -> DiskImageError:
    return DiskImageError(f"not a disk image but {what_is(head)}; {_EXPECTED}")


def _mbr_entries(sector: bytes) -> list[_Entry] | None:
    """Return the four lines of an MBR or of an extended partition's, or None if it is none."""
    if len(sector) < _SECTOR or sector[510:512] != _MBR_SIGNATURE:
        return None
    entries = [_Entry(*struct.unpack_from("<B3xB3xII", sector, offset)) for offset in range(446, 510, 16)]
    # The first sector of a FAT file system has the same signature, and a program where the table would be.
    if any(entry.flag not in (0x00, 0x80) for entry in entries):
        return None
    return entries


def _used(entry: _Entry) -> bool:
    return entry.type != 0 and entry.sectors != 0


def _partition(
    *, read: Read, number: int, start: int, sectors: int, kind: str, may_be_fat: bool
) -> Partition:
    offset = start * _SECTOR
    fat = may_be_fat and _is_fat(read(offset, _SECTOR))
    return Partition(number, offset, sectors * _SECTOR, kind, fat)


def _dos_partition(*, read: Read, number: int, start: int, entry: _Entry) -> Partition:
    return _partition(
        read=read,
        number=number,
        start=start,
        sectors=entry.sectors,
        kind=f"{entry.type:02x}",
        may_be_fat=entry.type in _FAT_TYPES,
    )


def _logical_partitions(*, read: Read, extended: int) -> list[Partition]:
    """Follow the chain of tables in an extended partition."""
    partitions: list[Partition] = []
    table = extended
    seen: set[int] = set()
    while True:
        if table in seen or len(seen) == _MAX_LOGICAL:
            raise DiskImageError(
                f"a damaged disk image: its chain of logical partitions comes back to sector {table}, "
                f"or is longer than {_MAX_LOGICAL}; {_EXPECTED}"
            )
        seen.add(table)
        entries = _mbr_entries(read(table * _SECTOR, _SECTOR))
        if entries is None:
            raise DiskImageError(
                f"a damaged disk image: its extended partition has no table at sector {table}; {_EXPECTED}"
            )
        first, following = entries[:2]
        if _used(first):
            number = 5 + len(partitions)
            partitions.append(
                _dos_partition(read=read, number=number, start=table + first.start, entry=first)
            )
        if not _used(following) or following.type not in _EXTENDED_TYPES:
            return partitions
        table = extended + following.start


def _dos_partitions(*, read: Read, entries: list[_Entry]) -> list[Partition]:
    primary: list[Partition] = []
    logical: list[Partition] = []
    for number, entry in enumerate(entries, start=1):
        if not _used(entry):
            continue
        primary.append(_dos_partition(read=read, number=number, start=entry.start, entry=entry))
        if entry.type in _EXTENDED_TYPES:
            logical += _logical_partitions(read=read, extended=entry.start)
    return primary + logical


def _check_crc(*, what: str, seen: int, expected: int) -> None:
    if seen != expected:
        raise DiskImageError(
            f"a damaged disk image: the CRC of its GPT's {what} is {seen:08x}; expected {expected:08x}"
        )


def _gpt_partitions(*, read: Read) -> list[Partition]:
    sector = read(_SECTOR, _SECTOR)
    if not sector.startswith(_GPT_SIGNATURE):
        if read(4096, 8) == _GPT_SIGNATURE:
            raise DiskImageError("an image for disks with sectors of 4096 bytes; expected 512, as cards have")
        raise DiskImageError(f"a damaged disk image: its MBR announces a GPT, and there is none; {_EXPECTED}")
    header = _GPT_HEADER.unpack_from(sector)
    header_size, header_crc = header[2], header[3]
    entries_start, count, entry_size, entries_crc = header[10:14]
    if not _GPT_HEADER.size <= header_size <= _SECTOR:
        raise DiskImageError(
            f"a damaged disk image: its GPT's header has {header_size} bytes; expected 92 to {_SECTOR}"
        )
    # The CRC is computed with zeros in its own place.
    _check_crc(
        what="header", seen=zlib.crc32(sector[:16] + bytes(4) + sector[20:header_size]), expected=header_crc
    )
    if count > _MAX_GPT_ENTRIES or not 128 <= entry_size <= 4096:
        raise DiskImageError(
            f"a damaged disk image: its GPT has {count} entries of {entry_size} bytes; "
            f"expected at most {_MAX_GPT_ENTRIES} of 128 to 4096"
        )
    entries = read(entries_start * _SECTOR, count * entry_size)
    _check_crc(what="entries", seen=zlib.crc32(entries), expected=entries_crc)
    partitions = []
    for number in range(1, count + 1):
        kind, _unique, first, last = _GPT_ENTRY.unpack_from(entries, (number - 1) * entry_size)
        if kind == _UNUSED_GUID:
            continue
        if last < first:
            raise DiskImageError(
                f"a damaged disk image: its partition {number} ends at sector {last}, "
                f"before it begins at {first}"
            )
        guid = str(uuid.UUID(bytes_le=kind))
        partitions.append(
            _partition(
                read=read,
                number=number,
                start=first,
                sectors=last - first + 1,
                kind=guid,
                may_be_fat=guid in _FAT_GUIDS,
            )
        )
    return partitions


def check_head(*, head: bytes) -> None:
    """Refuse what cannot be a disk image, by its first ``HEAD_SIZE`` bytes."""
    entries = _mbr_entries(head[:_SECTOR])
    # An installer's ISO image has a table as well, so that it boots from a stick; a Pi does not.
    is_iso = head.startswith(b"CD001", 0x8001)
    if entries is None or is_iso or not any(map(_used, entries)):
        raise _no_image(head=head)


def read_partition_table(*, read: Read, size: int | None = None) -> PartitionTable:
    """Read the partition table; with the size of the disk, also check that all partitions are on it."""
    head = read(0, HEAD_SIZE)
    check_head(head=head)
    entries = _mbr_entries(head[:_SECTOR]) or []
    if any(entry.type == _PROTECTIVE_TYPE for entry in entries):
        table = PartitionTable("gpt", tuple(_gpt_partitions(read=read)))
    else:
        table = PartitionTable("dos", tuple(_dos_partitions(read=read, entries=entries)))
    for partition in table.partitions:
        if size is not None and partition.end > size:
            raise DiskImageError(
                f"a truncated disk image: its partition {partition.number} ends at byte {partition.end}, "
                f"and the image at byte {size}"
            )
    return table


def find_boot_partition(*, table: PartitionTable) -> Partition:
    """Return the partition that a Raspberry Pi boots from: the first one with a FAT file system."""
    for partition in table.partitions:
        if partition.fat:
            return partition
    seen = ", ".join(f"{partition.number} ({partition.type})" for partition in table.partitions)
    raise DiskImageError(
        f"not an image for a Raspberry Pi: none of its partitions ({seen or 'there are none'}) has a FAT "
        f"file system, which is where a Pi boots from"
    )
