# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node needs to mount folders of an NFS server."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.own_packages import OwnPackages
from ansible_collections.bramble.pi.plugins.module_utils._common.removal import remove_empty_folders
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._nfs.configuration import RECORDS
from ansible_collections.bramble.pi.plugins.module_utils._nfs.server import NfsError, served_here
from ansible_collections.bramble.pi.plugins.module_utils._nfs.unneeded import Unneeded

_PACKAGES = f"{RECORDS}/client-packages"


class MountRow(NamedTuple):
    """What /proc/mounts says of one mount by NFS."""

    source: str
    folder: str
    kind: str
    options: str


def mount_rows(mounts: str) -> list[MountRow]:
    """Return what is mounted by NFS; ``mounts`` is the text of /proc/mounts."""
    rows = (line.split(" ") for line in mounts.splitlines())
    return [MountRow(*row[:4]) for row in rows if len(row) > 3 and row[2] in ("nfs", "nfs4")]


class Client:
    """The tools on this host."""

    def __init__(self, *, run: Runner, changes: Changes) -> None:
        self._changes = changes
        self._systemd = Systemd(run=run, changes=changes)
        self._packages = OwnPackages(run=run, changes=changes, record=_PACKAGES)
        self._unneeded = Unneeded(changes=changes, systemd=self._systemd)

    def ensure(self) -> None:
        """Ensure that they are there, and no services that they do not need."""
        self._unneeded.mask()
        self._packages.ensure(["nfs-common"])
        self._unneeded.stop()

    def remove(self) -> None:
        """Remove what was brought, unless something is still mounted."""
        if not os.path.exists(_PACKAGES) and served_here():
            # What keeps services away is the server's as well.
            return
        places = [row.folder for row in mount_rows(read_text("/proc/mounts") or "")]
        if places and os.path.exists(_PACKAGES):
            raise NfsError(
                f"{', '.join(places)} is mounted by NFS; expected nothing, as its tools are to be removed:"
                " delete the pods that use it, or unmount it ('umount'), and run this again"
            )
        self._packages.remove()
        if not served_here():
            self._unneeded.unmask()
        if not self._changes.check_mode:
            with contextlib.suppress(OSError):
                os.rmdir(RECORDS)
        remove_empty_folders(self._changes)
