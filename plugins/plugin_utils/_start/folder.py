# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder that is there as a whole or not at all: made beside its place under another name, and renamed."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import os_error_text
from ansible_collections.bramble.pi.plugins.plugin_utils._start.answers import StartError

_UNFINISHED = ".bramble-start-"
_DENIED = "expected a folder that you may write to: set start_folder to another one"


def check_free(folder: Path) -> None:
    """Refuse a folder that exists, whatever is in it."""
    if os.path.lexists(folder):
        raise StartError(
            f"{folder} exists; expected a name that is free, as nothing is ever overwritten: set "
            "start_folder to another one, or remove that one"
        )
    if not folder.parent.is_dir():
        raise StartError(
            f"{folder.parent} is no folder; expected one, for {folder.name} to be made in: set start_folder "
            "to another path, or make it first"
        )


def _remove_left_over(parent: Path) -> None:
    """Remove what runs that were killed have left; that of one that goes on is locked."""
    for left in parent.glob(f"{_UNFINISHED}*"):
        try:
            descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue
        finally:
            os.close(descriptor)


@contextmanager
def _removed_when_interrupted(folder: Path) -> Iterator[None]:
    """Remove a folder when Ctrl-C ends this process, which Ansible passes on as SIGTERM or SIGINT."""

    def remove(number: int, frame: FrameType | None) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        before = handlers[number]
        if callable(before):
            before(number, frame)
        raise SystemExit(1)

    handlers: dict[int, Any] = {
        number: signal.signal(number, remove) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for number, before in handlers.items():
            signal.signal(number, before)


def write(
    folder: Path, files: Mapping[str, str], *, private: Container[str] = (), check: Callable[[Path], None]
) -> None:
    """Make the folder with these files, by their paths in it, if the check has nothing against them.

    Those that are ``private`` are for this user alone.
    """
    check_free(folder)
    try:
        _remove_left_over(folder.parent)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder.parent))
        descriptor = os.open(unfinished, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with _removed_when_interrupted(unfinished):
                _fill(unfinished, files, private)
                check(unfinished)
                _rename(unfinished, folder)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StartError(os_error_text(error, path=str(folder), denied=_DENIED)) from error


def _fill(folder: Path, files: Mapping[str, str], private: Container[str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        mode = 0o600 if name in private else 0o644
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8"
        ) as file:
            file.write(text)


def _rename(unfinished: Path, folder: Path) -> None:
    """Put the folder in its place, unless something came there meanwhile; an empty folder may be replaced."""
    try:
        unfinished.rename(folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            check_free(folder)
        raise
