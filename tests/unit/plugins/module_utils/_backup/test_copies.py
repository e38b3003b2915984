# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup import copies
from ansible_collections.bramble.pi.plugins.module_utils._backup.copies import Receiver, Request
from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import authorized_key_problem

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lq5CLZ0mP3n7m8yq0wEwTtQzZJ4h2v0r8bD0x9q1X"
OPEN = """\
pubkeyauthentication yes
authenticationmethods any
forcecommand none
authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2
"""


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (OPEN, None),
        ("", None),
        # As the role ssh_access leaves it.
        (f"{OPEN}passwordauthentication no\nkbdinteractiveauthentication no\n", None),
        # sshd -T has a line for each name.
        (
            f"{OPEN}allowusers pi\nallowusers root\n",
            "AllowUsers of sshd is pi root; expected bramble-backup as",
        ),
        (f"{OPEN}allowusers pi\nallowusers bramble-*\n", None),
        (f"{OPEN}allowusers bramble-backup@10.0.0.*\n", None),
        (f"{OPEN}allowgroups ssh\n", "AllowGroups of sshd is ssh; expected bramble-backup as well"),
        (f"{OPEN}allowgroups ssh\nallowgroups bramble-backup\n", None),
        (f"{OPEN}denyusers bramble-backup\n", "DenyUsers of sshd is bramble-backup; expected it without bra"),
        (f"{OPEN}denygroups *\n", "DenyGroups of sshd is *; expected it without bramble-backup: remove"),
        ("pubkeyauthentication no\n", "PubkeyAuthentication of sshd is no; expected yes for bramble-backup"),
        ("authenticationmethods publickey,password\n", "AuthenticationMethods of sshd is publickey,password"),
        ("authenticationmethods publickey\n", None),
        (
            "forcecommand /bin/false\n",
            "ForceCommand of sshd is set for all; expected none for bramble-backup",
        ),
        ("authorizedkeysfile /etc/ssh/keys/%u\n", "AuthorizedKeysFile of sshd is /etc/ssh/keys/%u; expected"),
        (
            "authorizedkeysfile none\n",
            "AuthorizedKeysFile of sshd is none; expected .ssh/authorized_keys for",
        ),
        ("authorizedkeysfile %h/.ssh/authorized_keys\n", None),
    ],
)
def test_what_in_sshd_keeps_senders_out(settings: str, problem: str | None) -> None:
    found = list(copies.door_problems(settings))
    assert len(found) == (problem is not None)
    assert all(each.startswith(problem or "") for each in found), found


@pytest.mark.parametrize(
    ("folder", "fits"),
    [
        ("/var/lib/bramble-backup-copies", True),
        ("/mnt/disk_1/copies/", True),
        ("/mnt/my disk", False),
        ('/mnt/"', False),
        ("/mnt/$(id)", False),
        ("/mnt/a\nb", False),
        ("/mnt/a\n", False),
        ("/mnt/%h", False),
        ("/mnt/../etc", False),
        ("/var/lib/./bramble-backup", False),
        # They would go with the user.
        ("/var/lib/bramble-backup", False),
        ("/var/lib/bramble-backup/", False),
        ("/var/lib/bramble-backup/copies", False),
        ("/etc/bramble/backup-copy/x", False),
        ("/var/lib/bramble-backup2", True),
        ("mnt", False),
        ("/", False),
        ("", False),
    ],
)
def test_folders(folder: str, fits: bool) -> None:
    assert (copies.folder_problem(folder) == "") == fits


def test_each_sender_has_one_line() -> None:
    def with_sender(text: str, sender: str, key: str = KEY) -> str:
        line = copies.authorized_line(sender=sender, key=key, folder="/copies", days=30)
        # sshd takes it, with what it restricts.
        assert authorized_key_problem(line) is None
        return copies.with_sender(text, sender=sender, line=line)

    first = with_sender("", "pi-1")
    assert first.splitlines()[1:] == [
        'restrict,command="/usr/bin/python3 -I /var/lib/bramble-backup/receive.pyz /copies/pi-1 30"'
        f" {KEY} bramble-backup-of:pi-1"
    ]
    both = with_sender(first, "pi-10")
    assert len(both.splitlines()) == 3
    assert with_sender(both, "pi-1") == both
    # A card that was flashed again has another key.
    other = with_sender(both, "pi-1", KEY.replace("9q1X", "9q1Y"))
    assert len(other.splitlines()) == 3
    assert KEY not in next(line for line in other.splitlines() if line.endswith(":pi-1"))
    assert copies.with_sender(both, sender="pi-10") == first
    assert copies.with_sender(first, sender="pi-1") == ""


def test_ssh_has_one_key_and_one_host_key() -> None:
    words = copies.ssh_command(Receiver("pi-2", "10.0.0.2", 2222), Request("name", 3, "0f"))
    assert words[-3:] == ["--", "10.0.0.2", "add name 3 0f"]
    assert {
        "CheckHostIP=no",
        "StrictHostKeyChecking=yes",
        "HostKeyAlias=pi-2",
        "IdentitiesOnly=yes",
        "BatchMode=yes",
    } <= set(words)
    assert words[1:3] == ["-F", "none"]


def test_those_who_may_still_let_it_in() -> None:
    def former(before: object, now: list[str], forget: list[str]) -> list[str]:
        receivers = [Receiver(name, "10.0.0.9", 22) for name in now]
        return copies.former(before=before, now=receivers, forget=forget)  # type: ignore[arg-type]

    before = {"copies": [{"name": "pi-2"}, {"name": "pi-3"}], "former": ["pi-4"]}
    assert former(before, ["pi-3"], []) == ["pi-2", "pi-4"]
    assert former(before, ["pi-3", "pi-4"], []) == ["pi-2"]
    assert former(before, [], ["pi-2", "pi-4"]) == ["pi-3"]
    assert former(None, ["pi-3"], []) == []
    assert former({"keep": 3}, [], []) == []
