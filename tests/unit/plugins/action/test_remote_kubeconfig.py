# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action remote_kubeconfig leaves of a file that is there; the cluster is played."""

from __future__ import annotations

import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.action.remote_kubeconfig import ActionModule

YAML11 = Path(__file__).parents[2] / "fixtures" / "kubeconfig" / "yaml11.yml"


def run(monkeypatch: pytest.MonkeyPatch, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    task = SimpleNamespace(
        args={"server": "https://192.168.1.50:6443", "common_name": "remote:ada", **arguments},
        async_val=0,
        check_mode=check,
        diff=False,
        action="remote_kubeconfig",
    )
    connection = SimpleNamespace(transport="ssh", _shell=SimpleNamespace(tmpdir=None))
    action = ActionModule(task, connection, None, None, None, None)
    monkeypatch.setattr(action, "_ca", lambda: "authority")
    monkeypatch.setattr(action, "_signed", lambda _csr: "certificate")
    monkeypatch.setattr(action, "_prove", lambda *_: None)
    return action.run(task_vars={})


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_others_have_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newline: str
) -> None:
    text = ("# mine\n" + YAML11.read_text()).replace("\n", newline).encode()
    dest = tmp_path / "config"
    dest.write_bytes(text)
    assert run(monkeypatch, dest=str(dest), check=True)["changed"]
    assert dest.read_bytes() == text
    done = run(monkeypatch, dest=str(dest))
    assert done["changed"], done
    assert Path(done["backup_file"]).read_bytes() == text
    after = dest.read_bytes()
    assert all(line in after.splitlines() for line in text.splitlines())
    assert b"rpi-cluster" in after
    assert stat.S_IMODE(dest.stat().st_mode) == 0o600
    gone = run(monkeypatch, dest=str(dest), state="absent")
    assert dest.read_bytes() == text
    assert Path(gone["backup_file"]).read_bytes() == after


def test_first_cluster_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dest = tmp_path / ".kube" / "config"
    assert run(monkeypatch, dest=str(dest)) == {"changed": True, "dest": str(dest)}
    assert stat.S_IMODE(dest.parent.stat().st_mode) == 0o700
    assert "current-context: rpi\n" in dest.read_text()


def test_name_that_is_there_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dest = tmp_path / "config"
    dest.write_text("users:\n- {name: a}\n- {name: a}\n")
    done = run(monkeypatch, dest=str(dest))
    assert done["failed"]
    assert "its users have the name a 2 times; expected each name once" in done["msg"]
