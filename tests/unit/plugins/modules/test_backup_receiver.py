# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane and a node that keeps its copies, set up by the modules, with a real sshd between them."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import Any

import pytest

from tests.sshd import sshd
from tests.unit import both_sides_of_copies as both_sides
from tests.unit.namespace_node import NamespaceNode
from tests.unit.run_module import REPOSITORY, run_module

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are made by root")

LINES = {
    "AllowUsers pi root": "AllowUsers of sshd is pi root; expected bramble-backup as well: add it in",
    "Prot 2": "sshd does not take its own configuration",
}


@pytest.fixture(scope="module")
def came(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what came of it all."""
    server = sshd()
    node = NamespaceNode(tmp_path_factory.mktemp("node"), folders=[])
    node.program("sshd", f'exec env {server.environment} {server.program} "$@"')
    node.write(
        "/etc/ssh/sshd_config",
        f"PidFile /run/sshd.pid\nUsePAM no\nPasswordAuthentication no\nSubsystem sftp {server.sftp_server}\n",
    )
    user = "id sshd >/dev/null 2>&1 || useradd --system --home-dir /run/sshd --shell /usr/sbin/nologin sshd"
    prepared = f"mkdir /run/sshd; ssh-keygen -A >/dev/null; {user}"
    both = shlex.join([sys.executable, "-m", both_sides.__name__, *LINES])
    path = shlex.quote(f"{REPOSITORY}/.collections:{REPOSITORY}")
    output = node.run(prepared, f"PYTHONPATH={path} {both}")[-1]
    assert output.strip(), node.errors
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def test_four_steps(came: dict[str, Any]) -> None:
    assert [each["changed"] for each in came["check"]] == [True, True]
    assert came["nothing yet"] == [False, False, False]
    assert [each["changed"] for each in came["apply"]] == [True, True, True], came["apply"]
    assert came["check"][1]["changes"] == came["apply"][1]["changes"][: len(came["check"][1]["changes"])]
    assert [each["changed"] for each in came["check again"]] == [False, False, False]
    assert [each["changed"] for each in came["apply again"]] == [False, False, False]


def test_the_user_owns_its_copies_and_nothing_else(came: dict[str, Any]) -> None:
    assert came["modes"] == [
        ["0o600", "root"],
        ["0o755", "root"],
        ["0o644", "root"],
        ["0o755", "root"],
        ["0o755", "root"],
        ["0o700", "bramble-backup"],
    ]
    assert "PRIVATE KEY" not in json.dumps(came["apply"])


def test_what_is_not_there_yet_is_sent_the_newest_first(came: dict[str, Any]) -> None:
    for sent in (came["sent"], came["sent again"]):
        assert (sent["error"], sent["names"], sent["file"]) == (None, sorted(came["names"]), came["names"][0])
    expected = {name: ["0o600", "bramble-backup", True] for name in came["names"]}
    assert came["there"] == expected


ONLY = "this key can add backups, and nothing else"


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        ("a shell", ONLY),
        ("a terminal", "PTY allocation request failed"),
        ("a command", ONLY),
        ("two commands", ONLY),
        ("another folder", ONLY),
        ("other content", "is there with other content"),
        ("sftp", ""),
        ("sftp by its subsystem", ""),
        ("scp", ""),
        ("scp from there", ""),
        ("a port from there", "stdio forwarding failed"),
        ("a port to there", "remote port forwarding failed"),
        ("its own keys", "Permission denied"),
        ("its own program", "Permission denied"),
        ("its own folder", "Permission denied"),
    ],
)
def test_a_stolen_key_adds_and_does_nothing_else(came: dict[str, Any], attempt: str, said: str) -> None:
    code, output = came["attempts"][attempt]
    assert code != 0, output
    assert code != 0, output
    assert said in output
    assert "uid=" not in output
    assert came["after all"] == came["there"], output


def test_another_machine_at_its_address_gets_nothing(came: dict[str, Any]) -> None:
    assert "Host key verification failed" in came["other host key"]
    assert "expected an answer of 127.0.0.1, port 2222: see that pi-2 is" in came["other host key"]
    assert "Connection refused; expected an answer of 127.0.0.1, port 2222" in came["nobody answers"]


@pytest.mark.parametrize("line", LINES)
def test_what_in_sshd_keeps_senders_out(came: dict[str, Any], line: str) -> None:
    said = came["lists"][line]
    assert LINES[line] in said


def test_all_goes_but_the_copies(came: dict[str, Any]) -> None:
    assert came["former"] == [["pi-2"], ["pi-2"], ["pi-2"]]
    assert came["key"] is False
    assert came["absent, check"]["changes"] == came["absent"]["changes"] == ["let pi-1 in no more"]
    assert came["absent"]["copies"] == 2
    assert "bramble-backup-of:pi-4" in came["lines"]
    assert "bramble-backup-of:pi-1" not in came["lines"]
    assert "remove the user bramble-backup" in came["last absent"]["changes"]
    assert not came["absent again"]["changed"]
    assert came["forgotten"] == [[], False]
    assert came["stays"] == sorted(came["names"])
    assert came["left"] == [False, False, "root"]
    assert came["theirs"] == ["0o755", 12345]
    assert came["back"] == [True, False]
    assert came["back, there"] == came["there"]


def test_a_key_that_is_none() -> None:
    assert run_module("backup_receiver", sender="../x", folder="/a b")["msg"].startswith(
        "backup_copy_folder is '/a b'; expected the whole path of a folder"
    )
