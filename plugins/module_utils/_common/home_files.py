# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files below a user's home, as root reads, writes and removes them.

What a user can write may hold links and devices in place of folders and files, and may change between two
looks. So a folder is opened once and then used by its descriptor, whatever becomes of its name; and root
follows a link only where nobody but root could have put it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_LIMIT = 16 * 1024 * 1024
_MOST_LINKS = 40
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}
#: A user's and a group's number.
Ids = tuple[int, int]


class HomeFileError(BrambleError):
    """What is there is not what root may touch; the message says what fixes it."""


class HomeFile(NamedTuple):
    """A file as it was found."""

    text: str
    ids: Ids
    mode: int


def _no_file(path: str, what: str) -> HomeFileError:
    return HomeFileError(f"{path} {what}; expected a file of the user's own: remove it")


class Folder:
    """A folder that is open."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self.path = path

    def _path(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _present(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Have what the system refuses name the whole path."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0), self._path(name)) from error

    def _refuse_link(self, name: str, present: os.stat_result, expected: str) -> None:
        if stat.S_ISLNK(present.st_mode):
            target = os.readlink(name, dir_fd=self._descriptor)
            raise HomeFileError(
                f"{self._path(name)} is a link to {target}, which is not followed; expected {expected} of "
                "the user's own: put it in place of the link"
            )

    @property
    def others_may_write(self) -> bool:
        """Whether others than its owner may write into it."""
        return bool(os.fstat(self._descriptor).st_mode & 0o022)

    def correct(self, *, mode: int, ids: Ids, dry_run: bool) -> bool:
        """Give the folder its owner and mode; return whether they were wrong."""
        return _correct(self._descriptor, mode=mode, stricter=False, ids=ids, dry_run=dry_run)

    @contextlib.contextmanager
    def subfolder(self, name: str) -> Iterator[Folder | None]:
        """Open a folder in it, which is not a link; None if there is none."""
        present = self._present(name)
        if present is None:
            yield None
            return
        self._refuse_link(name, present, "a folder")
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._named(name):
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        try:
            yield Folder(descriptor, self._path(name))
        finally:
            os.close(descriptor)

    def make(self, name: str, *, mode: int, ids: Ids) -> None:
        """Make a folder in it, which is not there yet."""
        with self._named(name):
            os.mkdir(name, 0o700, dir_fd=self._descriptor)
        with self.subfolder(name) as folder:
            if folder is not None:
                folder.correct(mode=mode, ids=ids, dry_run=False)

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[int | None]:
        present = self._present(name)
        if present is None:
            yield None
            return
        self._refuse_link(name, present, "a file")
        # It may have become something else since: a FIFO must not hold us up.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._named(name):
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        try:
            present = os.fstat(descriptor)
            if not stat.S_ISREG(present.st_mode):
                raise _no_file(self._path(name), "is not a regular file")
            if present.st_nlink > 1:
                raise _no_file(self._path(name), f"has another name as well ({present.st_nlink} links)")
            if present.st_size > _LIMIT:
                raise _no_file(self._path(name), f"has {present.st_size} bytes")
            yield descriptor
        finally:
            os.close(descriptor)

    def read(self, name: str) -> HomeFile | None:
        """Return a file, which has one name and is not a link; None if there is none."""
        with self._opened(name) as descriptor:
            if descriptor is None:
                return None
            present = os.fstat(descriptor)
            with os.fdopen(os.dup(descriptor), "rb") as file:
                text = file.read(_LIMIT).decode(**_ENCODING)
        return HomeFile(text, (present.st_uid, present.st_gid), stat.S_IMODE(present.st_mode))

    def correct_file(self, name: str, *, mode: int, stricter: bool, ids: Ids, dry_run: bool) -> bool:
        """Give a file its owner and mode, or a ``stricter`` one; return whether they were wrong."""
        with self._opened(name) as descriptor:
            return descriptor is not None and _correct(
                descriptor, mode=mode, stricter=stricter, ids=ids, dry_run=dry_run
            )

    def replace(self, name: str, text: str, *, mode: int, ids: Ids) -> None:
        """Replace a file in one step that survives a power cut."""
        temporary = f".{name}.bramble-{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            # Of a run that was killed, as this process has written none.
            os.unlink(temporary, dir_fd=self._descriptor)
        with self._named(name):
            try:
                self._write(temporary, text, os.O_CREAT | os.O_EXCL, mode=mode, ids=ids)
                os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            except BaseException as error:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=self._descriptor)
                if not isinstance(error, OSError) or error.errno != errno.EBUSY:
                    raise
                # A file that is a mount point itself, as containers have them, can only be rewritten.
                self._write(name, text, os.O_TRUNC, mode=mode, ids=ids)
        os.fsync(self._descriptor)

    def _write(self, name: str, text: str, flags: int, *, mode: int, ids: Ids) -> None:
        descriptor = os.open(
            name, flags | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._descriptor
        )
        with os.fdopen(descriptor, "wb") as file:
            _correct(file.fileno(), mode=mode, stricter=False, ids=ids, dry_run=False)
            file.write(text.encode(**_ENCODING))
            file.flush()
            os.fsync(file.fileno())

    def backup_name(self, name: str) -> str:
        """Return a name under which a file can be kept as it was; those that are taken stay."""
        number = 1
        while self._present(f"{name}.before-bramble.{number}") is not None:
            number += 1
        return f"{name}.before-bramble.{number}"

    def remove(self, name: str) -> None:
        """Remove a file, or a link and not what it leads to."""
        with self._named(name):
            os.unlink(name, dir_fd=self._descriptor)


def _correct(descriptor: int, *, mode: int, stricter: bool, ids: Ids, dry_run: bool) -> bool:
    present = os.fstat(descriptor)
    seen = stat.S_IMODE(present.st_mode)
    wrong_mode = bool(seen & ~mode) if stricter else seen != mode
    wrong_owner = (present.st_uid, present.st_gid) != ids
    if not dry_run:
        if wrong_owner:
            os.fchown(descriptor, *ids)
        if wrong_mode:
            os.fchmod(descriptor, mode)
    return wrong_mode or wrong_owner


def _real_path(path: str) -> str:
    """Return a path without links, with those followed that nobody but root can have put there.

    A user follows what the user likes; root does not follow what a user has put.
    """
    if os.geteuid() != 0:
        return os.path.realpath(path)
    done = "/"
    pending = list(reversed(os.path.abspath(path).split("/")))
    links = 0
    while pending:
        name = pending.pop()
        if name in ("", "."):
            continue
        if name == "..":
            done = os.path.dirname(done)
            continue
        here = os.path.join(done, name)
        try:
            target = os.readlink(here)
        except OSError:
            done = here
            continue
        folder = os.stat(done, follow_symlinks=False)
        if folder.st_uid != 0 or folder.st_mode & 0o022:
            raise HomeFileError(
                f"{here} is a link to {target}, which is not followed; expected what is of the user's "
                "own: put it in place of the link"
            )
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            done = "/"
        pending.extend(reversed(target.split("/")))
    return done


@contextlib.contextmanager
def open_folder(path: str, *, make: Ids | None = None) -> Iterator[Folder | None]:
    """Open a folder; one that is not there is made for the user ``make``, or else is None."""
    real = _real_path(path)
    with contextlib.ExitStack() as stack:
        if os.geteuid() != 0:
            # Folders that may only be passed through, such as /home, cannot be opened by a user.
            start = real
            while not os.path.lexists(start):
                start = os.path.dirname(start)
        else:
            start = "/"
        descriptor = os.open(start, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, descriptor)
        folder = Folder(descriptor, start)
        names = [name for name in os.path.relpath(real, start).split("/") if name != "."]
        for number, name in enumerate(names, start=1):
            # Opened one in the other, and none of them is a link any more.
            inner = stack.enter_context(folder.subfolder(name))
            if inner is None and make is not None:
                folder.make(name, mode=0o700 if number == len(names) else 0o755, ids=make)
                inner = stack.enter_context(folder.subfolder(name))
            if inner is None:
                yield None
                return
            folder = inner
        yield folder


def real_file(path: str) -> tuple[str, str]:
    """Return folder and name of a file, as :func:`open_folder` takes a folder."""
    folder, name = os.path.split(_real_path(path))
    return folder, name


def read_home_file(path: str) -> HomeFile | None:
    """Return a file below a user's home; None if there is none."""
    folder_path, name = real_file(path)
    try:
        with open_folder(folder_path) as folder:
            return folder.read(name) if folder is not None else None
    except NotADirectoryError:
        return None


def remove_home_file(path: str) -> None:
    """Remove a file below a user's home, or a link and not what it leads to."""
    folder_path, name = os.path.split(path)
    with open_folder(folder_path) as folder:
        if folder is not None:
            folder.remove(name)
