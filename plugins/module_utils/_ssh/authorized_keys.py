# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file in a user's home that lists the keys which let in: never through a link, replaced in one step."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.secrets import file_diff
from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import authorized_key_problem, merged

_FILE = "authorized_keys"
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}


class AuthorizedKeysError(BrambleError):
    """The keys cannot be entered; the message says what fixes it."""


@contextlib.contextmanager
def _opened(name: str, flags: int, folder: int | None = None) -> Iterator[int]:
    descriptor = os.open(name, flags | os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_link(name: str, folder: int, path: str) -> os.stat_result | None:
    """Return what is there. A user who can make a link could have root write anywhere."""
    try:
        present = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(present.st_mode):
        raise AuthorizedKeysError(
            f"{path} is a link to {os.readlink(name, dir_fd=folder)}, which is not followed; expected is "
            f"{'a folder' if name == '.ssh' else 'a file'} of the user's own: put it in place of the link"
        )
    return present


def _correct(descriptor: int, mode: int, stricter: bool, ids: tuple[int, int], dry_run: bool) -> bool:
    """Give a file its owner and mode; return whether they were wrong."""
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


def _replace(folder: int, text: str, ids: tuple[int, int]) -> None:
    """Replace the file in one step, within the folder that was opened, whatever becomes of its name."""
    temporary = f".{_FILE}.bramble-{os.getpid()}"
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchown(file.fileno(), *ids)
            os.fchmod(file.fileno(), 0o600)
            file.write(text.encode(**_ENCODING))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, _FILE, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def _read(folder: int, path: str, ids: tuple[int, int], dry_run: bool) -> tuple[str | None, bool]:
    """Return the text of the file, None if there is none, and whether its owner or mode was wrong."""
    if _refuse_link(_FILE, folder, path) is None:
        return None, False
    with _opened(_FILE, os.O_NOFOLLOW | os.O_NONBLOCK, folder) as descriptor:
        present = os.fstat(descriptor)
        if not stat.S_ISREG(present.st_mode) or present.st_nlink > 1:
            raise AuthorizedKeysError(
                f"{path} is no regular file, or has another name as well ({present.st_nlink} links); "
                "expected is a file of the user's own: remove it"
            )
        wrong = _correct(descriptor, 0o600, True, ids, dry_run)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read().decode(**_ENCODING), wrong


def authorize(*, user: pwd.struct_passwd, keys: list[str], exclusive: bool, dry_run: bool) -> dict[str, Any]:
    """Enter the keys; return what was changed."""
    ids = (user.pw_uid, user.pw_gid)
    folder_path = os.path.join(user.pw_dir, ".ssh")
    path = os.path.join(folder_path, _FILE)
    before: str | None = None
    changed = False
    with _opened(user.pw_dir, os.O_DIRECTORY) as home:
        loose = stat.S_IMODE(os.fstat(home).st_mode) & 0o022
        if _refuse_link(".ssh", home, folder_path) is None:
            changed = True
            if not dry_run:
                os.mkdir(".ssh", 0o700, dir_fd=home)
        with contextlib.ExitStack() as stack:
            folder = None
            if not (changed and dry_run):
                folder = stack.enter_context(_opened(".ssh", os.O_DIRECTORY | os.O_NOFOLLOW, home))
                changed |= _correct(folder, 0o700, False, ids, dry_run)
                before, wrong = _read(folder, path, ids, dry_run)
                changed |= wrong
            after = merged(text=before or "", keys=keys, exclusive=exclusive)
            if before != after:
                changed = True
                if folder is not None and not dry_run:
                    _replace(folder, after, ids)
    return {
        "changed": changed,
        "path": path,
        "loose_home": bool(loose),
        "diff": file_diff(path=path, before=before or "", after=after),
    }


def check_keys(keys: Sequence[str]) -> None:
    """Refuse what is no line of a .pub file."""
    for number, key in enumerate(keys, start=1):
        problem = authorized_key_problem(key)
        if problem:
            raise AuthorizedKeysError(
                f"keys, entry {number}, {problem}; expected is a line of a .pub file, such as "
                "'ssh-ed25519 AAAA… you@laptop': correct ssh_access_authorized_keys"
            )


def account(name: str) -> pwd.struct_passwd:
    """Return the account of a user of this node."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise AuthorizedKeysError(
            f"there is no user {name!r} on this node: set ssh_access_user to one who is there"
        ) from None
