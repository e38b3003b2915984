# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
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


COPY: dict[str, Any] = {"copied": None, "file": None, "names": [], "error": "pi-2 did not take it: no route"}
STATUS = {"file": "b.age", "keys": 3, "revision": 9, "proved": "now", "copies": {"pi-2": COPY}}


def test_a_copy_that_did_not_come_fails_the_unit_and_makes_no_other_backup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(timer, "end_on_sigterm", lambda: None)
    monkeypatch.setattr(timer, "settings", lambda: None)
    monkeypatch.setattr(timer, "make_backup", lambda **_given: STATUS)
    with pytest.raises(SystemExit) as ended:
        timer.main()
    service = Path(__file__).parents[5] / "roles" / "backup" / "templates" / "service.j2"
    assert f"RestartPreventExitStatus={ended.value.code}\n" in service.read_text()
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "b.age: 3 keys at revision 9, proved at now\n",
        "pi-2 did not take it: no route\n",
    )


def test_a_run_that_systemd_stops_removes_what_it_has() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(timer.__file__).parents[6])}
    command = [sys.executable, "-c", TIMER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "removed\n"
        assert process.wait() == 143
