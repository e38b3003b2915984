# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's work on real files, with the real ssh-keygen."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.run_module import run_module


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("a", "b"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    return [" ".join((folder / f"{name}.pub").read_text().split()[:2]) for name in ("a", "b")]


def run(path: Path, key: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    hosts = [{"name": "pi-2", "known_as": ["10.0.0.2", "[pi-2]:2222"], "keys": [f"{key} root@pi"]}]
    return run_module("known_hosts", check=check, path=str(path), hosts=hosts, **options)


def test_keys_are_entered_once(tmp_path: Path, keys: list[str]) -> None:
    path = tmp_path / "ssh" / "known_hosts"
    assert run(path, keys[0], check=True)["changed"] is True
    assert not path.parent.exists()
    assert run(path, keys[0])["added"] == ["10.0.0.2", "[pi-2]:2222"]
    assert path.read_text() == f"10.0.0.2 {keys[0]}\n[pi-2]:2222 {keys[0]}\n"
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]
    assert run(path, keys[0])["changed"] is False


def test_a_changed_key_is_refused_until_it_is_expected(tmp_path: Path, keys: list[str]) -> None:
    path = tmp_path / "known_hosts"
    before = f"github.example {keys[1]}\n10.0.0.2 {keys[1]} old\n# mine"
    path.write_text(before)
    result = run(path, keys[0])
    assert result["failed"]
    assert "pi-2: 10.0.0.2 is known with ssh-ed25519 SHA256:" in result["msg"]
    assert "ssh_access_replace_host_keys=true" in result["msg"]
    assert path.read_text() == before
    assert run(path, keys[0], replace=True, check=True)["replaced"] == ["10.0.0.2"]
    assert path.read_text() == before
    assert run(path, keys[0], replace=True)["changed"] is True
    assert path.read_text() == (
        f"github.example {keys[1]}\n# mine\n10.0.0.2 {keys[0]}\n[pi-2]:2222 {keys[0]}\n"
    )
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("replace", [False, True])
def test_a_last_line_without_an_end(tmp_path: Path, keys: list[str], replace: bool) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"github.example {keys[1]}")
    assert run(path, keys[0], replace=replace)["changed"] is True
    assert path.read_text() == (f"github.example {keys[1]}\n10.0.0.2 {keys[0]}\n[pi-2]:2222 {keys[0]}\n")
    assert run(path, keys[0], replace=replace)["changed"] is False


def test_hashed_names_are_found(tmp_path: Path, keys: list[str]) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"10.0.0.2 {keys[0]}\n")
    subprocess.run(["ssh-keygen", "-H", "-f", path], check=True, capture_output=True)
    assert run(path, keys[0])["added"] == ["[pi-2]:2222"]
    assert run(path, keys[1])["failed"]


def test_a_key_that_is_none_is_another_one(tmp_path: Path, keys: list[str]) -> None:
    path = tmp_path / "known_hosts"
    path.write_text("10.0.0.2 ssh-ed25519 AAAAC\n")
    assert "10.0.0.2 is known with ssh-ed25519 'AAAAC' (no key), and" in run(path, keys[0])["msg"]
    run(path, keys[0], replace=True)
    assert "AAAAC " not in path.read_text()
    assert run(path, keys[0])["changed"] is False


def test_a_host_without_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("10.0.0.2 ssh-ed25519 AAAA\n")
    hosts = [{"name": "pi-2", "known_as": ["10.0.0.2"], "keys": []}]
    result = run_module("known_hosts", path=str(tmp_path / "known_hosts"), hosts=hosts, replace=True)
    assert "pi-2: it has no host key in /etc/ssh" in result["msg"]


def test_a_revoked_key_is_refused(tmp_path: Path, keys: list[str]) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"@revoked * {keys[0]}\n")
    assert "is revoked by a line for 10.0.0.2" in run(path, keys[0], replace=True)["msg"]
