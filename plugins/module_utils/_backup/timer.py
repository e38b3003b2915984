# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timer runs on a control plane: a backup by the settings that the role has left there."""

from __future__ import annotations

import json
import signal
import sys
from typing import NoReturn

from ansible_collections.bramble.pi.plugins.module_utils._backup.make import NOT_COPIED, Wishes, make_backup
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError
from ansible_collections.bramble.pi.plugins.module_utils._backup.status import SETTINGS
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import run
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError, os_error_text
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text


def settings() -> Wishes:
    """Read what is asked of backups."""
    try:
        return Wishes.of(json.loads(read_text(SETTINGS) or ""))
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(
            f"{SETTINGS} cannot be read ({error}); expected what the role backup writes:"
            " run 'ansible-playbook bramble.pi.backup'"
        ) from error


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def main() -> None:
    """Make a backup, and say so in the journal."""
    # systemd's stop, or its time limit: what is in memory and what runs beside is removed.
    signal.signal(signal.SIGTERM, _end)
    try:
        status = make_backup(run=run, wishes=settings())
    except BrambleError as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        raise SystemExit(os_error_text(error)) from error
    sys.stdout.write(
        f"{status['file']}: {status['keys']} keys at revision {status['revision']},"
        f" proved at {status['proved']}\n"
    )
    problems = [copy["error"] for copy in status["copies"].values() if copy["error"]]
    if problems:
        sys.stderr.write("".join(f"{problem}\n" for problem in problems))
        raise SystemExit(NOT_COPIED)
