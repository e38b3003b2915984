# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._ssh.sshd import drop_in, effective_command, ways_in

# What `sshd -T` says, shortened: OpenSSH 9.2, and 8.4 with the older name.
NEW = {"port": "22", "passwordauthentication": "yes", "kbdinteractiveauthentication": "no"}
OLD = {**NEW, "passwordauthentication": "no", "challengeresponseauthentication": "yes"}


@pytest.mark.parametrize(
    ("effective", "ways"),
    [
        (NEW, ["PasswordAuthentication"]),
        (OLD, ["ChallengeResponseAuthentication"]),
        ({**NEW, "passwordauthentication": "no"}, []),
        (
            {**NEW, "kbdinteractiveauthentication": "yes"},
            ["PasswordAuthentication", "KbdInteractiveAuthentication"],
        ),
    ],
)
def test_ways_in(effective: dict[str, str], ways: list[str]) -> None:
    assert ways_in(effective) == ways


def test_options_are_those_that_sshd_has() -> None:
    assert drop_in(NEW).splitlines()[1:] == ["PasswordAuthentication no", "KbdInteractiveAuthentication no"]
    assert drop_in(OLD).splitlines()[3:] == ["ChallengeResponseAuthentication no"]


def test_all_that_old_versions_want_to_know_is_told() -> None:
    assert effective_command(sshd="/usr/sbin/sshd", user="pi") == [
        *("/usr/sbin/sshd", "-T", "-C"),
        "user=pi,host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22",
    ]
