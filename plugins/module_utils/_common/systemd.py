# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd: what they are, and what is done so that they run."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Collection

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of


def unit_properties(*, text: str) -> dict[str, dict[str, str]]:
    """Return the properties of each unit in what ``systemctl show`` printed, by the unit's Id."""
    found = {}
    for block in re.split(r"\n\s*\n", text):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("Id"):
            found[values["Id"]] = values
    return found


def is_active(run: Runner, unit: str) -> bool:
    """Tell whether a unit runs."""
    return run(["systemctl", "is-active", "--quiet", unit])[0] == 0


def is_younger(files: Collection[str], *, than: float) -> bool:
    """Tell whether one of the files was written in the last so many seconds.

    Ages are compared and no times: the clock of a Raspberry Pi stands wrong until it is set over the network.
    One of a time to come tells nothing.
    """
    now = time.time()
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            if 0 <= now - os.stat(path).st_mtime < than:
                return True
    return False


#: Where files of units and their drop-ins are written, which systemd itself reads.
_UNITS = "/etc/systemd/system/"


class Systemd:
    """Asks systemd about units, and notes down what it changes of them."""

    def __init__(self, *, run: Runner, changes: Changes) -> None:
        self._run = run
        self._changes = changes

    def is_active(self, unit: str) -> bool:
        """Tell whether a unit runs."""
        return is_active(self._run, unit)

    def is_enabled(self, unit: str) -> bool:
        """Tell whether a unit is started at each boot."""
        return self._run(["systemctl", "is-enabled", "--quiet", unit])[0] == 0

    def read_units(self) -> None:
        """Have systemd read the files of units, after one was written; that in itself is no change."""
        if not self._changes.check_mode:
            output_of(self._run, ["systemctl", "daemon-reload"])

    def ensure_enabled(self, unit: str) -> bool:
        """Ensure that a unit is started at each boot, and tell whether it was not."""
        if self.is_enabled(unit):
            return False
        self._do(f"start {unit} at each boot", ["systemctl", "enable", unit])
        return True

    def restart(self, unit: str, *, while_stopped: Callable[[], None] | None = None) -> None:
        """Restart a unit; ``while_stopped`` does what must not be done while it runs.

        Files of units are read in between: a unit is stopped by what its file said when it was started.
        """
        if not self._changes.note(f"restart {unit}"):
            return
        output_of(self._run, ["systemctl", "stop", unit])
        self.read_units()
        if while_stopped is not None:
            while_stopped()
        output_of(self._run, ["systemctl", "start", unit], remedy=f"see 'journalctl -u {unit}'")

    def restart_in_one(self, unit: str) -> None:
        """Restart a unit that runs, and that nothing starts if this run is killed in between."""
        self._do(f"restart {unit}", ["systemctl", "restart", unit])

    def reload(self, unit: str) -> None:
        """Have a unit that runs read its configuration."""
        self._do(f"reload {unit}", ["systemctl", "reload", unit])

    def _do(self, sentence: str, command: list[str]) -> None:
        if self._changes.note(sentence):
            output_of(self._run, command)

    def ensure_running(
        self,
        unit: str,
        *,
        changed: bool,
        files: Collection[str] = (),
        while_stopped: Callable[[], None] | None = None,
    ) -> bool:
        """Ensure that a unit runs now and at each boot, restarted if its configuration has changed.

        With ``files``, those that it reads when it is started, a run that was killed before the restart is
        finished by the next one.
        """
        enabled = self.ensure_enabled(unit)
        if not changed and (self.runs_by(unit, files) if files else self.is_active(unit)):
            return enabled
        self.restart(unit, while_stopped=while_stopped)
        return True

    def ensure_stopped(self, unit: str) -> None:
        """Ensure that a unit neither runs nor is started at boot."""
        # One that others start has nothing that starts it at boot, and counts as enabled by its exit code.
        enabled = self._run(["systemctl", "is-enabled", unit])[1].startswith("enabled")
        if enabled or self.is_active(unit):
            self._do(f"stop {unit}", ["systemctl", "disable", "--now", unit])

    def is_outdated(self, unit: str, files: Collection[str]) -> bool:
        """Tell whether a unit runs that was started before one of its files was written."""
        return self.runs_by(unit, files) is False

    def runs_by(self, unit: str, files: Collection[str]) -> bool | None:
        """Tell whether a unit that runs was started with its files as they are; None if it does not run."""
        properties = "--property=ActiveState,ActiveEnterTimestampMonotonic,NeedDaemonReload"
        _code, output, _errors = self._run(["systemctl", "show", properties, unit])
        values = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
        if values.get("ActiveState") not in ("active", "reloading"):
            return None
        if values.get("NeedDaemonReload") == "yes" and any(path.startswith(_UNITS) for path in files):
            # One that failed, and was started again since, was started by what systemd had read before.
            return False
        started = int(values.get("ActiveEnterTimestampMonotonic") or 0)
        return not is_younger(files, than=time.monotonic() - started / 1e6)
