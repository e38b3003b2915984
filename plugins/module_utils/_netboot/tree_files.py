# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a tree that a node writes to over NFS: nothing there is trusted, and all may change at any moment.

Every folder is opened from the one that it lies in, and no link is followed by the kernel: a link of the tree
means the tree's own root. What is then read or written is the folder that was opened, whatever its name has
become since.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: As many as the kernel follows.
_MOST_LINKS = 40
#: More than any file has that is read here; a sparse one of a node could be larger than the memory.
_LARGEST = 32 << 20
_NEW_SUFFIX = ".bramble-new-"


class TreeError(BrambleError):
    """The tree leads out of itself, or holds what cannot be there."""


def _lstat(name: str, folder: int) -> os.stat_result | None:
    with contextlib.suppress(FileNotFoundError):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    return None


def _readlink(name: str, folder: int) -> str | None:
    """Return where a link leads, None for anything else."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _content(name: str, folder: int) -> bytes | None:
    """Return what is in a file, None for anything else; no device is opened, and no FIFO waited for."""
    try:
        # This opens nothing yet, so that what was looked at is what is opened.
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            return None
        with open(f"/proc/self/fd/{found}", "rb") as file:
            data = file.read(_LARGEST + 1)
    finally:
        os.close(found)
    if len(data) > _LARGEST:
        raise TreeError(
            f"{name} has more than {_LARGEST} bytes; expected a file as an OS image has it: look what the "
            "node has done there, and remove it"
        )
    return data


def _create(name: str, folder: int, data: bytes, mode: int, owner: tuple[int, int]) -> None:
    descriptor = os.open(name, _NEW, 0o600, dir_fd=folder)
    with os.fdopen(descriptor, "wb") as file:
        os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _walk(folder: int, prefix: str) -> Iterator[str]:
    for name in sorted(os.listdir(folder)):
        try:
            inner = os.open(name, _FOLDER, dir_fd=folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            yield f"{prefix}{name}"
            continue
        try:
            yield f"{prefix}{name}/"
            yield from _walk(inner, f"{prefix}{name}/")
        finally:
            os.close(inner)


def _copy(source: int, target: int, owner: tuple[int, int]) -> None:
    """Copy folders, files and links; nothing that is there already is written to."""
    for name in sorted(os.listdir(source)):
        status = _lstat(name, source)
        if status is None or _lstat(name, target) is not None:
            continue
        link = _readlink(name, source)
        if link is not None:
            os.symlink(link, name, dir_fd=target)
            os.chown(name, *owner, dir_fd=target, follow_symlinks=False)
        elif stat.S_ISREG(status.st_mode):
            data = _content(name, source)
            if data is not None:
                _create(name, target, data, stat.S_IMODE(status.st_mode), owner)
        elif stat.S_ISDIR(status.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            with contextlib.ExitStack() as stack:
                inner = [os.open(name, _FOLDER, dir_fd=folder) for folder in (source, target)]
                for descriptor in inner:
                    stack.callback(os.close, descriptor)
                _copy(inner[0], inner[1], owner)
                os.fchown(inner[1], *owner)
                os.fchmod(inner[1], stat.S_IMODE(status.st_mode))


def _remove_all(name: str, folder: int) -> None:
    try:
        inner = os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(name, dir_fd=folder)
        return
    try:
        for entry in os.listdir(inner):
            _remove_all(entry, inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)


class TreeFiles:
    """A root file system in a folder; remembers what was changed, or would be."""

    def __init__(self, *, root: str, dry_run: bool) -> None:
        """Take the folder, whose own path only the server can change."""
        self.root = os.path.realpath(root)
        self._dry_run = dry_run
        self.changed: list[str] = []

    @contextlib.contextmanager
    def _opened(self, name: str, *, strict: bool = False, make: bool = False) -> Iterator[int | None]:
        """Open a folder, None if it is not there.

        ``strict`` refuses a link that leads to no folder of the tree, ``make`` makes folders that are not
        there.
        """
        with contextlib.ExitStack() as stack:
            try:
                yield self._descend(name, stack, strict=strict, make=make)
            except OSError as error:
                # The kernel was told no more than a name in a folder.
                error.filename = f"{self.root}/{name}"
                raise

    def _descend(self, name: str, stack: contextlib.ExitStack, *, strict: bool, make: bool) -> int | None:
        def opened(part: str, parent: int | None) -> int:
            descriptor = os.open(part, _FOLDER, dir_fd=parent)
            stack.callback(os.close, descriptor)
            return descriptor

        folders = [opened(self.root, None)]
        parts = name.split("/")[::-1]
        link, links = "", 0
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(folders) == 1:
                    if strict:
                        raise self._out(name, link)
                    return None
                folders.pop()
                continue
            try:
                folders.append(opened(part, folders[-1]))
                continue
            except FileNotFoundError:
                if strict and link:
                    raise self._out(name, link) from None
                if not make:
                    return None
                os.mkdir(part, 0o755, dir_fd=folders[-1])
                parts.append(part)
                continue
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
            target = _readlink(part, folders[-1])
            if target is None:
                if strict:
                    raise TreeError(
                        f"{self.root}/{name}: {part} is a file; expected a folder: look what the node has "
                        "done there, and remove it"
                    )
                return None
            link, links = target, links + 1
            if links > _MOST_LINKS:
                if strict:
                    raise self._out(name, link)
                return None
            if target.startswith("/"):
                del folders[1:]
            parts += target.split("/")[::-1]
        return folders[-1]

    def _out(self, name: str, link: str) -> TreeError:
        seen = f"is a link that leads to {link}" if link else "leads above its top"
        return TreeError(
            f"{self.root}/{name} {seen}, out of the node's tree or to nowhere in it; expected a folder in "
            "it: look what the node has done there, and remove it"
        )

    def exists(self, name: str) -> bool:
        """Tell whether there is anything of that name, be it a link to nowhere."""
        folder_name, base = os.path.split(name)
        with self._opened(folder_name) as folder:
            return folder is not None and (not base or _lstat(base, folder) is not None)

    def is_folder(self, name: str) -> bool:
        """Tell whether there is a folder of that name, or a link to one in the tree."""
        with self._opened(name) as folder:
            return folder is not None

    def names(self, name: str) -> list[str]:
        """List what is in a folder, nothing if it is not there."""
        with self._opened(name) as folder:
            return [] if folder is None else sorted(os.listdir(folder))

    def walk(self) -> list[str]:
        """Return every name in the tree, those of folders with a slash at the end; a link is not a folder."""
        with self._opened("") as folder:
            return [] if folder is None else list(_walk(folder, ""))

    def read_bytes(self, name: str) -> bytes | None:
        """Return what is in a file, None if it is not there, or anything but a file."""
        folder_name, base = os.path.split(name)
        with self._opened(folder_name) as folder:
            return None if folder is None else _content(base, folder)

    def read(self, name: str) -> str | None:
        """Return the text of a file, None if it is not there, or anything but a file."""
        data = self.read_bytes(name)
        return None if data is None else data.decode("utf-8", "surrogateescape")

    def folder(self, name: str, *, mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> None:
        """Have a folder; one that is there keeps what it has."""
        with self._opened(name, strict=True) as present:
            if present is not None:
                return
        self.changed.append(name)
        if self._dry_run:
            return
        folder_name, base = os.path.split(name)
        with self._opened(folder_name, strict=True, make=True) as parent:
            os.mkdir(base, mode, dir_fd=parent)
            descriptor = os.open(base, _FOLDER, dir_fd=parent)
            try:
                os.fchown(descriptor, *owner)
            finally:
                os.close(descriptor)

    def write(
        self, name: str, text: str, *, mode: int | None = None, owner: tuple[int, int] | None = None
    ) -> None:
        """Have a file of this text in place of whatever is there; a file keeps mode and owner unless told."""
        self.write_bytes(name, text.encode("utf-8", "surrogateescape"), mode=mode, owner=owner)

    def write_bytes(
        self, name: str, data: bytes, *, mode: int | None = None, owner: tuple[int, int] | None = None
    ) -> None:
        """Have a file of this content, as write does."""
        folder_name, base = os.path.split(name)
        with self._opened(folder_name, strict=True, make=not self._dry_run) as folder:
            present = None if folder is None else _lstat(base, folder)
            regular = present is not None and stat.S_ISREG(present.st_mode)
            if mode is None:
                mode = stat.S_IMODE(present.st_mode) if present and regular else 0o644
            if owner is None:
                owner = (present.st_uid, present.st_gid) if present and regular else (0, 0)
            if folder is not None and present and regular:
                is_so = (stat.S_IMODE(present.st_mode), present.st_uid, present.st_gid) == (mode, *owner)
                if is_so and _content(base, folder) == data:
                    return
            self.changed.append(name)
            if self._dry_run or folder is None:
                return
            # Those of runs that were killed; no other runs now.
            for leftover in os.listdir(folder):
                if leftover.startswith(f".{base}{_NEW_SUFFIX}"):
                    os.unlink(leftover, dir_fd=folder)
            temporary = f".{base}{_NEW_SUFFIX}{secrets.token_hex(8)}"
            try:
                _create(temporary, folder, data, mode, owner)
                os.replace(temporary, base, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def link(self, name: str, target: str) -> None:
        """Have a symbolic link."""
        folder_name, base = os.path.split(name)
        with self._opened(folder_name, strict=True, make=not self._dry_run) as folder:
            if folder is not None and _readlink(base, folder) == target:
                return
            self.changed.append(name)
            if self._dry_run or folder is None:
                return
            if _lstat(base, folder) is not None:
                os.unlink(base, dir_fd=folder)
            os.symlink(target, base, dir_fd=folder)

    def remove(self, name: str) -> None:
        """Have no file or link of that name."""
        folder_name, base = os.path.split(name)
        with self._opened(folder_name) as folder:
            if folder is None or _lstat(base, folder) is None:
                return
            self.changed.append(name)
            if not self._dry_run:
                os.unlink(base, dir_fd=folder)

    def remove_folder(self, name: str) -> None:
        """Have no folder of that name at the top, nor what is in it."""
        with self._opened("") as folder:
            if folder is not None and _lstat(name, folder) is not None:
                self.changed.append(name)
                if not self._dry_run:
                    _remove_all(name, folder)

    def copy_folder(self, source: str, target: str, *, owner: tuple[int, int]) -> None:
        """Copy what is in a folder of the tree into another one of it, for a user."""
        with self._opened(source) as read, self._opened(target) as written:
            if read is not None and written is not None and not self._dry_run:
                _copy(read, written, owner)

    def place(self, path: str, name: str) -> None:
        """Take a file of the server's own into the tree, in place of whatever is there."""
        folder_name, base = os.path.split(name)
        with self._opened(folder_name, strict=True, make=True) as folder:
            os.rename(path, base, dst_dir_fd=folder)
