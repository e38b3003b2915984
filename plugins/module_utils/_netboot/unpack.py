# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpack an OS image into two folders, of which the trees of all its nodes are copies."""

from __future__ import annotations

import os
import shutil

from ansible_collections.bramble.pi.plugins.module_utils._boot.fat import FatBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import MtoolsRunner
from ansible_collections.bramble.pi.plugins.module_utils._netboot.system import NetbootTreeError
from ansible_collections.bramble.pi.plugins.module_utils._netboot.top_folder import TopFolder
from ansible_collections.bramble.pi.plugins.module_utils._os_image.formats import open_image
from ansible_collections.bramble.pi.plugins.module_utils._os_image.partition_table import (
    Partition,
    find_boot_partition,
    read_partition_table,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.plan import Prepared

_BUFFER = 4 << 20


def unpack(*, top: TopFolder, prepared: Prepared, mtools: MtoolsRunner) -> str:
    """Return the folder with the image's two file systems, unpacked if it is not there."""
    folder = f"{top.path}/images/{prepared.image_map.sha256}"
    if os.path.isdir(folder):
        return folder
    part = f"{folder}.part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(os.path.dirname(part), mode=0o700, exist_ok=True)
    os.makedirs(f"{part}/boot")
    os.makedirs(f"{part}/root")
    # The disk as a file, and what is copied out of it.
    top.require_room(2 * prepared.image_map.data_bytes)
    FatBoot(path=prepared.boot_path, offset=prepared.boot_offset, run=mtools).extract(f"{part}/boot")
    partition = _unpack_disk(prepared, f"{part}/disk")
    where = f"offset={partition.offset},sizelimit={partition.size}"
    # Mounted for this command alone, so that no run leaves a mount behind.
    script = 'mount -o "ro,loop,$1" "$2" "$3" && exec cp -a "$3/." "$4"'
    os.mkdir(f"{part}/mnt")
    top.command(
        *("unshare", "--mount", "sh", "-c", script, "sh", where),
        *(f"{part}/disk", f"{part}/mnt", f"{part}/root"),
        remedy="expected a root file system that this machine's kernel mounts, and loop devices",
    )
    os.rmdir(f"{part}/mnt")
    os.unlink(f"{part}/disk")
    top.command("sync", "--file-system", part)
    os.rename(part, folder)
    return folder


def _unpack_disk(prepared: Prepared, path: str) -> Partition:
    buffer = bytearray(_BUFFER)
    with open_image(path=prepared.path) as reader, open(path, "xb") as disk:
        position = 0
        while count := reader.readinto(buffer):
            view = memoryview(buffer)[:count]
            for first, length in prepared.image_map.data:
                begin, end = max(first, position), min(first + length, position + count)
                if begin < end:
                    os.pwrite(disk.fileno(), view[begin - position : end - position], begin)
            position += count
        disk.truncate(position)
    with open(path, "rb", buffering=0) as disk:
        table = read_partition_table(read=lambda offset, length: os.pread(disk.fileno(), length, offset))
    boot = find_boot_partition(table=table)
    others = [partition for partition in table.partitions if partition.offset >= boot.end]
    if not others:
        raise NetbootTreeError(
            f"{prepared.name} has no partition after the one that a Pi boots from; expected one with "
            "the root file system: set flash_image to the image of a whole card"
        )
    return max(others, key=lambda partition: partition.size)
