# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders that are shared, on a disk that is there and of their own file system."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.data_folder import missing_disk, mount_table
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._nfs.file_systems import root_problem
from ansible_collections.bramble.pi.plugins.module_utils._nfs.server import NfsError

#: Pods run as users of their own choice.
_FOR_ALL = 0o1777


def ensure_folders(
    *, changes: Changes, shares: Sequence[str], inside: Sequence[str], root_file_system: bool
) -> None:
    """Ensure that the folders that are shared are there, and those inside of them; nothing is taken away."""
    for share in shares:
        _check(share, root_file_system=root_file_system)
    for path in shares:
        _create(changes, path, mode=0o755)
    for path in inside:
        _create(changes, path, mode=_FOR_ALL)


def _check(share: str, *, root_file_system: bool) -> None:
    problem = missing_disk(
        share,
        variable="the folder of storage_server_shares",
        instead="/srv/storage",
        mounts=mount_table(read_text("/proc/mounts") or ""),
        fstab=mount_table(read_text("/etc/fstab") or ""),
    )
    if not problem and not root_file_system:
        problem = root_problem(
            path=os.path.realpath(share),
            mountinfo=read_text("/proc/self/mountinfo") or "",
            asked=share,
            variable="storage_server_root_file_system",
            help_at="docs/storage.md",
        )
    if problem:
        raise NfsError(problem)


def _create(changes: Changes, path: str, *, mode: int) -> None:
    if os.path.isdir(path):
        # Its mode is what its owner has made of it.
        return
    if os.path.lexists(path):
        raise NfsError(
            f"{path} is no folder; expected one, or nothing: move it away ('mv {path} {path}.old'), or change"
            " its name in storage_server_shares or storage_volumes"
        )
    if changes.note(f"create {path}"):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        os.mkdir(path)
        # Whatever the umask says.
        os.chmod(path, mode)
