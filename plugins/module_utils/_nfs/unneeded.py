# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that packages of NFS bring, that NFS 4 does not need, and that listen at all interfaces."""

from __future__ import annotations

import os

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.removal import remove_files
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._nfs.configuration import RECORDS

_UNITS = ("rpcbind.service", "rpcbind.socket", "rpc-statd.service")
#: Those that were masked here, and not by the host's owner.
_RECORD = f"{RECORDS}/masked"


class Unneeded:
    """Those services on this host."""

    def __init__(self, *, changes: Changes, systemd: Systemd) -> None:
        self._changes = changes
        self._systemd = systemd

    def mask(self) -> None:
        """Keep them away, also before their packages are there."""
        missing = [unit for unit in _UNITS if not os.path.lexists(_path(unit))]
        if not missing:
            return
        masked = sorted({*(read_text(_RECORD) or "").split(), *missing})
        self._changes.write(_RECORD, "".join(f"{unit}\n" for unit in masked))
        for unit in missing:
            if self._changes.note(f"mask {unit}"):
                os.symlink("/dev/null", _path(unit))
        self._systemd.read_units()

    def stop(self) -> None:
        """End those that ran before, or that a run that was killed has left."""
        for unit in _UNITS:
            if self._systemd.is_active(unit):
                self._changes.do(f"stop {unit}", ["systemctl", "stop", unit])

    def unmask(self) -> None:
        """Leave them as they were before."""
        masked = (read_text(_RECORD) or "").split()
        if remove_files(self._changes, [*map(_path, masked), _RECORD]):
            self._systemd.read_units()


def _path(unit: str) -> str:
    return f"/etc/systemd/system/{unit}"
