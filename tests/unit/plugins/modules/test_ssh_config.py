# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's work on real files, with the real ssh."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.run_module import run_module

HOSTS = [
    {"names": ["pi-1"], "address": "192.168.1.50", "user": "pi"},
    {"names": ["pi-2"], "address": "10.0.0.2", "user": "pi", "jump": "pi-1"},
]


def run(folder: Path, *, check: bool = False, **options: Any) -> dict[str, Any]:
    return run_module(
        "ssh_config",
        check=check,
        **{
            "path": str(folder / "config"),
            "entries": str(folder / "bramble-rack.conf"),
            "title": "rack",
            "hosts": HOSTS,
            "key_file": str(folder / "id_ed25519"),
            **options,
        },
    )


def ask(config: Path, host: str) -> list[str]:
    command = ["ssh", "-F", str(config), "-G", host]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_nodes_are_found_by_name(tmp_path: Path) -> None:
    folder = tmp_path / ".ssh"
    assert run(folder, check=True)["changed"] is True
    assert not folder.exists()
    assert run(folder)["changed"] is True
    assert {"hostname 10.0.0.2", "user pi", "proxyjump pi-1"} <= set(ask(folder / "config", "pi-2"))
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, *sorted(folder.iterdir()))]
    assert modes == [0o700, 0o600, 0o600]
    done = run(folder)
    assert (done["changed"], "backup_file" in done) == (False, False)
    # A node that is gone, or another address.
    assert run(folder, hosts=HOSTS[:1])["changed"] is True
    assert "pi-2" not in (folder / "bramble-rack.conf").read_text()


ODD = (
    b'\tHost=pi-2 # M\xfcnchen\r\n  hostname "10.9.9.9"\n'
    b'Match host *.lan exec "true"\n  User=ada\nHost *\n  User nobody\n  Port 2222'
)


def test_an_odd_configuration_is_kept(tmp_path: Path) -> None:
    config = tmp_path / "config"
    (tmp_path / "dotfiles").write_bytes(ODD)
    (tmp_path / "dotfiles").chmod(0o644)
    config.symlink_to("dotfiles")
    before = {host: ask(config, host) for host in ("a.lan", "b.example")}
    assert run(tmp_path)["backup_file"] == str(tmp_path / "dotfiles.bramble-original")
    assert config.is_symlink()
    assert config.read_bytes().endswith(b"\n\n" + ODD)
    assert stat.S_IMODE(config.stat().st_mode) == 0o644
    assert (tmp_path / "dotfiles.bramble-original").read_bytes() == ODD
    assert {host: ask(config, host) for host in before} == before
    assert "hostname 10.0.0.2" in ask(config, "pi-2")


@pytest.mark.parametrize("line", [b"Hots old\n", b"\xef\xbb\xbfHost old\n"])
def test_a_configuration_that_ssh_does_not_take_is_not_touched(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "config").write_bytes(line)
    result = run(tmp_path)
    assert result["failed"]
    assert "does not take it as it is, before anything was changed" in result["msg"]
    assert "Bad configuration option" in result["msg"]
    assert [path.name for path in tmp_path.iterdir()] == ["config"]
    assert (tmp_path / "config").read_bytes() == line


def test_two_nodes_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host *\n  User nobody\n")
    result = run(tmp_path, hosts=[*HOSTS, {"names": ["pi-3", "pi-2"], "address": "10.0.0.3"}])
    assert result["failed"]
    assert "with the entries ssh has hostname '10.0.0.2' for pi-2; expected '10.0.0.3'" in result["msg"]
    assert [path.name for path in tmp_path.iterdir()] == ["config"]


def test_all_is_as_before_if_ssh_finds_another_rack_s_nodes_after_all(tmp_path: Path) -> None:
    before = f"Include {tmp_path}/bramble-*.conf\n"
    (tmp_path / "config").write_text(before)
    (tmp_path / "bramble-first.conf").write_text("Host pi-2\n  HostName 10.0.99.2\n")
    (tmp_path / "bramble-rack.conf").write_text("# old\n")
    result = run(tmp_path)
    assert result["failed"]
    assert "with the entries ssh has hostname '10.0.99.2' for pi-2; expected '10.0.0.2'" in result["msg"]
    assert (tmp_path / "config").read_text() == before
    assert (tmp_path / "bramble-rack.conf").read_text() == "# old\n"
