# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file in a user's home that lists the keys which let in: never through a link, replaced in one step."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.home_files import open_folder
from ansible_collections.bramble.pi.plugins.module_utils._common.secrets import file_diff
from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import authorized_key_problem, merged

_FILE = "authorized_keys"


class AuthorizedKeysError(BrambleError):
    """The keys cannot be entered; the message says what fixes it."""


def authorize(*, user: pwd.struct_passwd, keys: list[str], exclusive: bool, dry_run: bool) -> dict[str, Any]:
    """Enter the keys; return what was changed."""
    ids = (user.pw_uid, user.pw_gid)
    path = os.path.join(user.pw_dir, ".ssh", _FILE)
    before: str | None = None
    changed = False
    with open_folder(user.pw_dir) as home:
        if home is None:
            raise AuthorizedKeysError(
                f"{user.pw_dir}, the home of {user.pw_name}, is not there; expected a folder: run "
                f"'mkhomedir_helper {user.pw_name}'"
            )
        loose = home.others_may_write
        with home.subfolder(".ssh") as folder:
            missing = folder is None
        if missing:
            changed = True
            if not dry_run:
                home.make(".ssh", mode=0o700, ids=ids)
        with home.subfolder(".ssh") as folder:
            if folder is not None:
                changed |= folder.correct(mode=0o700, ids=ids, dry_run=dry_run)
                present = folder.read(_FILE)
                before = present.text if present else None
                changed |= folder.correct_file(_FILE, mode=0o600, stricter=True, ids=ids, dry_run=dry_run)
            after = merged(text=before or "", keys=keys, exclusive=exclusive)
            if before != after:
                changed = True
                if folder is not None and not dry_run:
                    folder.replace(_FILE, after, mode=0o600, ids=ids)
    return {
        "changed": changed,
        "path": path,
        "loose_home": loose,
        "diff": file_diff(path=path, before=before or "", after=after),
    }


def check_keys(keys: Sequence[str]) -> None:
    """Refuse what is no line of a .pub file."""
    for number, key in enumerate(keys, start=1):
        problem = authorized_key_problem(key)
        if problem:
            raise AuthorizedKeysError(
                f"keys, entry {number}, {problem}; expected a line of a .pub file, such as "
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
