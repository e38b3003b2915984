# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices of macOS: what diskutil lists."""

from __future__ import annotations

import plistlib
from collections.abc import Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.block_devices import (
    BlockDevice,
    BlockDeviceError,
    listing,
    one_line,
)

_DISKUTIL = ["diskutil", "list", "-plist"]


def _plist(text: str) -> dict[str, Any]:
    try:
        content = plistlib.loads(text.encode())
    except (ValueError, plistlib.InvalidFileException) as error:
        raise BlockDeviceError(
            f"diskutil printed {text[:80]!r}; expected a property list. Run 'diskutil list -plist' by hand."
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
                model=one_line(info.get("MediaName")),
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


def disks(run: Runner) -> list[BlockDevice]:
    """List the disks of this machine."""
    found = listing(run, _DISKUTIL)
    infos = {name: listing(run, ["diskutil", "info", "-plist", name]) for name in whole_disks(listing=found)}
    return parse_diskutil(listing=found, infos=infos)
