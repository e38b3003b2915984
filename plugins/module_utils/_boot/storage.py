# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a boot partition: through mtools in a device or an image file, or in a folder where it is mounted.

Both kinds change files in the same order: everything new goes into a folder of its own and is flushed, then
moves to its place, then the folder goes. So a full partition or a write error leaves every file as it was,
and a power cut leaves the old files, or the new ones still in that folder; the next change clears it away.
"""

from __future__ import annotations

import array
import os
import re
import shutil
import stat
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: Runs a command as AnsibleModule.run_command does, and takes the same keywords.
MtoolsRunner = Callable[..., tuple[int, bytes, bytes]]

#: Where new files wait until all of them are complete.
STAGING = "bramble.new"

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
#: FAT has code pages for other letters; mtools has patterns, replaces some characters, and takes '-' for its
#: standard input.
_NAME_PART = re.compile(r"[A-Za-z0-9._]([A-Za-z0-9 ._+@=,#()-]{0,253}[A-Za-z0-9_+@=,#()-])?")
_SHORT_NAME = re.compile(r"[A-Z0-9_@#()-]{1,8}(\.[A-Z0-9_@#()-]{1,3})?")


class BootPartitionError(BrambleError):
    """The boot partition cannot be read or changed; the message says what was seen and what mends it."""


class Boot(Protocol):
    """The files of a boot partition. Names are relative, as in ``current/cmdline.txt``, in any case."""

    @property
    def where(self) -> str:
        """What messages call it."""

    @property
    def free(self) -> int:
        """How many bytes are free."""

    def names(self) -> tuple[str, ...]:
        """Return the name of every file, and of every folder with a slash at its end."""

    def find(self, name: str) -> str | None:
        """Return the name of a file or folder as it is there, folders with a slash at the end."""

    def load(self, names: Sequence[str]) -> None:
        """Read these files at once, as far as they are there."""

    def read(self, name: str) -> bytes | None:
        """Return what is in a file, or None if there is no such file."""

    def change(
        self, *, write: Mapping[str, bytes], remove: Sequence[str] = (), dry_run: bool = False
    ) -> None:
        """Write files and remove others, flushed to the device at the end; or only refuse what cannot be."""


def check_name(name: str) -> None:
    """Refuse a name that is not good for a file on a boot partition."""
    parts = name.split("/")
    bad = next((part for part in parts if not _NAME_PART.fullmatch(part) or not part.strip(".")), None)
    if bad is not None:
        raise BootPartitionError(
            f"the file name {name!r} has the part {bad!r}; wanted: 1 to 255 letters, digits, blanks and "
            f"'._+@=,#()-', the first a letter, digit, dot or '_', and the last no dot or blank, as in "
            f"'user-data' or 'overlays/my.dtbo'."
        )
    if parts[0].casefold() == STAGING:
        raise BootPartitionError(
            f"the file name {name!r} is kept for files that are being written; wanted: another name."
        )


def _split(name: str) -> tuple[str, str]:
    folder, slash, base = name.rpartition("/")
    return folder + slash, base


def _folders(name: str) -> list[str]:
    """Return the folders that a file lies in, outermost first, each with a slash at its end."""
    return [name[: match.end()] for match in re.finditer("/", name)]


def _slots(base: str) -> int:
    """Return how many entries of a FAT folder a name takes at most."""
    return 1 if _SHORT_NAME.fullmatch(base) else 2 + (len(base) - 1) // _LONG_NAME_PART


class _Names:
    """Names as they are written on the partition."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._known = {name.rstrip("/").casefold(): name for name in names}

    def find(self, name: str) -> str | None:
        """Return the name of a file or folder as it is there, folders with a slash at the end."""
        return self._known.get(name.rstrip("/").casefold())

    def file(self, name: str, where: str) -> str | None:
        found = self.find(name)
        if found and found.endswith("/"):
            raise BootPartitionError(f"{found} on {where} is a folder; wanted: a file, or another name.")
        return found

    def place(self, name: str, where: str) -> str:
        """Return a name for a new file: inside the folders that are there, under the names that they have."""
        there = self.file(name, where)
        if there:
            return there
        for folder in reversed(_folders(name)):
            known = self.find(folder)
            if known and not known.endswith("/"):
                raise BootPartitionError(f"{known} on {where} is a file; wanted: a folder, for {name}.")
            if known:
                return known + name[len(folder) :]
        return name


class _Plan(NamedTuple):
    """One change, with the names that count on the partition."""

    new_folders: tuple[str, ...]
    #: Files by the folder that they belong into.
    groups: tuple[tuple[str, dict[str, bytes]], ...]
    remove: tuple[str, ...]


def _plan(names: _Names, write: Mapping[str, bytes], remove: Sequence[str], where: str) -> _Plan:
    groups: dict[str, dict[str, bytes]] = {}
    new_folders: dict[str, str] = {}
    for name, data in write.items():
        check_name(name)
        path, base = _split(names.place(name, where))
        folder = ""
        for part in path.split("/")[:-1]:
            folder += f"{part}/"
            if not names.find(folder):
                # Two files may have it in different cases.
                folder = new_folders.setdefault(folder.casefold(), folder)
        groups.setdefault(folder, {})[base] = data
    there = [names.file(name, where) for name in remove]
    return _Plan(tuple(new_folders.values()), tuple(groups.items()), tuple(name for name in there if name))


def _stage(folder: str, plan: _Plan, *, flush: bool) -> None:
    """Write the new files below a folder, those of each group in a folder with its number."""
    for number, (_folder, files) in enumerate(plan.groups):
        group = os.path.join(folder, str(number))
        os.makedirs(group, mode=0o700)
        for base, data in files.items():
            with open(os.path.join(group, base), "wb") as file:
                file.write(data)
                if flush:
                    file.flush()
                    os.fsync(file.fileno())


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
                "there is no command 'mcopy'; wanted: the package mtools, by which files of a boot partition "
                "are changed without mounting it. Install mtools where this runs."
            )
        self.where = path
        self._offset = offset
        self._run = run
        self._listing: _Names | None = None
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
                f"{self.where} has no FAT file system at byte {self._offset}; wanted: a boot partition. "
                f"Set 'offset' to where it begins, or leave it out."
            )
        if geometry.bits == 12 or (geometry.bits == 32 and geometry.clusters < _FAT32_CLUSTERS):
            raise BootPartitionError(
                f"the boot partition of {self.where} is FAT{geometry.bits} with {geometry.clusters} "
                f"clusters; wanted: FAT16, or FAT32 with at least {_FAT32_CLUSTERS}, as mtools wants. "
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

    def _names(self) -> _Names:
        if self._listing is None:
            # What mtools says of something else is no help.
            self._geometry()
            output = self._mtools("mdir", "-/", "-b", "-a", "::", nothing=b'File "::" not found')
            lines = output.decode(errors="replace").splitlines()
            self._listing = _Names([line[len("::/") :] for line in lines if line.startswith("::/")])
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
                groups.setdefault(_split(there)[0], []).append(there)
        for group in groups.values():
            with tempfile.TemporaryDirectory(prefix="bramble-") as folder:
                self._mtools("mcopy", *(f"::/{name}" for name in group), f"{folder}/")
                for name in group:
                    with open(os.path.join(folder, _split(name)[1]), "rb") as file:
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

    def _require_room(self, plan: _Plan) -> None:
        """Refuse what does not fit. Nothing counts as free that is freed later: the old goes last."""
        geometry = self._geometry()
        # Entries that are added to each folder; a new one has two of its own.
        entries = {"": _slots(STAGING), f"{STAGING}/": 2 + len(plan.groups)}
        for folder in plan.new_folders:
            parent, base = _split(folder.rstrip("/"))
            entries[parent] = entries.get(parent, 0) + _slots(base)
            entries[folder] = 2
        for folder, files in plan.groups:
            added = sum(_slots(base) for base in files)
            entries[folder] = entries.get(folder, 0) + added
            entries[f"{STAGING}/{folder}/"] = 2 + added
        if geometry.root_entries:
            wanted_entries, free_entries = entries.pop(""), self._free_root_entries(geometry)
            if wanted_entries > free_entries:
                raise BootPartitionError(
                    f"the root folder of the boot partition of {self.where} has room for {free_entries} more "
                    f"entries, wanted: {wanted_entries}. Remove files from it or write fewer ('files')."
                )
        sizes = [len(data) for _folder, files in plan.groups for data in files.values()]
        sizes += [count * _SLOT for count in entries.values()]
        wanted = sum(-(-size // geometry.cluster) for size in sizes) * geometry.cluster
        free = self._free_clusters(geometry) * geometry.cluster
        if wanted > free:
            raise BootPartitionError(
                f"the boot partition of {self.where} has {free} bytes free, wanted: {wanted}, as new files "
                f"are written before old ones go. Remove files from it or write fewer ('files')."
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
        plan = _plan(self._names(), write, remove, self.where)
        if plan.groups:
            self._require_room(plan)
        if dry_run:
            return
        self._listing = None
        self._content.clear()
        if plan.groups:
            try:
                with tempfile.TemporaryDirectory(prefix="bramble-") as folder:
                    _stage(os.path.join(folder, STAGING), plan, flush=False)
                    self._mtools("mcopy", "-s", os.path.join(folder, STAGING), "::/")
                self._flush()
            except BootPartitionError:
                if self._names().find(STAGING):
                    self._mtools("mdeltree", f"::/{STAGING}")
                raise
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


class FolderBoot:
    """A folder in which a boot partition is mounted, or one that is served over the network as such."""

    def __init__(self, *, path: str) -> None:
        self.where = path
        self._listing: _Names | None = None

    def _path(self, name: str) -> str:
        return os.path.join(self.where, name)

    @property
    def free(self) -> int:
        room = os.statvfs(self.where)
        return room.f_bavail * room.f_frsize

    def _names(self) -> _Names:
        if self._listing is None:
            self._listing = _Names(list(self._walk()))
        return self._listing

    def _walk(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.where):
            inside = os.path.relpath(folder, self.where)
            prefix = "" if inside == "." else f"{inside}/"
            yield from (f"{prefix}{name}/" for name in sorted(folders))
            yield from (f"{prefix}{name}" for name in sorted(files))

    def names(self) -> tuple[str, ...]:
        return self._names().names

    def find(self, name: str) -> str | None:
        return self._names().find(name)

    def load(self, names: Sequence[str]) -> None:
        """Do nothing: what is in a folder is read quickly enough one by one."""

    def read(self, name: str) -> bytes | None:
        there = self._names().file(name, self.where)
        if not there:
            return None
        with open(self._path(there), "rb") as file:
            return file.read()

    def _require_room(self, plan: _Plan) -> None:
        room = os.statvfs(self.where)
        if room.f_flag & os.ST_RDONLY:
            raise BootPartitionError(
                f"{self.where} is on a file system that is mounted read-only; mount it writable "
                f"('mount -o remount,rw {self.where}') or look in the kernel's log why it is not."
            )
        if not os.access(self.where, os.W_OK):
            raise BootPartitionError(
                f"user {os.geteuid()} may not write to {self.where}; set 'become: true'."
            )
        sizes = [len(data) for _folder, files in plan.groups for data in files.values()]
        folders = 1 + len(plan.groups) + len(plan.new_folders)
        wanted = (sum(-(-size // room.f_frsize) for size in sizes) + folders) * room.f_frsize
        if sizes and wanted > self.free:
            raise BootPartitionError(
                f"{self.where} has {self.free} bytes free, wanted: {wanted}, as new files are written before "
                f"old ones go. Remove files from it or write fewer ('files')."
            )

    def _settle(self, staged: str, path: str) -> None:
        """Put a file in its place, with owner and mode of the one that is there, and follow links."""
        path = os.path.realpath(path)
        if os.path.exists(path):
            old, new = os.stat(path), os.stat(staged)
            # On FAT every file has the owner and mode of the mount, and neither can be changed.
            if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
                os.chown(staged, old.st_uid, old.st_gid)
            if old.st_mode != new.st_mode:
                os.chmod(staged, stat.S_IMODE(old.st_mode))
        os.replace(staged, path)

    def _flush(self, folder: str) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def change(
        self, *, write: Mapping[str, bytes], remove: Sequence[str] = (), dry_run: bool = False
    ) -> None:
        names = self._names()
        staging = self._path(STAGING)
        plan = _plan(names, write, remove, self.where)
        self._require_room(plan)
        if dry_run:
            return
        self._listing = None
        if os.path.isdir(staging):
            # Left by a run that was killed.
            shutil.rmtree(staging)
        try:
            _stage(staging, plan, flush=True)
            for folder in plan.new_folders:
                os.mkdir(self._path(folder))
            for number, (folder, files) in enumerate(plan.groups):
                for base in files:
                    self._settle(os.path.join(staging, str(number), base), self._path(folder + base))
                self._flush(self._path(folder))
            for name in plan.remove:
                os.unlink(self._path(name))
                self._flush(self._path(_split(name)[0]))
        finally:
            if os.path.isdir(staging):
                shutil.rmtree(staging)
