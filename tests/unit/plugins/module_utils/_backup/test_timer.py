# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from ansible_collections.bramble.pi.plugins.module_utils._backup import timer

TIMER = """
import time
from ansible_collections.bramble.pi.plugins.module_utils._backup import timer

def make_backup(**_arguments):
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("removed", flush=True)

timer.settings = lambda: None
timer.make_backup = make_backup
timer.main()
"""


def test_a_run_that_systemd_stops_removes_what_it_has() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(timer.__file__).parents[6])}
    command = [sys.executable, "-c", TIMER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "removed\n"
        assert process.wait() == 143
