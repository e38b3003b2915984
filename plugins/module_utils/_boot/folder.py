# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a boot partition in a folder, where it is mounted or served from."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import (
    STAGING,
    BootPartitionError,
    Names,
    Plan,
    plan_change,
    split_name,
    stage,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.files import sync_renamed


class FolderBoot:
    """A folder in which a boot partition is mounted, or one that is served over the network as such."""

    def __init__(self, *, path: str) -> None:
        self.where = path
        self._listing: Names | None = None

    def _path(self, name: str) -> str:
        return os.path.join(self.where, name)

    @property
    def free(self) -> int:
        room = os.statvfs(self.where)
        return room.f_bavail * room.f_frsize

    def _names(self) -> Names:
        if self._listing is None:
            self._listing = Names(list(self._walk()))
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
        path = self._path(there)
        if os.path.islink(path) and not os.path.exists(path):
            raise BootPartitionError(
                f"{path} is a link to {os.readlink(path)}, which does not exist; expected a file: run 'rm "
                f"{path}', or put there what the link leads to."
            )
        with open(path, "rb") as file:
            return file.read()

    def _require_room(self, plan: Plan) -> None:
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
        needed = (sum(-(-size // room.f_frsize) for size in sizes) + folders) * room.f_frsize
        if sizes and needed > self.free:
            raise BootPartitionError(
                f"{self.where} has {self.free} bytes free; expected at least {needed}, as new files are "
                "written before old ones go. Remove files from it or write fewer ('files')."
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
        sync_renamed(path)

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
        plan = plan_change(names, write, remove, self.where)
        self._require_room(plan)
        if dry_run:
            return
        self._listing = None
        if os.path.isdir(staging):
            # Left by a run that was killed.
            shutil.rmtree(staging)
        try:
            stage(staging, plan, flush=True)
            for folder in plan.new_folders:
                os.mkdir(self._path(folder))
            for number, (folder, files) in enumerate(plan.groups):
                for base in files:
                    self._settle(os.path.join(staging, str(number), base), self._path(folder + base))
            for name in plan.remove:
                os.unlink(self._path(name))
                self._flush(self._path(split_name(name)[0]))
        finally:
            if os.path.isdir(staging):
                shutil.rmtree(staging)
