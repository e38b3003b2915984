# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of another system's tree, without following its links out of it: they mean its own root."""

from __future__ import annotations

import os
import stat

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import replace_file


class TreeError(BrambleError):
    """The tree leads out of itself."""


class TreeFiles:
    """A root file system in a folder; remembers what was changed, or would be."""

    def __init__(self, *, root: str, dry_run: bool) -> None:
        self.root = os.path.realpath(root)
        self._dry_run = dry_run
        self.changed: list[str] = []

    def path(self, name: str) -> str:
        """Return where a file is, whose folders may be links within the tree."""
        folder, _slash, base = name.rpartition("/")
        real = os.path.realpath(os.path.join(self.root, folder))
        if real != self.root and not real.startswith(f"{self.root}/"):
            raise TreeError(
                f"{self.root}/{folder} is a link that leads to {real}, out of the node's tree; wanted is a "
                "folder in it: look what the node has done there"
            )
        return os.path.join(real, base)

    def exists(self, name: str) -> bool:
        """Tell whether there is anything of that name, be it a link to nowhere."""
        return os.path.lexists(self.path(name))

    def read(self, name: str) -> str | None:
        """Return the text of a file, None if it is not there or a link."""
        path = self.path(name)
        if not os.path.isfile(path) or os.path.islink(path):
            return None
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "surrogateescape")

    def folder(self, name: str, *, mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> None:
        """Have a folder; one that is there keeps what it has."""
        path = self.path(name)
        if os.path.isdir(path):
            return
        self.changed.append(name)
        if not self._dry_run:
            os.makedirs(path, mode=mode)
            os.chown(path, *owner)

    def write(
        self, name: str, text: str, *, mode: int | None = None, owner: tuple[int, int] | None = None
    ) -> None:
        """Have a file of this text in place of whatever is there; a file keeps mode and owner unless told."""
        path = self.path(name)
        present = os.lstat(path) if os.path.lexists(path) else None
        regular = present is not None and stat.S_ISREG(present.st_mode)
        if mode is None:
            mode = stat.S_IMODE(present.st_mode) if present and regular else 0o644
        if owner is None:
            owner = (present.st_uid, present.st_gid) if present and regular else (0, 0)
        is_so = present and (stat.S_IMODE(present.st_mode), present.st_uid, present.st_gid) == (mode, *owner)
        if regular and is_so and self.read(name) == text:
            return
        self.changed.append(name)
        if self._dry_run:
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        replace_file(path, text.encode("utf-8", "surrogateescape"), mode=mode, owner=owner)

    def link(self, name: str, target: str) -> None:
        """Have a symbolic link."""
        path = self.path(name)
        if os.path.islink(path) and os.readlink(path) == target:
            return
        self.changed.append(name)
        if self._dry_run:
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._unlink(path)
        os.symlink(target, path)

    def remove(self, name: str) -> None:
        """Have no file or link of that name."""
        path = self.path(name)
        if not os.path.lexists(path):
            return
        self.changed.append(name)
        if not self._dry_run:
            self._unlink(path)

    @staticmethod
    def _unlink(path: str) -> None:
        if os.path.lexists(path):
            os.unlink(path)
