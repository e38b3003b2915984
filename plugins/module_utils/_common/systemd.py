# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd: what they are, and what is done so that they run."""

from __future__ import annotations

import re
from collections.abc import Callable

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

    def reload(self, unit: str) -> None:
        """Have a unit that runs read its configuration."""
        self._do(f"reload {unit}", ["systemctl", "reload", unit])

    def _do(self, sentence: str, command: list[str]) -> None:
        if self._changes.note(sentence):
            output_of(self._run, command)

    def ensure_running(
        self, unit: str, *, changed: bool, while_stopped: Callable[[], None] | None = None
    ) -> bool:
        """Ensure that a unit runs now and at each boot, restarted if its configuration has changed."""
        enabled = self.ensure_enabled(unit)
        if not changed and self.is_active(unit):
            return enabled
        self.restart(unit, while_stopped=while_stopped)
        return True
