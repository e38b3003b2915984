# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text files of a node: read if there, written in one step."""

from __future__ import annotations

import errno
import os
import stat
import tempfile

#: The first line of a file that is the collection's own.
MANAGED = "# Written by the collection bramble.pi; changes are overwritten.\n"

# Bytes that are not UTF-8 survive reading and writing.
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}


def read_text(path: str) -> str | None:
    """Return the content of a file, or None if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read().decode(**_ENCODING)
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_text(path: str, text: str, *, mode: int = 0o644) -> None:
    """Replace a file in one step that survives a power cut; a file that is there keeps its owner and mode."""
    path = os.path.realpath(path)
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    content = text.encode(**_ENCODING)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            try:
                present = os.stat(path)
            except FileNotFoundError:
                os.fchmod(descriptor, mode)
            else:
                os.fchown(descriptor, present.st_uid, present.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(present.st_mode))
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        os.unlink(temporary)
        # A file that is itself a mount point, as containers have them, can be rewritten but not replaced.
        if error.errno != errno.EBUSY:
            raise
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_backup_name(path: str) -> str:
    """Return a name beside a file under which it can be kept as it was; those that are taken stay."""
    number = 1
    while os.path.lexists(f"{path}.before-bramble.{number}"):
        number += 1
    return f"{path}.before-bramble.{number}"


class NodeFiles:
    """The files of the node, by which the layout of its boot partition is judged."""

    def read(self, path: str) -> str | None:
        """Return the text of a file, or None if there is no such file."""
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def exists(self, path: str) -> bool:
        """Tell whether there is anything of that name, be it a link to nowhere."""
        return os.path.lexists(path)
