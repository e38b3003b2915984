# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Partition tables as sfdisk writes them, damaged ones, and what is not a disk image at all."""

from __future__ import annotations

import json
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._os_image.partition_table import (
    HEAD_SIZE,
    DiskImageError,
    Partition,
    PartitionTable,
    check_head,
    find_boot_partition,
    read_partition_table,
)
from hypothesis import given
from hypothesis import strategies as st

MIB = 1 << 20
SIZE = 40 * MIB
#: As Raspberry Pi OS and Ubuntu have it, with a boot partition that begins at 8 MiB.
PI = "label: dos\n16384,16384,c\n32768,,83\n"
LOGICAL = "label: dos\n2048,8192,83\n,40960,5\n,20480,83\n,8192,82\n,8192,c\n,4096,83\n,2048,b\n"
GPT = "label: gpt\n2048,4096,linux\n,16384,uefi\n,16384,EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n"


def reader(image: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: image[offset : offset + length]


def read(image: bytes, size: int | None = None) -> PartitionTable:
    return read_partition_table(read=reader(image), size=size)


@pytest.fixture(scope="module")
def fat(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the first sector of a FAT file system."""
    path = tmp_path_factory.mktemp("fat") / "fat"
    path.write_bytes(bytes(MIB))
    subprocess.run(["mkfs.vfat", path], check=True, capture_output=True)
    return path.read_bytes()


@pytest.fixture
def make(tmp_path: Path, fat: bytes) -> Callable[..., bytes]:
    def make(script: str, *fat_at: int, size: int = SIZE) -> bytes:
        path = tmp_path / "disk.img"
        path.write_bytes(bytes(size))
        subprocess.run(["sfdisk", "--quiet", path], input=script, text=True, check=True)
        image = bytearray(path.read_bytes())
        for offset in fat_at:
            image[offset : offset + len(fat)] = fat
        return bytes(image)

    return make


def by_sfdisk(path: Path, image: bytes) -> list[tuple[int, int, int]]:
    """Return number, offset and size of each partition, as sfdisk sees them."""
    path.write_bytes(image)
    done = subprocess.run(["sfdisk", "--json", path], capture_output=True, check=True)
    partitions = json.loads(done.stdout)["partitiontable"]["partitions"]
    return [
        (int(item["node"].removeprefix(str(path))), item["start"] * 512, item["size"] * 512)
        for item in partitions
    ]


@pytest.mark.parametrize("script", [PI, LOGICAL, GPT])
def test_agrees_with_sfdisk(make: Callable[..., bytes], tmp_path: Path, script: str) -> None:
    image = make(script)
    table = read(image, SIZE)
    assert sorted((item.number, item.offset, item.size) for item in table.partitions) == by_sfdisk(
        tmp_path / "x", image
    )
    assert f"label: {table.label}" in script


def test_boot_partition_is_the_first_with_fat(make: Callable[..., bytes]) -> None:
    table = read(make(PI, 8 * MIB))
    assert find_boot_partition(table=table) == Partition(1, 8 * MIB, 8 * MIB, "0c", True)
    assert [item.type for item in table.partitions] == ["0c", "83"]

    logical = read(make(LOGICAL))
    with pytest.raises(
        DiskImageError,
        match=r"not an image for a Raspberry Pi: none of its .*1 \(83\), 2 \(05\), 3 \(83\), 4 \(82\), 5 ",
    ):
        find_boot_partition(table=logical)
    first, second = (item.offset for item in logical.partitions if item.type in ("0c", "0b"))
    table = read(make(LOGICAL, first, second))
    assert find_boot_partition(table=table).number == 5
    assert find_boot_partition(table=read(make(LOGICAL, second))).number == 7

    efi, data = 3 * MIB, 11 * MIB
    assert find_boot_partition(table=read(make(GPT, efi, data))).offset == efi
    assert find_boot_partition(table=read(make(GPT, data))).type == "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"


def test_gpt_counts_only_if_the_mbr_announces_it(make: Callable[..., bytes]) -> None:
    image = bytearray(make(GPT, 3 * MIB))
    image[:512] = make(PI)[:512]
    assert read(bytes(image)).label == "dos"

    hybrid = bytearray(make(GPT, 3 * MIB))
    # A second line, so that a Pi 3 finds the boot partition.
    hybrid[462:478] = struct.pack("<B3xB3xII", 0, 0x0C, 6144, 16384)
    assert read(bytes(hybrid)).label == "gpt"


def test_partitions_have_to_be_within_the_image(make: Callable[..., bytes]) -> None:
    for script, size, last in ((PI, SIZE - 1, 2), (LOGICAL, 16 * MIB, 2)):
        image = make(script)
        assert read(image, SIZE)
        message = (
            rf"truncated disk image: its partition {last} ends at byte \d+, and the image at byte {size}"
        )
        with pytest.raises(DiskImageError, match=message):
            read(image, size)
    with pytest.raises(DiskImageError, match=r"truncated disk image: its partition 3 ends at byte \d+"):
        read(make(GPT), 12 * MIB)


def test_damaged_gpt(make: Callable[..., bytes]) -> None:
    image = make(GPT)

    def damaged(offset: int, content: bytes, *, fix_crc: bool = False) -> bytes:
        changed = bytearray(image)
        changed[offset : offset + len(content)] = content
        if fix_crc:
            changed[528:532] = bytes(4)
            changed[528:532] = struct.pack("<I", zlib.crc32(changed[512:604]))
        return bytes(changed)

    cases = [
        (damaged(512 + 24, b"\x02"), r"the CRC of its GPT's header is [0-9a-f]{8}; expected [0-9a-f]{8}"),
        (damaged(1024 + 56, b"x"), r"the CRC of its GPT's entries is [0-9a-f]{8}; expected"),
        (damaged(512, b"NOT PART"), "its MBR announces a GPT, and there is none"),
        (damaged(512 + 12, b"\xff\xff"), "GPT's header has 65535 bytes; expected 92 to 512"),
        (damaged(512 + 80, b"\xff\xff\xff", fix_crc=True), "has 16777215 entries of 128 bytes; expected at"),
        (damaged(512 + 84, b"\x10", fix_crc=True), "has 128 entries of 16 bytes; expected at most"),
        (image[:1500], "the CRC of its GPT's entries"),
    ]
    for content, message in cases:
        with pytest.raises(DiskImageError, match=f"^a damaged disk image: .*{message}"):
            read(content)

    backwards = bytearray(image)
    backwards[1024 + 32 : 1024 + 48] = struct.pack("<QQ", 9000, 8000)
    backwards[512 + 88 : 512 + 92] = struct.pack("<I", zlib.crc32(backwards[1024 : 1024 + 128 * 128]))
    image = bytes(backwards)
    with pytest.raises(DiskImageError, match="its partition 1 ends at sector 8000, before it begins at 9000"):
        read(damaged(0, b"", fix_crc=True))


def test_gpt_for_other_sectors(make: Callable[..., bytes]) -> None:
    image = bytearray(make(GPT))
    image[512:520], image[4096:4104] = bytes(8), b"EFI PART"
    with pytest.raises(DiskImageError, match="disks with sectors of 4096 bytes; expected 512"):
        read(bytes(image))


def test_damaged_chain_of_logical_partitions(make: Callable[..., bytes]) -> None:
    image = make(LOGICAL)
    extended = 10240 * 512
    without = image[:extended] + bytes(512) + image[extended + 512 :]
    with pytest.raises(DiskImageError, match="its extended partition has no table at sector 10240"):
        read(without)
    looped = bytearray(image)
    # The next table is the first one again.
    looped[extended + 470 : extended + 474] = bytes(4)
    with pytest.raises(DiskImageError, match="its chain of logical partitions comes back to sector 10240"):
        read(bytes(looped))


def made_by(path: Path, *command: str) -> bytes:
    path.write_bytes(bytes(2 * MIB))
    subprocess.run([*command, path], check=True, capture_output=True)
    return path.read_bytes()


def test_names_what_is_no_disk_image(make: Callable[..., bytes], tmp_path: Path, fat: bytes) -> None:
    path = tmp_path / "x"
    pi = make(PI)
    iso = bytearray(pi)
    iso[0x8001:0x8006] = b"CD001"
    (tmp_path / "packed").write_bytes(pi)

    def packed(*command: str) -> bytes:
        return subprocess.run([*command, tmp_path / "packed"], check=True, capture_output=True).stdout

    cases = [
        (b"", "an empty file"),
        (bytes(SIZE), "nothing but zeros"),
        (fat, "a FAT file system without a partition table"),
        (made_by(path, "mkfs.ext4", "-q"), "an ext2, ext3 or ext4 file system without a partition table"),
        (made_by(path, "mkswap"), "data of a kind not known"),
        (bytes(iso), "an ISO 9660 image, as for a DVD or an installer"),
        (packed("gzip", "-c"), "a gzip archive"),
        (packed("xz", "-c0"), "an xz archive"),
        (packed("zstd", "-qc"), "a zstd archive"),
        (packed("tar", "-C", "/", "-c"), "a tar archive"),
        (b"PK\x03\x04" + bytes(99), "a zip archive"),
        (b"QFI\xfb" + bytes(999), "a qcow2 image of a virtual machine"),
        (b"\n<!DOCTYPE html>\n<html><title>404 Not Found</title>", "a web page (HTML)"),
        (b"<html><body>\xc3\xa4" + b"x" * 2000, "a web page (HTML)"),
        (b'{"error": "not found"}', "a text file"),
        (b"0123abc  a.img\n" * 99, "a text file"),
        (b"\x01\x02\x03", "a file of 3 bytes"),
        (bytes(510) + b"\x55\xaa" + bytes(512), "data of a kind not known"),
        (Path("/bin/true").read_bytes(), "a program (ELF)"),
    ]
    for content, name in cases:
        for refuse in (lambda: check_head(head=content[:HEAD_SIZE]), lambda: read(content)):  # noqa: B023 - run at once
            with pytest.raises(DiskImageError) as error:
                refuse()
            assert str(error.value) == (
                f"not a disk image but {name}; expected the image of a whole disk, "
                f"with a partition table (MBR or GPT)"
            )
    check_head(head=pi[:HEAD_SIZE])


@given(st.data())
def test_nothing_else_is_raised(damage: st.DataObject) -> None:
    """Whatever stands in a table, it is read or refused."""
    table = bytearray(4096)
    table[510:512] = b"\x55\xaa"
    table[450] = damage.draw(st.sampled_from([0x0C, 0x05, 0xEE]))
    table[454:462] = damage.draw(st.binary(min_size=8, max_size=8))
    table[512:520] = b"EFI PART"
    table[520:604] = damage.draw(st.binary(min_size=84, max_size=84))
    try:
        found = read(bytes(table), damage.draw(st.none() | st.integers(0, 1 << 40)))
    except DiskImageError:
        return
    assert found.partitions
