# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.modules import backup_program

from tests.unit.kubeadm_node import run

AGE_KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "etc" / "backup.json"
    monkeypatch.setattr(backup_program, "SETTINGS", str(path))
    return path


def test_written_once_and_run_without_ansible(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "lib" / "backup.pyz"
    wishes: dict[str, Any] = {"recipients": [AGE_KEY], "dest": str(program)}
    assert run(backup_program, capsys, check=True, **wishes)["changed"]
    assert not program.exists()
    assert run(backup_program, capsys, **wishes)["changes"] == [f"write {settings}", f"write {program}"]
    assert json.loads(settings.read_text())["recipients"] == [AGE_KEY]
    assert not run(backup_program, capsys, **wishes)["changed"]
    assert run(backup_program, capsys, keep=3, **wishes)["changes"] == [f"write {settings}"]

    # Isolated: nothing of this checkout, and nothing of a user's, is imported.
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(program)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 1
    assert done.stderr.startswith("/etc/bramble/backup.json cannot be read"), done.stderr


def test_settings_that_cannot_be_kept_are_refused(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = run(backup_program, capsys, recipients=[], dest=str(tmp_path / "backup.pyz"))
    assert "backup_recipients is empty" in failed["msg"]
    assert not settings.exists()
