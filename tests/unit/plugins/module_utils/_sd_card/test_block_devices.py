# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.block_devices import (
    BlockDevice,
    BlockDeviceError,
    contents,
    describe,
    human_size,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.find_devices import (
    find_device,
    list_devices,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.linux_disks import parse_lsblk
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.macos_disks import (
    parse_diskutil,
    whole_disks,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.refusals import (
    MAXIMUM_SIZE,
    Refusal,
    holds_system,
    is_card,
    refusals,
)
from hypothesis import given
from hypothesis import strategies as st

from tests import loop_devices

FIXTURES = Path(__file__).parents[3] / "fixtures/block_devices"
MIB = 2**20
GB = 10**9


def run(command: Sequence[str]) -> tuple[int, str, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def machine(name: str) -> dict[str, BlockDevice]:
    devices = parse_lsblk(text=(FIXTURES / f"{name}.json").read_text())
    return {device.name: device for device in devices}


def mac() -> dict[str, BlockDevice]:
    folder = FIXTURES / "diskutil"
    listing = (folder / "list.plist").read_text()
    infos = {name: (folder / f"{name}.plist").read_text() for name in whole_disks(listing=listing)}
    return {device.name: device for device in parse_diskutil(listing=listing, infos=infos)}


# Machines as lsblk and diskutil show them

#: What each disk is refused for; nothing for a candidate.
LINUX: dict[str, dict[str, list[str]]] = {
    "laptop": {
        "loop0": ["is a loop device", "is mounted on /snap/bare/5", "is write-protected"],
        "loop1": ["is a loop device", "is mounted on /snap/core20/2105", "is write-protected"],
        "loop2": ["is a loop device", "has no card in it"],
        "sda": [],
        "sdb": ["has no card in it"],
        "sdc": ["has no card in it"],
        "sdd": ["has no card in it"],
        "zram0": ["is not a removable disk", "swaps to /dev/zram0"],
        "nvme0n1": [
            "(/dev/nvme0n1p1 is /boot/efi)",
            "(/dev/nvme0n1p2 is /boot)",
            "(/dev/mapper/nvme0n1p3_crypt is /home, /)",
        ],
    },
    "raspberry-pi": {
        "sda": ["/dev/sda1 is mounted on /media/pi/USB STICK"],
        "mmcblk0": ["(/dev/mmcblk0p1 is /boot)", "(/dev/mmcblk0p2 is /)"],
    },
    "server": {
        "sda": ["(/dev/mapper/vg0-root is /)"],
        "sdb": ["(/dev/mapper/vg0-root is /)"],
        # A socket for hot plugging makes a disk call itself removable.
        "sdc": ["is not a removable disk"],
        "sdd": ["is larger than the largest card that is expected, 257.0 GB"],
        "sde": ["/dev/sde1 is a part of something else (LVM2_member)"],
        "sdf": ["is write-protected"],
        "sr0": ["is not a disk: its type is rom"],
    },
    "usb-system": {
        "sda": ["(/dev/sda1 is /boot/efi)", "(/dev/mapper/luks-root is /)"],
        "sdb": ["(crypto_LUKS)", "swaps to /dev/sdb2"],
        "mmcblk0": [],
        "nvme0n1": ["is not a removable disk", "(BitLocker)"],
    },
    "emmc": {
        "mmcblk1": [],
        "mmcblk0": ["is built into this machine"],
        "mmcblk0boot0": ["is built into this machine", "is write-protected"],
        "mmcblk0boot1": ["is built into this machine", "is write-protected"],
    },
}
MAC = {
    "disk0": ["(/dev/disk3s1 is /System/Volumes/Update/mnt1)", "(/dev/disk3s5 is /System/Volumes/Data)"],
    "disk4": ["/dev/disk4s1 is mounted on /Volumes/bootfs"],
    "disk5": [],
    "disk6": ["/dev/disk7s1 is mounted on /Volumes/Backup", "is larger than the largest card"],
    "disk8": ["is a loop device"],
    "disk9": ["has no card in it"],
}


def check(devices: dict[str, BlockDevice], expected: dict[str, list[str]]) -> None:
    assert list(devices) == list(expected)
    for name, reasons in expected.items():
        device = devices[name]
        found = refusals(device=device)
        assert len(found) == len(reasons), found
        for refusal, reason in zip(found, reasons):
            assert reason in refusal.reason
            # Each sentence says of which device it speaks, and the next one what to do.
            assert refusal.reason.startswith(describe(device))
            assert device.path in refusal.reason
            assert refusal.reason.endswith(".")
            assert refusal.remedy.endswith(".")
            if refusal.variable:
                assert refusal.variable in refusal.remedy


@pytest.mark.parametrize(
    ("name", "disk", "text"),
    [
        ("laptop", "sda", "2 partitions (268.4 MB vfat, 31.6 GB ext4)"),
        ("laptop", "loop0", "a file system (squashfs)"),
        ("raspberry-pi", "sda", "1 partition (63.9 GB exfat)"),
        ("usb-system", "mmcblk0", "1 partition (15.9 GB vfat)"),
        ("emmc", "mmcblk1", "no partitions"),
    ],
)
def test_contents(name: str, disk: str, text: str) -> None:
    assert contents(machine(name)[disk]) == text


@pytest.mark.parametrize("name", LINUX)
def test_machines(name: str) -> None:
    check(machine(name), LINUX[name])


def test_macs() -> None:
    devices = mac()
    check(devices, MAC)
    assert devices["disk5"].transport == "mmc", "the built-in reader"
    assert devices["disk5"].write_path == "/dev/rdisk5"
    assert "diskutil unmountDisk /dev/disk4" in refusals(device=devices["disk4"])[0].remedy
    assert not refusals(device=devices["disk8"], allow_loop=True)


def test_every_machine_is_tried() -> None:
    assert {path.stem for path in FIXTURES.glob("*.json")} == set(LINUX)


def test_a_card_in_a_reader_of_several_slots() -> None:
    device = machine("laptop")["sda"]
    assert describe(device) == "/dev/sda (Generic- SD/MMC, 31.9 GB, usb)"
    assert (device.serial, device.removable) == ("2012062914345300", True)
    assert [(part.path, part.fstype, part.parent) for part in device.children] == [
        ("/dev/sda1", "vfat", "/dev/sda"),
        ("/dev/sda2", "ext4", "/dev/sda"),
    ]
    assert describe(machine("laptop")["sdb"]) == "/dev/sdb (Generic- Compact Flash, empty, usb)"
    # A Pi has no name for its slot's transport before 2.37.
    assert machine("raspberry-pi")["mmcblk0"].transport == "mmc"


def test_a_partition_names_its_disk() -> None:
    part = machine("laptop")["sda"].children[0]
    (refusal,) = refusals(device=part)
    assert "is a partition" in refusal.reason
    assert refusal.remedy.endswith("set flash_device to /dev/sda.")


@pytest.mark.parametrize(
    ("size", "printed"),
    [
        (0, "0 bytes"),
        (512, "512 bytes"),
        (64 * MIB, "67.1 MB"),
        (15_931_539_456, "15.9 GB"),
        (256_087_425_024, "256.1 GB"),
        (2_000_398_934_016, "2.0 TB"),
    ],
)
def test_sizes_are_those_on_the_card(size: int, printed: str) -> None:
    assert human_size(size) == printed


CARD = BlockDevice("/dev/sdb", "sdb", "disk", 16 * GB, model="Reader", transport="usb", removable=True)


def only(device: BlockDevice, minimum_size: int = 0, maximum_size: int = MAXIMUM_SIZE) -> Refusal:
    (refusal,) = refusals(device=device, minimum_size=minimum_size, maximum_size=maximum_size)
    return refusal


def test_limits_of_size() -> None:
    assert not refusals(device=CARD, minimum_size=16 * GB, maximum_size=16 * GB)
    small = only(CARD, minimum_size=16 * GB + 1)
    assert small.variable is None
    assert "needs 16000000001 bytes, and it has 16000000000" in small.reason
    large = only(CARD, maximum_size=16 * GB - 1)
    assert large.variable == "flash_max_size"
    assert "set flash_max_size to 16000000000" in large.remedy
    # As large as what is printed as 256 GB gets.
    assert not refusals(device=CARD._replace(size=256_087_425_024))


def test_a_fixed_disk_is_allowed_by_name_only() -> None:
    disk = CARD._replace(transport="sata", removable=False, serial="S1")
    assert only(disk).variable == "flash_allow_fixed"
    assert "set flash_allow_fixed to ['S1']" in only(disk).remedy
    for name in ("S1", "/dev/sdb"):
        assert not refusals(device=disk, allow_fixed=[name])
    assert refusals(device=disk._replace(serial=""), allow_fixed=["", "/dev/sdc"])
    # No name helps against the running system.
    system = disk._replace(mountpoints=("/",))
    assert [refusal.variable for refusal in refusals(device=system, allow_fixed=["S1"])] == [None]


def test_what_is_busy_for_a_known_reason_is_not_named_twice() -> None:
    assert "has it for itself" in only(CARD._replace(busy=True)).reason
    mounted = only(CARD._replace(busy=True, mountpoints=("/media/card",)))
    assert "mounted on /media/card" in mounted.reason
    assert mounted.remedy == "If it is the card, unmount it ('umount /dev/sdb') and run this again."


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("crypt", "cryptsetup close /dev/mapper/x"),
        ("lvm", "lvchange --activate n /dev/mapper/x"),
        ("raid1", "mdadm --stop /dev/mapper/x"),
        ("raid10", "mdadm --stop /dev/mapper/x"),
        ("dm", "dmsetup remove /dev/mapper/x"),
    ],
)
def test_what_is_made_of_a_device_is_named(kind: str, command: str) -> None:
    part = BlockDevice(
        "/dev/sdb1", "sdb1", "part", GB, children=(BlockDevice("/dev/mapper/x", "dm-0", kind, GB),)
    )
    refusal = only(CARD._replace(children=(part,)))
    assert refusal.variable is None
    assert f"/dev/mapper/x (type {kind}) is made of it" in refusal.reason
    assert f"'{command}'" in refusal.remedy


@pytest.mark.parametrize("text", ["", "lsblk: unknown column", "[]", '{"blockdevices": 1}'])
def test_other_output_is_refused(text: str) -> None:
    with pytest.raises(BlockDeviceError, match="expected JSON"):
        parse_lsblk(text=text)


def test_diskutil_that_fails_is_refused() -> None:
    with pytest.raises(BlockDeviceError, match="expected a property list"):
        whole_disks(listing="Could not find disk")


def everything(devices: Sequence[BlockDevice]) -> Iterator[BlockDevice]:
    for device in devices:
        yield from device.family


ALL = [device for name in LINUX for device in everything(list(machine(name).values()))]


@given(
    device=st.sampled_from(ALL),
    mountpoint=st.sampled_from(["/", "/boot", "/media/card", "/run/media/user/STICK"]),
    allow_loop=st.booleans(),
)
def test_nothing_mounted_is_ever_written(device: BlockDevice, mountpoint: str, allow_loop: bool) -> None:
    part = BlockDevice(f"{device.path}1", "x", "part", 1, mountpoints=(mountpoint,))
    for mounted in (device._replace(mountpoints=(mountpoint,)), device._replace(children=(part,))):
        assert refusals(device=mounted, maximum_size=10**15, allow_loop=allow_loop, allow_fixed=[device.path])


# This machine's own devices


def sh(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True)


@contextmanager
def loop(image: Path, *options: str) -> Iterator[str]:
    path = loop_devices.attach(image, *options)
    try:
        yield path
    finally:
        loop_devices.detach(path)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "card.img"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    return path


def refusals_for(path: str, minimum_size: int = 0, maximum_size: int = MAXIMUM_SIZE) -> list[Refusal]:
    return refusals(
        device=find_device(run=run, path=path),
        minimum_size=minimum_size,
        maximum_size=maximum_size,
        allow_loop=True,
    )


def test_a_loop_device_is_a_card_if_it_is_allowed(image: Path, tmp_path: Path) -> None:
    with loop(image) as path:
        device = find_device(run=run, path=path)
        assert (device.path, device.type, device.size) == (path, "loop", 64 * MIB)
        assert not refusals_for(path)
        assert is_card(device=device, allow_loop=True)
        (refusal,) = refusals(device=device)
        assert refusal.variable == "flash_allow_loop"
        link = tmp_path / "usb-Reader_000000001532-0:0"
        link.symlink_to(os.path.relpath(path, tmp_path))
        assert find_device(run=run, path=str(link)).path == path
        assert [device.path for device in list_devices(run=run)].count(path) == 1


def test_sizes_of_a_loop_device(image: Path) -> None:
    with loop(image) as path:
        assert not refusals_for(path, minimum_size=64 * MIB, maximum_size=64 * MIB)
        assert "is too small" in refusals_for(path, minimum_size=64 * MIB + 512)[0].reason
        assert "is larger" in refusals_for(path, maximum_size=64 * MIB - 512)[0].reason


def test_a_mounted_device(image: Path, tmp_path: Path) -> None:
    sh("mkfs.ext4", "-q", image)
    folder = tmp_path / "mounted"
    folder.mkdir()
    with loop(image) as path, ExitStack() as stack:
        sh("mount", path, folder)
        stack.callback(sh, "umount", folder)
        (refusal,) = refusals_for(path)
        assert refusal.variable is None
        assert f"{path} is mounted on {folder}" in refusal.reason
        assert f"'umount {path}'" in refusal.remedy


def test_a_device_that_is_mounted_for_another_program_only(image: Path, tmp_path: Path) -> None:
    """As in a container: neither lsblk nor /proc/mounts shows it here."""
    sh("mkfs.ext4", "-q", image)
    folder = tmp_path / "mounted"
    folder.mkdir()
    with loop(image) as path:
        command = ["unshare", "--mount", "sh", "-c", f"mount {path} {folder} && echo mounted && read end"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout
            assert other.stdout.readline() == "mounted\n"
            (refusal,) = refusals_for(path)
            assert "has it for itself" in refusal.reason
            other.communicate("\n")
        assert not refusals_for(path)


def test_swap_in_use(image: Path) -> None:
    with loop(image) as path, ExitStack() as stack:
        sh("mkswap", "-q", path)
        assert not refusals_for(path), "an area for swap that is not used"
        sh("swapon", path)
        stack.callback(sh, "swapoff", path)
        (refusal,) = refusals_for(path)
        assert f"swaps to {path}" in refusal.reason
        assert f"'swapoff {path}'" in refusal.remedy


def test_a_write_protected_device(image: Path) -> None:
    with loop(image, "--read-only") as path:
        (refusal,) = refusals_for(path)
        assert "is write-protected" in refusal.reason


#: Offset and magic number, as blkid knows them.
LUKS = (0, b"LUKS\xba\xbe\x00\x01" + b"aes".ljust(32, b"\0") + b"xts".ljust(32, b"\0"))
RAID = (4096, b"\xfc\x4e\x2b\xa9\1".ljust(144, b"\0") + (8).to_bytes(8, "little"))


@pytest.mark.parametrize(("content", "fstype"), [(LUKS, "crypto_LUKS"), (RAID, "linux_raid_member")])
def test_a_part_of_something_else(image: Path, content: tuple[int, bytes], fstype: str) -> None:
    offset, magic = content
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(magic)
    with loop(image) as path:
        (refusal,) = refusals_for(path)
        assert f"({fstype})" in refusal.reason
        assert f"'wipefs --all {path}'" in refusal.remedy


def test_a_device_that_a_program_has_for_itself(image: Path) -> None:
    with loop(image) as path:
        descriptor = os.open(path, os.O_RDWR | os.O_EXCL)
        try:
            (refusal,) = refusals_for(path)
        finally:
            os.close(descriptor)
        assert "has it for itself" in refusal.reason
        assert not refusals_for(path)


def test_a_partition_of_a_device(image: Path) -> None:
    subprocess.run(["sfdisk", "--quiet", image], input=",,c\n", text=True, check=True)
    with loop(image) as path, ExitStack() as stack:
        sh("partx", "--add", path)
        stack.callback(sh, "partx", "--delete", path)
        part = Path(f"{path}p1")
        if not part.exists():
            # Where no udev does it.
            major, minor = Path(f"/sys/class/block/{part.name}/dev").read_text().split(":")
            os.mknod(part, 0o60600, os.makedev(int(major), int(minor)))
            stack.callback(part.unlink)
        (refusal,) = refusals_for(str(part))
        assert "is a partition" in refusal.reason
        assert refusal.remedy.endswith(f"set flash_device to {path}.")
        assert not refusals_for(path)


def test_a_card_in_the_same_slot_is_another_one(image: Path) -> None:
    ids = []
    for _card in range(2):
        with loop(image) as path:
            ids.append(find_device(run=run, path=path).id)
    assert all(name.startswith("/dev/loop") for name in ids)
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("size", "minimum", "printed", "desired"),
    [
        (25_160_000, 25_180_000, "25.2 MB", "25.3 MB"),
        (25_120_000, 25_180_000, "25.1 MB", "25.2 MB"),
        (25_199_999, 25_200_000, "25.2 MB", "25.3 MB"),
        (999_960_000, 1_000_000_000, "1000.0 MB", "1.1 GB"),
        (8 * GB, 31_900_000_001, "8.0 GB", "32.0 GB"),
        (100, 900, "100 bytes", "0.9 kB"),
        (899, 900, "899 bytes", "1.0 kB"),
    ],
)
def test_a_card_that_is_enough_looks_larger(size: int, minimum: int, printed: str, desired: str) -> None:
    card = machine("laptop")["sda"]._replace(size=size, children=())
    (refusal,) = refusals(device=card, minimum_size=minimum)
    assert printed in refusal.reason
    assert refusal.remedy == f"Take a card of {desired} or more."


@pytest.mark.parametrize("name", LINUX)
def test_only_cards_are_offered(name: str) -> None:
    text = (FIXTURES / f"{name}.json").read_text()
    disks = machine(name).values()

    def lsblk(_command: Sequence[str]) -> tuple[int, str, str]:
        return 0, text, ""

    with pytest.raises(BlockDeviceError) as error:
        find_device(run=lsblk, path="/dev/no-such-device")
    said = str(error.value)
    offered = {disk.path for disk in disks if f"{disk.path} (" in said}
    assert offered == {disk.path for disk in disks if is_card(device=disk, allow_loop=False)}
    assert not any(holds_system(disk) for disk in disks if disk.path in offered)
    assert ("of which none is in a reader now" in said) == (not offered)


def test_what_is_no_device(image: Path, tmp_path: Path) -> None:
    with pytest.raises(BlockDeviceError, match="No such file or directory"):
        find_device(run=run, path="/dev/no-such-device")
    with pytest.raises(BlockDeviceError, match=r"is a regular file.*losetup --find --show"):
        find_device(run=run, path=str(image))
    with pytest.raises(BlockDeviceError, match="is not a block device"):
        find_device(run=run, path=str(tmp_path))
    with loop(image) as path:
        pass
    with pytest.raises(BlockDeviceError, match="a block device without a disk in it"):
        find_device(run=run, path=path)


def test_a_missing_command_names_its_package() -> None:
    def missing(command: Sequence[str]) -> tuple[int, str, str]:
        raise FileNotFoundError(command[0])

    with pytest.raises(BlockDeviceError, match="no command lsblk; install the package util-linux"):
        list_devices(run=missing)


def test_a_command_that_fails_says_what_it_said() -> None:
    with pytest.raises(BlockDeviceError, match="failed with 1: unknown column"):
        list_devices(run=lambda _command: (1, "", "unknown column\n"))


def test_the_disk_of_the_running_system() -> None:
    disks = [
        device for device in list_devices(run=run) if any("/" in part.mountpoints for part in device.family)
    ]
    for disk in disks:
        (refusal, *_others) = refusals(device=disk, maximum_size=10**18, allow_fixed=[disk.path])
        assert "holds the running system" in refusal.reason
