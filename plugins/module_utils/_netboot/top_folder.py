# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder on the server that holds the trees of all nodes, and commands that work in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import (
    CommandError,
    Runner,
    output_of,
)
from ansible_collections.bramble.pi.plugins.module_utils._netboot.system import NetbootTreeError

#: Beside what is copied, for what is made in the tree.
_SPARE = 64 << 20
#: Trees hold programs with the rights of others, as the node likes; no user of the server is to run them.
_PRIVATE = ("before", "images", "new", "nfs", "scratch", "state")
#: Commands that a killed run leaves behind would go on writing into what the next run makes.
_WITH_ME = ("setpriv", "--pdeathsig", "KILL")


def entries(folder: str) -> list[os.DirEntry[str]]:
    """List what is in a folder, nothing if it is not there."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)
    return []


class TopFolder:
    """The folder of all trees."""

    def __init__(self, *, path: str, run: Runner) -> None:
        self.path = path
        self._run = run

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Let no other run work here."""
        os.makedirs(self.path, exist_ok=True)
        with open(f"{self.path}/.lock", "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def protect(self, changes: Changes) -> None:
        """Have the folders that only root of this machine may enter, which the NFS server runs as."""
        for name in _PRIVATE:
            path = f"{self.path}/{name}"
            if not os.path.isdir(path) or stat.S_IMODE(os.stat(path).st_mode) == 0o700:
                continue
            if changes.note(f"let nobody but root into {path}"):
                os.chmod(path, 0o700)

    @contextlib.contextmanager
    def scratch(self, node: str) -> Iterator[str]:
        """Have a folder that no node reaches, on the file system of the trees."""
        path = f"{self.path}/scratch/{node}"
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(f"{self.path}/scratch", mode=0o700, exist_ok=True)
        os.mkdir(path, 0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                os.rmdir(f"{self.path}/scratch")

    def command(self, *command: str, remedy: str = "") -> str:
        """Run a command that has to succeed, and that ends with this process."""
        try:
            return output_of(self._run, [*_WITH_ME, *command], remedy=remedy)
        except CommandError as error:
            if "No space left" in str(error):
                raise self._no_room(str(error).strip().splitlines()[-1]) from error
            raise

    def require_room(self, size: int) -> None:
        """Refuse to begin what would not fit."""
        room = os.statvfs(self.path)
        if room.f_bavail * room.f_frsize < size + _SPARE:
            raise self._no_room(f"expected {size + _SPARE}")

    def _no_room(self, why: str) -> NetbootTreeError:
        room = os.statvfs(self.path)
        return NetbootTreeError(
            f"there is no room in {self.path} ({room.f_bavail * room.f_frsize} bytes are free): {why}; "
            "remove something there, or set netboot_tree_dir to another file system. Nothing that is served "
            "was changed"
        )
