# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common import program
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._monitoring import collect

DAY = 86400


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "fsync.json"
    monkeypatch.setattr(collect, "_MEASURED", str(path))
    return path


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (None, False),
        ("", False),
        ("[]", False),
        ('{"measured": 1000, "fsync": null}', True),
        (f'{{"measured": {1000 - DAY}, "fsync": null}}', False),
        # The clock was set back since.
        ('{"measured": 1001, "fsync": null}', False),
    ],
)
def test_the_disk_is_measured_once_a_day(measured: Path, text: str | None, known: bool) -> None:
    if text is not None:
        measured.write_text(text)
    assert (collect.last_measured(now=1000) is not None) is known


def test_the_program_runs_without_ansible_and_writes_metrics(tmp_path: Path) -> None:
    """As the timer runs it, on this machine itself; only where it reads and writes is another folder."""
    folder, settings, state = tmp_path / "program", tmp_path / "settings.json", tmp_path / "state"
    changes = Changes(check_mode=False)
    program.install_folder(collect, str(folder), changes)
    assert changes.sentences == [f"write {folder}"]
    source = folder / "ansible_collections/bramble/pi/plugins/module_utils/_monitoring/collect.py"
    units = source.with_name("units.py")
    source.write_text(source.read_text().replace("/etc/bramble/monitoring.json", str(settings)))
    units.write_text(units.read_text().replace("/run/bramble-monitoring", str(state)))
    command = [sys.executable, "-I", "-S", str(folder)]
    failed = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"{settings} cannot be read"), failed.stderr
    assert not state.exists()
    settings.write_text(json.dumps({"name": "pi-2", "fsync": False}))
    subprocess.run(command, check=True, cwd="/", timeout=120)
    text = (state / "bramble.prom").read_text()
    assert "\nbramble_examined_seconds " in text
    assert "\nbramble_examine_duration_seconds " in text
    assert "bramble_fsync_seconds" not in text
    # What Python has compiled is kept, as it runs all day.
    assert list(folder.rglob("collect.*.pyc"))


def test_the_program_is_written_again_where_it_is_another(tmp_path: Path) -> None:
    folder = tmp_path / "program"
    program.install_folder(collect, str(folder), Changes(check_mode=False))
    again = Changes(check_mode=False)
    program.install_folder(collect, str(folder), again)
    assert not again
    (folder / "__main__.py").write_text("")
    (folder / "old.py").write_text("")
    (folder / "__pycache__").mkdir()
    checked = Changes(check_mode=True)
    program.install_folder(collect, str(folder), checked)
    assert checked.sentences == [f"write {folder}"]
    assert (folder / "old.py").exists()
    program.install_folder(collect, str(folder), Changes(check_mode=False))
    assert (folder / "__main__.py").read_text()
    assert sorted(os.listdir(folder)) == ["__main__.py", "__pycache__", "ansible_collections"]
