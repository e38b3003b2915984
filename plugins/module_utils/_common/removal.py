# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking away what a role has brought to a node."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes

#: Shared with other roles.
_OWN_FOLDERS = ("/etc/bramble", "/usr/local/lib/bramble", "/var/lib/bramble")


def remove_files(changes: Changes, paths: Iterable[str]) -> bool:
    """Remove files, links and folders that are there, and tell whether there were any."""
    present = [path for path in paths if os.path.lexists(path)]
    for path in present:
        if not changes.note(f"remove {path}"):
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    return bool(present)


def remove_empty_folders(changes: Changes) -> None:
    """Remove the folders of the collection that have nothing in them any more."""
    for folder in _OWN_FOLDERS:
        with contextlib.suppress(OSError):
            if not changes.check_mode:
                os.rmdir(folder)
