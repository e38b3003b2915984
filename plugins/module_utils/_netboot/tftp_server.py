# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TFTP server of the nodes' boot files: its unit, and what it sees."""

from __future__ import annotations

import os
import stat

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd, unit_properties
from ansible_collections.bramble.pi.plugins.module_utils._netboot import tftp_unit
from ansible_collections.bramble.pi.plugins.module_utils._netboot.tftp_unit import TftpError

#: The server is not root.
_MODE = 0o755


class TftpServer:
    """Serves one folder at one interface, and sees nothing but that folder.

    ``proc`` is where the processes are; tests give a folder.
    """

    def __init__(self, *, run: Runner, changes: Changes, proc: str = "/proc") -> None:
        self._run = run
        self._changes = changes
        self._proc = proc
        self._systemd = Systemd(run=run, changes=changes)

    def ensure(self, *, folder: str, interface: str) -> None:
        """Ensure that the folder is served."""
        tftp_unit.check(folder=folder, interface=interface)
        unit = tftp_unit.unit_text(folder=folder, real_folder=os.path.realpath(folder), interface=interface)
        self._ensure_folder(folder)
        changed = self._changes.write(tftp_unit.PATH, unit)
        self._systemd.ensure_running(
            tftp_unit.NAME, changed=changed or self._sees_another(folder), files=(tftp_unit.PATH,)
        )
        if not self._changes.check_mode:
            self._check_view()

    def _ensure_folder(self, folder: str) -> None:
        """Ensure that the folder is there, else the server does not start, and that it can be entered."""
        there = os.path.isdir(folder)
        if there and stat.S_IMODE(os.stat(folder).st_mode) == _MODE:
            return
        if self._changes.note(f"let the TFTP server into {folder}" if there else f"make {folder}"):
            os.makedirs(folder, exist_ok=True)
            os.chmod(folder, _MODE)

    def _root(self) -> str | None:
        """Return where the root of the running server can be looked at, None if it does not run."""
        _code, output, _errors = self._run(["systemctl", "show", "--property=Id,MainPID", tftp_unit.NAME])
        process = unit_properties(text=output).get(tftp_unit.NAME, {}).get("MainPID", "0")
        return None if process == "0" else f"{self._proc}/{process}/root"

    def _sees_another(self, folder: str) -> bool:
        """Tell whether the running server sees what was here before, and is covered or elsewhere now."""
        root = self._root()
        if root is None:
            return False
        try:
            return not os.path.samefile(f"{root}{folder}", folder)
        except OSError:
            return True

    def _check_view(self) -> None:
        """Stop a server that sees the files of the system."""
        root = self._root()
        if root is not None and os.path.lexists(f"{root}{tftp_unit.HIDDEN}"):
            self._changes.note(f"stop {tftp_unit.NAME}")
            output_of(self._run, ["systemctl", "disable", "--now", tftp_unit.NAME])
            raise TftpError(
                f"{tftp_unit.NAME} sees {tftp_unit.HIDDEN} of this host, and would serve it to everybody; "
                "expected that it sees the trees alone, by TemporaryFileSystem=/: remove what "
                f"undoes that, see 'systemctl cat {tftp_unit.NAME}'; it is stopped now"
            )
