# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a boot partition in a device or an image file: a FAT file system, through mtools."""

from __future__ import annotations

import array
import os
import re
import shutil
import struct
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import (
    STAGING,
    BootPartitionError,
    MtoolsRunner,
    Names,
    Plan,
    plan_change,
    split_name,
    stage,
)

_ENVIRONMENT = {
    # Settings of the user who runs this would change names and sizes.
    "MTOOLSRC": os.devnull,
    "MTOOLS_LOWER_CASE": "0",
    "MTOOLS_NO_VFAT": "0",
    # Partitions need not be whole tracks, which no card has.
    "MTOOLS_SKIP_CHECK": "1",
    "LC_ALL": "C.UTF-8",
}
#: The least clusters of each kind, by Microsoft's specification.
_FAT16_CLUSTERS = 4085
_FAT32_CLUSTERS = 65525
_SLOT = 32
_LONG_NAME_PART = 13
_SHORT_NAME = re.compile(r"[A-Z0-9_@#()-]{1,8}(\.[A-Z0-9_@#()-]{1,3})?")


def _slots(base: str) -> int:
    """Return how many entries of a FAT folder a name takes at most."""
    return 1 if _SHORT_NAME.fullmatch(base) else 2 + (len(base) - 1) // _LONG_NAME_PART


class Geometry(NamedTuple):
    """What the first sector of a FAT file system says, in bytes where nothing else is said."""

    cluster: int
    clusters: int
    fat: int
    root: int
    #: Entries of the root folder; 0 where it grows as others do.
    root_entries: int
    #: Bits of an entry of the allocation table.
    bits: int


def read_geometry(sector: bytes) -> Geometry | None:
    """Read the first sector of a FAT file system; None if it is none."""
    if len(sector) < 512 or sector[510:512] != b"\x55\xaa" or sector[0] not in (0xE9, 0xEB):
        return None
    size, per_cluster, reserved, fats, root_entries, sectors = struct.unpack_from("<HBHBHH", sector, 11)
    fat_sectors, large_sectors, large_fat_sectors = struct.unpack_from("<H8xII", sector, 22)
    if size not in (512, 1024, 2048, 4096) or not reserved or fats not in (1, 2):
        return None
    if not per_cluster or per_cluster & (per_cluster - 1):
        return None
    root = reserved + fats * (fat_sectors or large_fat_sectors)
    data = root + -(-root_entries * _SLOT // size)
    clusters = ((sectors or large_sectors) - data) // per_cluster
    bits = 32 if not fat_sectors else 16 if clusters >= _FAT16_CLUSTERS else 12
    return Geometry(size * per_cluster, clusters, reserved * size, root * size, root_entries, bits)


class FatBoot:
    """A FAT file system in a device or an image file, through mtools."""

    def __init__(self, *, path: str, offset: int, run: MtoolsRunner) -> None:
        if not shutil.which("mcopy"):
            raise BootPartitionError(
                "there is no command 'mcopy'; expected the package mtools, by which files of a boot "
                "partition are changed without mounting it. Install mtools where this runs."
            )
        self.where = path
        #: Whether a change has come so far that files may be others than before, should it fail.
        self.moved = False
        self._offset = offset
        self._run = run
        self._listing: Names | None = None
        self._content: dict[str, bytes] = {}

    def _mtools(self, command: str, *arguments: str, nothing: bytes | None = None) -> bytes:
        """Run a command; ``nothing`` is the error that means that there is nothing to put out."""
        line = [command, "-i", f"{self.where}@@{self._offset}", *arguments]
        code, output, error = self._run(
            line, encoding=None, environ_update=_ENVIRONMENT, expand_user_and_vars=False
        )
        if code and not (nothing and nothing in error):
            said = error.decode(errors="replace").strip() or output.decode(errors="replace").strip()
            raise BootPartitionError(
                f"'{' '.join(line[:3])}' failed on the boot partition: {said or f'status {code}'}. Check it "
                f"with 'fsck.vfat -n', or write the image to the card again."
            )
        return output

    def _pread(self, length: int, offset: int) -> bytes:
        with open(self.where, "rb", buffering=0) as file:
            return os.pread(file.fileno(), length, self._offset + offset)

    def _geometry(self) -> Geometry:
        geometry = read_geometry(self._pread(512, 0))
        if geometry is None:
            raise BootPartitionError(
                f"{self.where} has no FAT file system at byte {self._offset}; expected a boot partition. "
                f"Set 'offset' to where it begins, or leave it out."
            )
        if geometry.bits == 12 or (geometry.bits == 32 and geometry.clusters < _FAT32_CLUSTERS):
            raise BootPartitionError(
                f"the boot partition of {self.where} is FAT{geometry.bits} with {geometry.clusters} "
                f"clusters; expected FAT16, or FAT32 with at least {_FAT32_CLUSTERS}, as mtools requires. "
                f"Mount it and set 'path' to the folder."
            )
        return geometry

    def _free_clusters(self, geometry: Geometry) -> int:
        """Count in the allocation table itself: the count beside it is stale after a power cut."""
        entries = array.array("H" if geometry.bits == 16 else "I")
        entries.frombytes(self._pread((geometry.clusters + 2) * entries.itemsize, geometry.fat))
        if sys.byteorder == "big":
            entries.byteswap()
        return entries.count(0)

    @property
    def free(self) -> int:
        geometry = self._geometry()
        return self._free_clusters(geometry) * geometry.cluster

    def _names(self) -> Names:
        if self._listing is None:
            # What mtools says of something else is no help.
            self._geometry()
            output = self._mtools("mdir", "-/", "-b", "-a", "::", nothing=b'File "::" not found')
            lines = output.decode(errors="replace").splitlines()
            self._listing = Names([line[len("::/") :] for line in lines if line.startswith("::/")])
        return self._listing

    def names(self) -> tuple[str, ...]:
        return self._names().names

    def find(self, name: str) -> str | None:
        return self._names().find(name)

    def load(self, names: Sequence[str]) -> None:
        groups: dict[str, list[str]] = {}
        for name in names:
            there = self._names().file(name, self.where)
            if there and there not in self._content:
                groups.setdefault(split_name(there)[0], []).append(there)
        for group in groups.values():
            with tempfile.TemporaryDirectory(prefix="bramble-") as folder:
                self._mtools("mcopy", *(f"::/{name}" for name in group), f"{folder}/")
                for name in group:
                    with open(os.path.join(folder, split_name(name)[1]), "rb") as file:
                        self._content[name] = file.read()

    def read(self, name: str) -> bytes | None:
        there = self._names().file(name, self.where)
        if not there:
            return None
        self.load([there])
        return self._content[there]

    def extract(self, folder: str) -> None:
        """Copy all that is on it into a folder."""
        self._mtools("mcopy", "-s", "-n", "-m", "::*", folder)

    def _free_root_entries(self, geometry: Geometry) -> int:
        """Count the entries of a root folder of fixed size after the last one in use."""
        first_bytes = self._pread(geometry.root_entries * _SLOT, geometry.root)[::_SLOT]
        return len(first_bytes) - len(first_bytes.rstrip(b"\0"))

    def _require_room(self, plan: Plan) -> None:
        """Refuse what does not fit. Nothing counts as free that is freed later: the old goes last."""
        geometry = self._geometry()
        # Entries that are added to each folder; a new one has two of its own.
        entries = {"": _slots(STAGING), f"{STAGING}/": 2 + len(plan.groups)}
        for folder in plan.new_folders:
            parent, base = split_name(folder.rstrip("/"))
            entries[parent] = entries.get(parent, 0) + _slots(base)
            entries[folder] = 2
        for folder, files in plan.groups:
            added = sum(_slots(base) for base in files)
            entries[folder] = entries.get(folder, 0) + added
            entries[f"{STAGING}/{folder}/"] = 2 + added
        if geometry.root_entries:
            needed_entries, free_entries = entries.pop(""), self._free_root_entries(geometry)
            if needed_entries > free_entries:
                raise BootPartitionError(
                    f"the root folder of the boot partition of {self.where} has room for {free_entries} more "
                    f"entries; expected at least {needed_entries}. Remove "
                    "files from it or write fewer ('files')."
                )
        sizes = [len(data) for _folder, files in plan.groups for data in files.values()]
        sizes += [count * _SLOT for count in entries.values()]
        needed = sum(-(-size // geometry.cluster) for size in sizes) * geometry.cluster
        free = self._free_clusters(geometry) * geometry.cluster
        if needed > free:
            raise BootPartitionError(
                f"the boot partition of {self.where} has {free} bytes free; expected at least {needed}, as "
                "new files are written before old ones go. Remove files from it or write fewer ('files')."
            )

    def _flush(self) -> None:
        descriptor = os.open(self.where, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def change(
        self, *, write: Mapping[str, bytes], remove: Sequence[str] = (), dry_run: bool = False
    ) -> None:
        if self._names().find(STAGING) and not dry_run:
            # Left by a run that was killed.
            self._mtools("mdeltree", f"::/{STAGING}")
        plan = plan_change(self._names(), write, remove, self.where)
        if plan.groups:
            self._require_room(plan)
        if dry_run:
            return
        self._listing = None
        self._content.clear()
        if plan.groups:
            try:
                with tempfile.TemporaryDirectory(prefix="bramble-") as folder:
                    stage(os.path.join(folder, STAGING), plan, flush=False)
                    self._mtools("mcopy", "-s", os.path.join(folder, STAGING), "::/")
                self._flush()
            except BootPartitionError:
                if self._names().find(STAGING):
                    self._mtools("mdeltree", f"::/{STAGING}")
                raise
        self.moved = True
        if plan.new_folders:
            self._mtools("mmd", *(f"::/{folder.rstrip('/')}" for folder in plan.new_folders))
        for number, (folder, files) in enumerate(plan.groups):
            staged = (f"::/{STAGING}/{number}/{base}" for base in files)
            self._mtools("mmove", "-D", "o", *staged, f"::/{folder}")
        if plan.remove:
            self._mtools("mdel", *(f"::/{name}" for name in plan.remove))
        if plan.groups:
            self._flush()
            self._mtools("mdeltree", f"::/{STAGING}")
        self._flush()
