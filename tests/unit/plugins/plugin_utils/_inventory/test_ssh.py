# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read out of ssh's own words; molecule/ssh_access does it with real nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.filter.inventory import ssh_hosts
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import ssh

# What OpenSSH 9.2 said at the end of its -v, shortened: through a head, which took another key than the node.
THROUGH_THE_HEAD = """OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.19 27 Jan 2026
debug1: Server accepts key: /root/head ED25519 SHA256:head explicit
Authenticated to 10.89.119.11 ([10.89.119.11]:22) using "publickey".
debug1: Server accepts key: /root/my key RSA SHA256:node explicit
Authenticated to 10.89.119.12 (via proxy) using "publickey".
Warning: Permanently added '10.89.119.12' (ED25519) to the list of known hosts.
Transferred: sent 2880, received 2916 bytes, in 0.1 seconds
"""
CERTIFICATE = "debug1: Server accepts key: /root/key ED25519-CERT SHA256:cert explicit\n"
REFUSED = "debug1: No more authentication methods to try.\npi@10.0.0.2: Permission denied ({}).\n"
HEAD_REFUSED = (
    "pi@head: Permission denied (publickey).\nkex_exchange_identification: Connection closed by remote host\n"
)


class Connection:
    """What of a connection counts, with a program in place of ssh that says what ssh said once."""

    def __init__(self, folder: Path, words: str, status: int) -> None:
        program, text = folder / "ssh", folder / "words"
        text.write_text(words)
        program.write_text(
            f'#!/bin/sh\necho "$@" >>{folder}/asked\n'
            f'for word; do [ "$word" = -G ] && echo "hostname 10.0.0.2" && exit; done\n'
            f"echo here; cat {text} >&2; exit {status}\n"
        )
        program.chmod(0o755)
        self.asked = folder / "asked"
        self.options: dict[str, Any] = {
            "ssh_executable": str(program),
            "ssh_args": "-C -o ControlMaster=auto",
            "ssh_common_args": '-o ProxyCommand="ssh -W %h:%p head"',
            "ssh_extra_args": "",
            "port": None,
            "host": "two",
            "private_key_file": "/keys/my key",
            "remote_user": "pi",
            "host_key_checking": True,
        }

    def get_option(self, name: str) -> Any:
        return self.options[name]


@pytest.mark.parametrize("before", ["", "a x y\n", "a x y", "a x y\n\n", "\n", "a x ü"])
def test_lines_are_added_as_lines(tmp_path: Path, before: str) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(before)
    ssh.append_lines(path, ["b x y", "c x y"])
    end = "" if before == "" or before.endswith("\n") else "\n"
    assert path.read_text() == f"{before}{end}b x y\nc x y\n"


def test_the_key_that_got_in_is_the_node_s(tmp_path: Path) -> None:
    connection = Connection(tmp_path, THROUGH_THE_HEAD, 0)
    assert ssh.log_in(connection, "true") == ("", "here\n", "SHA256:node")
    asked = connection.asked.read_text()
    assert asked.index("ControlMaster=no -o ControlPath=none") < asked.index("ControlMaster=auto")
    assert "-o BatchMode=yes" in asked
    assert '-o IdentityFile="/keys/my key" -l pi' in asked
    assert asked.endswith("-o ProxyCommand=ssh -W %h:%p head two true\n")


def test_a_certificate_is_no_key_of_the_list(tmp_path: Path) -> None:
    assert ssh.log_in(Connection(tmp_path, CERTIFICATE, 0), "true").fingerprint == ""


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (REFUSED.format("publickey,password"), "pi@10.0.0.2: Permission denied (publickey,password)."),
        ("", "ssh ended with 255"),
    ],
)
def test_why_it_failed(tmp_path: Path, words: str, problem: str) -> None:
    assert ssh.log_in(Connection(tmp_path, words, 255), "true").problem == problem


@pytest.mark.parametrize(
    ("words", "status", "methods"),
    [
        (REFUSED.format("publickey"), 255, ["publickey"]),
        (REFUSED.format("publickey,password"), 255, ["publickey", "password"]),
        (REFUSED.replace("10.0.0.2", "two").format("password"), 255, ["password"]),
        # What the head says is not the node's word.
        (HEAD_REFUSED, 255, None),
        (HEAD_REFUSED + REFUSED.format("password"), 255, ["password"]),
        ("ssh: connect to host 10.0.0.2 port 22: Connection refused\n", 255, None),
        ("", 0, ["none"]),
    ],
)
def test_what_is_offered(tmp_path: Path, words: str, status: int, methods: list[str] | None) -> None:
    assert ssh.offered(Connection(tmp_path, words, status)) == methods


GROUPS = {"nat_headnode": ["pi-1"], "control_plane": ["pi-1"], "workers": ["two", "near", "here"]}
HOSTVARS: dict[str, dict[str, Any]] = {
    "pi-1": {"ansible_host": "192.168.1.50", "ansible_user": "pi", "ansible_port": "2222"},
    "two": {
        "ansible_host": "10.0.0.2",
        "os_prep_hostname": "pi-2",
        "ansible_facts": {
            "ssh_host_key_ecdsa_public": "AAAAe",
            "ssh_host_key_ecdsa_public_keytype": "ecdsa-sha2-nistp256",
            "ssh_host_key_rsa_public": "AAAAr",
        },
    },
    "near": {"ssh_access_jump": "", "ansible_user": "pi", "ssh_access_user": "ada"},
    "here": {"ansible_connection": "local"},
}


def test_hosts() -> None:
    head, two, near = ssh_hosts(HOSTVARS, GROUPS)
    assert head["entry"] == {
        "names": ["pi-1"],
        "address": "192.168.1.50",
        "user": "pi",
        "port": 2222,
        "jump": "",
    }
    assert head["known"] == {"name": "pi-1", "known_as": ["[192.168.1.50]:2222", "[pi-1]:2222"], "keys": []}
    assert two["entry"] == {
        "names": ["two", "pi-2"],
        "address": "10.0.0.2",
        "user": "",
        "port": 22,
        "jump": "pi-1",
    }
    assert two["known"] == {
        "name": "two",
        "known_as": ["10.0.0.2", "pi-2"],
        "keys": ["ecdsa-sha2-nistp256 AAAAe", "ssh-rsa AAAAr"],
    }
    # Whose keys the role adds, is who is logged in as.
    assert near["entry"] == {"names": ["near"], "address": "near", "user": "ada", "port": 22, "jump": ""}
