# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of files that a node boots with: refused where they would fail, with the original kept."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import replace_file
from ansible_collections.bramble.pi.plugins.module_utils._common.secrets import file_diff

_BACKUP_SUFFIX = ".bramble-original"


class FileEditError(BrambleError):
    """The file cannot be edited; the message says what was found and what fixes it."""


class FileEdit(NamedTuple):
    """One file, before and after."""

    path: str
    #: None if there is no such file.
    before: bytes | None
    after: bytes

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        # A file that is not there is as good as an empty one.
        return self.after != (self.before or b"")

    @property
    def backup(self) -> str:
        """The name of the copy of the file as it was before the first edit."""
        return self.path + _BACKUP_SUFFIX

    @property
    def diff(self) -> dict[str, str]:
        """The edit, as Ansible shows it."""
        return file_diff(
            path=self.path,
            before=(self.before or b"").decode(errors="replace"),
            after=self.after.decode(errors="replace"),
        )


def read_file(*, path: str) -> tuple[str, bytes]:
    """Return the real name of a file and what is in it."""
    real = os.path.realpath(path)
    if not os.path.exists(real):
        if os.path.islink(path):
            raise FileEditError(
                f"{path} is a link to {os.readlink(path)}, which does not exist. "
                f"Mount the boot partition ('mount /boot/firmware'), or set 'path'."
            )
        raise FileEditError(f"{path} does not exist. Set 'path' to the file that the node boots with.")
    if not stat.S_ISREG(os.stat(real).st_mode):
        raise FileEditError(f"{path} is not a regular file; set 'path' to the file that the node boots with.")
    with open(real, "rb") as file:
        return real, file.read()


def require_writable(*, path: str) -> None:
    """Refuse an edit of a file that cannot be replaced."""
    folder = os.path.dirname(path)
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise FileEditError(
            f"{path} has to be changed and is on a file system that is mounted read-only; "
            f"mount it writable ('mount -o remount,rw {folder}') or look in the kernel's log why it is not."
        )
    if not os.access(folder, os.W_OK):
        raise FileEditError(
            f"{path} is to be changed, and user {os.geteuid()} may not write to {folder}: set 'become: true'."
        )


def apply_edit(*, edit: FileEdit, backup: bool) -> None:
    """Write the file in one step that survives a power cut, its original beside it at the first time."""
    if backup and edit.before is not None and not os.path.lexists(edit.backup):
        replace_file(edit.backup, edit.before, like=edit.path)
    replace_file(edit.path, edit.after)


def backup_file(*, edit: FileEdit, backup: bool) -> str | None:
    """Return the copy of the original, if there is or will be one."""
    return edit.backup if os.path.lexists(edit.backup) or (edit.changed and backup) else None
