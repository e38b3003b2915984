# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._ssh.config import (
    Host,
    SshConfigError,
    entries,
    includes,
    parse_settings,
    with_include,
)
from hypothesis import given
from hypothesis import strategies as st

HEAD = Host(names=["pi-1"], address="192.168.1.50", user="pi")
NODE = Host(names=["pi-2", "two"], address="10.0.0.2", user="pi", port=2222, jump="pi-1")
PATH = "/home/ada/.ssh/bramble-rack.conf"


def test_entries() -> None:
    text = entries(title="rack", hosts=[HEAD, NODE], key_file="/home/ada/my key%1", known_hosts="/k")
    assert text == (
        "# The nodes of rack, written by bramble.pi; changes are overwritten.\n\n"
        "Host pi-1\n    HostName 192.168.1.50\n    User pi\n    Port 22\n"
        '    IdentityFile "/home/ada/my key%%1"\n    UserKnownHostsFile /k\n\n'
        "Host pi-2 two\n    HostName 10.0.0.2\n    User pi\n    Port 2222\n"
        '    IdentityFile "/home/ada/my key%%1"\n    UserKnownHostsFile /k\n    ProxyJump pi-1\n'
    )


def test_ssh_reads_the_entries_as_they_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "entries"
    odd = Host(names=["odd"], address="fe80::1%eth0", user="user#1 o'x")
    path.write_text(entries(title="a\nHost *", hosts=[NODE, odd], key_file="/home/ada/my key%1"))
    command = ["ssh", "-F", str(path), "-G"]
    seen = parse_settings(
        subprocess.run([*command, "two"], capture_output=True, text=True, check=True).stdout
    )
    assert (seen["hostname"], seen["port"], seen["user"], seen["proxyjump"]) == (
        "10.0.0.2",
        "2222",
        "pi",
        "pi-1",
    )
    assert seen["identityfile"] == "/home/ada/my key%%1"
    seen = parse_settings(
        subprocess.run([*command, "odd"], capture_output=True, text=True, check=True).stdout
    )
    assert (seen["hostname"], seen["user"]) == ("fe80::1%eth0", "user#1 o'x")


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (HEAD._replace(names=["pi-*"]), "a host is called 'pi-*'"),
        (HEAD._replace(names=["a b"]), "rename it in the inventory"),
        (HEAD._replace(jump="!x"), "a host is called '!x'"),
        (HEAD._replace(user='p"i'), "ansible_user is 'p\"i'"),
        (HEAD._replace(address="10.0.0.1\n"), "ansible_host is '10.0.0.1\\n'"),
    ],
)
def test_what_would_be_read_in_another_way_is_refused(host: Host, message: str) -> None:
    with pytest.raises(SshConfigError) as caught:
        entries(title="rack", hosts=[host], key_file="/k")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("config", "there"),
    [
        (f"Include {PATH}\n", True),
        (f'# mine\n\n\tinclude="{PATH}" # rack\n', True),
        ("Include other ~/.ssh/bramble-*.conf\n", True),
        ("Include bramble-rack.conf\n", True),
        ("Include config.d/*\n", False),
        (f"# Include {PATH}\n", False),
        # There it holds for some hosts alone.
        (f"Host old\n  User ada\nInclude {PATH}\n", False),
        (f"Match all\nInclude {PATH}\n", False),
        ('Include "~/unfinished\n', False),
        ("", False),
    ],
)
def test_includes(config: str, there: bool) -> None:
    assert includes(config.encode(), path=PATH, home="/home/ada") == there


CONFIGS = st.one_of(
    st.binary(),
    st.lists(st.sampled_from(["Host old", "User ada", "Include config.d/*", "# x", "", "Match all"])).map(
        lambda lines: "\n".join(lines).encode()
    ),
)


@given(config=CONFIGS)
def test_the_line_is_entered_once_and_all_else_is_kept(config: bytes) -> None:
    after = with_include(config, path=PATH, home="/home/ada")
    assert after.endswith(config)
    assert includes(after, path=PATH, home="/home/ada")
    assert with_include(after, path=PATH, home="/home/ada") == after
