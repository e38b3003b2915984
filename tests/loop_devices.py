# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loop devices, which stand for cards. Tests that run beside each other share their numbers."""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path(tempfile.gettempdir()) / "bramble-tests-loop-devices.lock"


@contextmanager
def numbers_kept() -> Iterator[None]:
    """Keep other tests from taking the number of a device that is empty for a while."""
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def attach(path: Path, *options: str) -> str:
    """Let a file be a block device; return its path."""
    command = ["losetup", "--find", "--show", *options, str(path)]
    with numbers_kept():
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def attach_again(device: str, path: Path) -> None:
    """Put a file into a device that was emptied while the numbers were kept."""
    subprocess.run(["losetup", device, str(path)], check=True)


def detach(device: str) -> None:
    """Empty a device."""
    subprocess.run(["losetup", "--detach", device], check=True)
