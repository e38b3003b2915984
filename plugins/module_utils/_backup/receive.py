# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a receiver of copies runs for whoever logs in with a sender's key: it adds a backup, and nothing else.

It runs as a user without rights, by sshd's forced command: what the sender asked for is in
SSH_ORIGINAL_COMMAND, and the backup comes by standard input.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import IO, NoReturn

from ansible_collections.bramble.pi.plugins.module_utils._backup import copies, retention
from ansible_collections.bramble.pi.plugins.module_utils._backup.copies import Copy, Request
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError, os_error_text

_PART = ".part"
#: What did not come whole: empty, as large as what came of it, and named by when it ended.
_FAILED = ".failed"
_BLOCK = 1 << 20
#: How long all of it may take, and how long another one that comes at the same time is waited for.
_SECONDS = 1800
_WAIT = 60
_POLL = 0.2


def receive(*, folder: str, days: int, command: str, source: IO[bytes]) -> str:
    """Add what comes from the source to the folder, and return what to tell the sender."""
    asked = copies.request(command)
    with _opened(folder) as descriptor:
        _lock(descriptor, folder)
        for name in os.listdir(descriptor):
            # Left by one that was killed, as this one has the lock.
            if name.endswith(_PART):
                _give_up(descriptor, name)
        if _is_there(descriptor, asked):
            return copies.is_there_text(asked)
        now = datetime.now(timezone.utc)
        # Before as well, else a disk without room for the new one would keep the old ones for ever.
        _remove_expired(descriptor, now, days)
        disk = os.statvfs(descriptor)
        problem = copies.refusal(
            asked,
            copies=_present(descriptor),
            failed=_failed(descriptor),
            folder=folder,
            now=now,
            disk=disk.f_blocks * disk.f_frsize,
            free=disk.f_bavail * disk.f_frsize,
        )
        if problem:
            raise BackupError(problem)
        _add(descriptor, asked, source)
        _remove_expired(descriptor, now, days)
    return f"{asked.name} was added"


def _remove_expired(descriptor: int, now: datetime, days: int) -> None:
    outdated = (each.name for each in _failed(descriptor) if not copies.is_of_today(each, now=now))
    for name in (*copies.expired(_present(descriptor), now=now, days=days), *outdated):
        os.unlink(name, dir_fd=descriptor)


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: str) -> None:
    """Be the only one who adds to the folder until this program ends."""
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise BackupError(
                    f"another copy has been coming to {folder} for more than {_WAIT} s; expected its end:"
                    " it is tried again with the next backup"
                ) from None
            time.sleep(_POLL)
        else:
            return


def _is_there(descriptor: int, asked: Request) -> bool:
    """Tell whether the same is there; whatever else has this name stays."""
    try:
        with _regular(descriptor, asked.name) as file:
            same = os.fstat(file.fileno()).st_size == asked.size and _sha256(file) == asked.sha256
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES):
            raise
        same = False
    if not same:
        raise BackupError(f"{asked.name} is there with other content; expected a name that is not taken")
    return True


@contextlib.contextmanager
def _regular(descriptor: int, name: str) -> Iterator[IO[bytes]]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=descriptor), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        yield file


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _present(descriptor: int) -> list[Copy]:
    """List the copies that are there; anything else in the folder does not count, and stays."""
    return [each for each in _files(descriptor) if retention.parse_name(each.name)]


def _failed(descriptor: int) -> list[Copy]:
    """List what did not come whole."""
    return [each for each in _files(descriptor) if each.name.endswith(_FAILED)]


def _files(descriptor: int) -> Iterator[Copy]:
    for name in os.listdir(descriptor):
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            yield Copy(name, status.st_size, datetime.fromtimestamp(status.st_mtime, timezone.utc))


def _give_up(descriptor: int, part: str) -> None:
    """Remove what came of a copy, and keep how much it was."""
    try:
        file = os.open(part, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
    except OSError:
        # Not what was written here.
        os.unlink(part, dir_fd=descriptor)
        return
    with os.fdopen(file, "wb") as came:
        size = os.fstat(came.fileno()).st_size
        came.truncate(0)
        came.truncate(size)
    os.rename(part, f"{time.time_ns()}{_FAILED}", src_dir_fd=descriptor, dst_dir_fd=descriptor)


def _add(descriptor: int, asked: Request, source: IO[bytes]) -> None:
    part = asked.name + _PART
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(part, flags, 0o600, dir_fd=descriptor), "wb") as file:
            _receive(file, asked, source)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, asked.name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            _give_up(descriptor, part)
        raise
    os.fsync(descriptor)


def _receive(file: IO[bytes], asked: Request, source: IO[bytes]) -> None:
    digest = hashlib.sha256()
    left = asked.size
    while left and (block := source.read(min(left, _BLOCK))):
        digest.update(block)
        file.write(block)
        left -= len(block)
    if left or source.read(1):
        seen = f"only {asked.size - left} bytes came" if left else "more came"
        raise BackupError(
            f"{asked.name} has {asked.size} bytes, and {seen}; expected all of them, and no more"
        )
    if digest.hexdigest() != asked.sha256:
        raise BackupError(f"{asked.name} came with another checksum; expected what the sender has")


def _end(number: int, _frame: object) -> NoReturn:
    raise SystemExit(f"it was ended by signal {number}; expected the whole copy within {_SECONDS} s")


def main() -> None:
    """Add one backup."""
    for number in (signal.SIGALRM, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, _end)
    signal.alarm(_SECONDS)
    _program, folder, days = sys.argv
    try:
        said = receive(
            folder=folder,
            days=int(days),
            command=os.environ.get("SSH_ORIGINAL_COMMAND", ""),
            source=sys.stdin.buffer,
        )
    except BrambleError as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        denied = "expected a folder of this user's own: run 'ansible-playbook bramble.pi.backup'"
        raise SystemExit(os_error_text(error, path=folder, denied=denied)) from error
    sys.stdout.write(f"{said}\n")
