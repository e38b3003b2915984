# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Password login of a node's sshd: looked at, disabled on trial, and kept so or reverted."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.secrets import file_diff
from ansible_collections.bramble.pi.plugins.module_utils._ssh.config import parse_settings
from ansible_collections.bramble.pi.plugins.module_utils._ssh.sshd import (
    DROP_IN,
    TRIAL,
    TRIAL_TEXT,
    UNIT,
    drop_in,
    effective_command,
    trial_command,
    ways_in,
)

KEEP = "or set ssh_access_password_login to keep"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class PasswordLoginError(BrambleError):
    """Password login cannot be disabled; the message says why, and what fixes it."""


class PasswordLogin:
    """The sshd of a node, by what it does for a user.

    ``root`` is put before the paths of files; tests give a folder.
    """

    def __init__(
        self, run: Runner, *, sshd: str, user: str, seconds: int, check_mode: bool, root: str = ""
    ) -> None:
        self._run = run
        self._sshd = sshd
        self._user = user
        self._seconds = seconds
        self._check_mode = check_mode
        self._root = root
        self._changes = Changes(check_mode=check_mode, root=root)

    def look(self) -> dict[str, Any]:
        """Tell by which ways a password gets in."""
        # A trial that nobody came back to counts for nothing.
        if self._is_trial() and not self._check_mode:
            self.revert()
        effective = self._effective()
        ways = ways_in(effective)
        before = read_text(self._root + DROP_IN) or ""
        return {
            "changed": bool(ways),
            "ways_in": ways,
            "boot_id": (read_text(self._root + _BOOT_ID) or "").strip(),
            "diff": file_diff(path=DROP_IN, before=before, after=drop_in(effective) if ways else before),
        }

    def attempt(self) -> dict[str, Any]:
        """Disable password login for a while."""
        text = drop_in(self._effective())
        # Left by a run that was killed.
        self._stop_timer()
        output_of(self._run, trial_command(seconds=self._seconds))
        self._changes.write(TRIAL, text)
        self._changes.write(DROP_IN, TRIAL_TEXT)
        ways = ways_in(self._effective())
        if ways:
            self.revert()
            raise PasswordLoginError(
                f"{' and '.join(ways)} stays on, and nothing was changed: /etc/ssh/sshd_config does not read "
                f"{DROP_IN}, or has another value before that or in a Match block; expected the line "
                f"'Include /etc/ssh/sshd_config.d/*.conf' at its top: put it there, {KEEP}"
            )
        self._reload()
        return {"changed": True}

    def confirm(self) -> dict[str, Any]:
        """Keep what was tried."""
        in_time = self._stop_timer()
        text = read_text(self._root + TRIAL)
        if in_time and text is not None and self._is_trial():
            self._changes.write(DROP_IN, text)
            os.unlink(self._root + TRIAL)
            return {"changed": True}
        self.revert()
        raise PasswordLoginError(
            "password login is on again, as the controller came back after more than "
            f"{self._seconds} s; run again, {KEEP}"
        )

    def revert(self) -> dict[str, Any]:
        """Have the configuration as it was; what has been proved stays."""
        if self._is_trial():
            os.unlink(self._root + DROP_IN)
            self._reload()
        if os.path.lexists(self._root + TRIAL):
            os.unlink(self._root + TRIAL)
        self._stop_timer()
        return {"changed": False}

    def _effective(self) -> dict[str, str]:
        code, output, errors = self._run(effective_command(sshd=self._sshd, user=self._user))
        if code != 0:
            if not self._check_mode:
                self.revert()
            raise PasswordLoginError(
                f"sshd does not take its own configuration: {' '.join(errors.split())}; expected one that "
                f"`sshd -t` takes: correct it, {KEEP}"
            )
        return parse_settings(output)

    def _reload(self) -> None:
        """Have sshd read its configuration; one that is started for each connection does so by itself."""
        for unit in ("ssh.service", "sshd.service"):
            if self._run(["systemctl", "is-active", "--quiet", unit])[0] == 0:
                output_of(self._run, ["systemctl", "reload", unit])
                return

    def _stop_timer(self) -> bool:
        """Keep the trial from being reverted; return whether it was in time."""
        return self._run(["systemctl", "stop", f"{UNIT}.timer"])[0] == 0

    def _is_trial(self) -> bool:
        return read_text(self._root + DROP_IN) == TRIAL_TEXT
