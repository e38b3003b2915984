# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._ssh.known_hosts import (
    Verdict,
    compare,
    find_command,
    found_keys,
    known_name,
)

ONE, TWO, THREE = "ssh-ed25519 AAAAone", "ssh-rsa AAAAtwo", "ssh-rsa AAAAthree"


def test_names() -> None:
    assert known_name(host="pi-2") == "pi-2"
    assert known_name(host="10.0.0.2", port=2222) == "[10.0.0.2]:2222"


@pytest.mark.parametrize(
    ("known", "verdict"),
    [
        ([], Verdict([ONE, TWO], [], [])),
        ([f"pi {ONE}", f"pi {TWO} comment"], Verdict([], [], [])),
        ([f"pi {ONE}"], Verdict([TWO], [], [])),
        ([f"pi {ONE}", f"pi {THREE}"], Verdict([TWO], [THREE], [])),
        # A key of a type that the host no longer has stays, if another one is right.
        ([f"pi {ONE}", "pi ssh-dss AAAA"], Verdict([TWO], [], [])),
        (["pi ssh-dss AAAA"], Verdict([ONE, TWO], ["ssh-dss AAAA"], [])),
        ([f"@revoked * {THREE}"], Verdict([ONE, TWO], [], [])),
        ([f"@revoked * {TWO}"], Verdict([ONE, TWO], [], [TWO])),
        (["@cert-authority *.lan ssh-rsa AAAAca"], Verdict([ONE, TWO], [], [])),
    ],
)
def test_verdicts(known: list[str], verdict: Verdict) -> None:
    found = "".join(f"# Host pi found: line {number}\n{line}\n" for number, line in enumerate(known, 1))
    assert compare(found=found, keys=[ONE, TWO]) == verdict


def test_what_ssh_keygen_finds_is_read(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    path = tmp_path / "known_hosts"
    path.write_text(f"pi-1,10.0.0.1 {public} a comment\n*.lan {public}\n")
    subprocess.run(["ssh-keygen", "-H", "-f", path], check=True, capture_output=True)
    assert "pi-1" not in path.read_text()
    for name in ("pi-1", "10.0.0.1", "pi-7.lan"):
        command = find_command(name=name, path=str(path))
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert found_keys(found) == [public]
