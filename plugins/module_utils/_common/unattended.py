# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs need that the node runs without a controller: commands, and an end that is theirs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Collection, Mapping
from typing import NoReturn


def run_command(
    command: list[str],
    *,
    data: str | None = None,
    environ_update: Mapping[str, str] | None = None,
    pass_fds: Collection[int] = (),
) -> tuple[int, str, str]:
    """Run a command as AnsibleModule.run_command does."""
    # Without input it reads none of this program's.
    given = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, **(environ_update or {})},
            pass_fds=pass_fds,
            **given,
        )
    except FileNotFoundError as error:
        return 127, "", str(error)
    return done.returncode, done.stdout, done.stderr


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def end_on_sigterm() -> None:
    """Have systemd's stop, or its time limit, end the program as an exception does."""
    signal.signal(signal.SIGTERM, _end)
