# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text files of a node: read if there, written in one step."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import IO

#: The first line of a file that is the collection's own.
MANAGED = "# Written by the collection bramble.pi; changes are overwritten.\n"

# Bytes that are not UTF-8 survive reading and writing.
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}
_TEMPORARY_SUFFIX = ".bramble-new-"


def read_text(path: str) -> str | None:
    """Return the content of a file, or None if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read().decode(**_ENCODING)
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Have errors name the file that is meant, and not none or the temporary one in its place."""
    try:
        yield
    except OSError as error:
        error.filename = path
        with contextlib.suppress(AttributeError):
            del error.filename2
        raise


def write_text(path: str, text: str, *, mode: int = 0o644) -> None:
    """Replace a file in one step that survives a power cut; a file that is there keeps its owner and mode."""
    path = os.path.realpath(path)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    replace_file(path, text.encode(**_ENCODING), mode=mode)


def replace_file(
    path: str,
    data: bytes,
    *,
    mode: int = 0o644,
    owner: tuple[int, int] | None = None,
    like: str | None = None,
) -> None:
    """Put a file in place of whatever has this name, in one step that survives a power cut.

    With ``owner``, a user's and a group's number, it gets these and ``mode``. Else it gets owner and mode of
    the file ``like``, or of the one that is there; only a new one gets ``mode``. A file that is a mount point
    itself, as containers have them, cannot be replaced: it is rewritten, which a power cut may interrupt.
    """
    with naming(path):
        _replace_file(path, data, mode=mode, owner=owner, like=like)


def _replace_file(
    path: str, data: bytes, *, mode: int, owner: tuple[int, int] | None, like: str | None
) -> None:
    folder, name = os.path.split(path)
    prefix = f".{name}{_TEMPORARY_SUFFIX}"
    _remove_leftovers(folder, prefix)
    descriptor, temporary = tempfile.mkstemp(prefix=f"{prefix}{os.getpid()}-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is None:
                owner, mode = _owner_and_mode(like or path, mode)
            _give(file.fileno(), owner, mode)
            _write_through(file, data)
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if not isinstance(error, OSError) or error.errno != errno.EBUSY:
            raise
        with open(path, "wb") as file:
            _write_through(file, data)
        return
    sync_renamed(path)


def sync_renamed(path: str) -> None:
    """Write down that a file has got its name, so that a power cut leaves it, or the one before.

    The file first, and then its folder: on Linux' FAT the entry of a renamed file is written with that file.
    Until then the disk has the entry of the file before, whose clusters are marked as free by then.
    """
    for name in (path, os.path.dirname(path) or "."):
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_leftovers(folder: str, prefix: str) -> None:
    """Remove what runs that were killed left behind; another that still writes keeps its own."""
    for entry in os.listdir(folder):
        if entry.startswith(prefix) and not _is_running(entry[len(prefix) :].partition("-")[0]):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, entry))


def _is_running(process: str) -> bool:
    if not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _owner_and_mode(path: str, mode: int) -> tuple[tuple[int, int] | None, int]:
    try:
        present = os.stat(path)
    except FileNotFoundError:
        return None, mode
    return (present.st_uid, present.st_gid), stat.S_IMODE(present.st_mode)


def _give(descriptor: int, owner: tuple[int, int] | None, mode: int) -> None:
    """Give a file owner and mode. On FAT every file has those of the mount, and neither can be changed."""
    new = os.fstat(descriptor)
    if owner and owner != (new.st_uid, new.st_gid):
        os.fchown(descriptor, *owner)
    if mode != stat.S_IMODE(new.st_mode):
        os.fchmod(descriptor, mode)


def _write_through(file: IO[bytes], data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def free_backup_name(path: str) -> str:
    """Return a name beside a file under which it can be kept as it was; those that are taken stay."""
    number = 1
    while os.path.lexists(f"{path}.before-bramble.{number}"):
        number += 1
    return f"{path}.before-bramble.{number}"


class NodeFiles:
    """The files of the node, by which the layout of its boot partition is found."""

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
