# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder in memory for what must not be written to a card, and the one lock of backups."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._backup import retention
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text

FOLDER = "/run/bramble-backup"
_LOCK = "/run/bramble-backup.lock"
_WAIT = 600
_POLL = 1


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the lock; another run is waited for."""
    descriptor = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + _WAIT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BackupError(
                        f"another backup has been running on this node for more than {_WAIT} s (it holds"
                        f" {_LOCK}); expected its end: see 'systemctl status bramble-backup'"
                    ) from None
            time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)


def _backing(name: str) -> str | None:
    """Return the disk that a device of compressed memory writes to; None where the kernel cannot do that."""
    return read_text(f"/sys/block/{name}/backing_dev")


def available_memory() -> int:
    """Return how much memory is available without swapping."""
    for line in (read_text("/proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def whole_memory(*, run: Runner) -> contextlib.AbstractContextManager[str]:
    """Give a folder that may take what memory there is, for what has a size that is not known yet."""
    remove(run=run)
    # It is looked at again there, and may be a little less by then.
    return folder(run=run, size=max(available_memory() - 2 * retention.MEMORY_RESERVE, 0))


@contextlib.contextmanager
def folder(*, run: Runner, size: int) -> Iterator[str]:
    """Give a folder of so many bytes in memory that is not swapped to a disk; what a killed run left goes."""
    # What a killed run has left takes memory.
    remove(run=run)
    problem = retention.memory_problem(needed=size, available=available_memory())
    if problem:
        raise BackupError(problem)
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    options = f"mode=0700,nosuid,nodev,noexec,size={size}"
    swaps = retention.swaps_to_disk(swaps=read_text("/proc/swaps") or "", backing=_backing)
    if swaps:
        options += ",noswap"
    code, _output, errors = run(["mount", "-t", "tmpfs", "-o", options, "bramble-backup", FOLDER])
    if code != 0:
        os.rmdir(FOLDER)
        if swaps:
            raise BackupError(
                f"memory is swapped to {', '.join(swaps)}; expected no swap on a disk, as secrets would be"
                " written there: set os_prep_swap to off, or run a kernel from 6.4 on"
            )
        raise BackupError(f"a folder in memory cannot be mounted at {FOLDER}: {errors.strip()}")
    try:
        yield FOLDER
    finally:
        remove(run=run)


def remove(*, run: Runner) -> None:
    """Remove the folder with all that is in it."""
    while os.path.ismount(FOLDER):
        output_of(run, ["umount", "--lazy", FOLDER])
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(FOLDER)
