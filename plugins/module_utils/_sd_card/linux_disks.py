# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices of Linux: what lsblk lists, and what the kernel itself says."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.block_devices import (
    BlockDevice,
    BlockDeviceError,
    call,
    listing,
    one_line,
)

_LSBLK = ["lsblk", "--json", "--bytes", "--all", "--output-all"]
_MEMORY = re.compile(r"z?ram\d+")
_EMMC_BOOT_AREA = re.compile(r"(mmcblk\d+)boot\d+")


def _flag(value: Any) -> bool:
    """Read a boolean, which lsblk up to 2.33 writes as text."""
    return value in {True, "1"}


def _lsblk_device(entry: Mapping[str, Any], built_in: Collection[str]) -> BlockDevice:
    mounts = [mount for mount in entry.get("mountpoints") or [entry.get("mountpoint")] if mount]
    subsystems = one_line(entry.get("subsystems")).split(":")
    transport = one_line(entry.get("tran"))
    if not transport:
        transport = next((name for name in ("usb", "mmc", "virtio") if name in subsystems), "")
    name = entry["kname"]
    path = entry["path"]
    vendor = one_line(entry.get("vendor"))
    return BlockDevice(
        path=path,
        name=name,
        type=one_line(entry.get("type")),
        size=int(entry.get("size") or 0),
        model=one_line(entry.get("model")),
        # A virtual disk has a PCI number here.
        vendor="" if vendor.startswith("0x") else vendor,
        serial=one_line(entry.get("serial")),
        transport=transport,
        removable=_flag(entry.get("rm")) or _flag(entry.get("hotplug")),
        read_only=_flag(entry.get("ro")),
        fstype=one_line(entry.get("fstype")),
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
            f"lsblk printed {text[:80]!r}; expected JSON of block devices; install util-linux 2.33 or later."
        ) from error


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
    _code, output, _errors = call(run, ["blkid", "-p", "-o", "value", "-s", "TYPE", device.path])
    children = tuple(_probe(child, run) for child in device.children)
    return device._replace(fstype=device.fstype or output.strip(), children=children)


def ask_kernel(device: BlockDevice, run: Runner) -> BlockDevice:
    """Add what lsblk does not know of a device that might be written."""
    writable = device.size > 0 and (device.by_card_reader or device.type == "loop")
    if writable:
        device = _probe(device, run)
    return device._replace(
        busy=writable and _is_busy(device.path), id=f"{device.path}{_sequence(device.name)}"
    )


def disks(run: Runner) -> list[BlockDevice]:
    """List the disks of this machine, neither memory disks nor loop devices without a file."""
    return [
        device
        for device in parse_lsblk(text=listing(run, _LSBLK))
        if not _MEMORY.fullmatch(device.name) and (device.size or device.type != "loop")
    ]
