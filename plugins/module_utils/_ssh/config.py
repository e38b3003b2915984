# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of ssh: entries for the nodes of a rack, and the one line that includes them."""

from __future__ import annotations

import fnmatch
import os
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError


class SshConfigError(BrambleError):
    """The configuration cannot be written; the message says how to fix it."""


class Host(NamedTuple):
    """A node, by the names that a user calls it."""

    names: Sequence[str]
    address: str
    user: str = ""
    port: int = 22
    #: The name of the node through which it is reached.
    jump: str = ""


def parse_settings(output: str) -> dict[str, str]:
    """Read what C(ssh -G) or C(sshd -T) says; of a setting that stands there more than once, the last."""
    pairs = (line.partition(" ") for line in output.splitlines())
    return {key.lower(): value for key, _blank, value in pairs if key}


def quoted(text: str, what: str, *, tokens: bool = False) -> str:
    """Write a value; of some, ssh would take a % for more than it is."""
    if not text or any(character in '"\n\r\0\\' for character in text):
        raise SshConfigError(
            f"{what} is {text!r}; expected a text without quotation marks, backslashes and line breaks"
        )
    text = text.replace("%", "%%") if tokens else text
    return f'"{text}"' if any(character in " \t#'" for character in text) else text


def _name(name: str) -> str:
    if not name or any(character in " \t,!*?\"'#" for character in name):
        raise SshConfigError(
            f"a host is called {name!r}: ssh takes that for a pattern or for several names; rename it in the "
            "inventory"
        )
    return name


def entries(*, title: str, hosts: Sequence[Host], key_file: str, known_hosts: str = "") -> str:
    """Write the entries of the nodes."""
    blocks = [f"# The nodes of {' '.join(title.split())}, written by bramble.pi; changes are overwritten.\n"]
    for host in hosts:
        lines = [f"Host {' '.join(_name(name) for name in host.names)}"]
        lines.append(f"    HostName {quoted(host.address, 'ansible_host', tokens=True)}")
        if host.user:
            lines.append(f"    User {quoted(host.user, 'ansible_user')}")
        # Also where it is the usual one, as the user may have set another for all hosts.
        lines.append(f"    Port {host.port}")
        lines.append(f"    IdentityFile {quoted(key_file, 'ssh_access_key_file', tokens=True)}")
        if known_hosts:
            value = quoted(known_hosts, "ssh_access_known_hosts_file", tokens=True)
            lines.append(f"    UserKnownHostsFile {value}")
        if host.jump:
            lines.append(f"    ProxyJump {_name(host.jump)}")
        blocks.append("".join(f"{line}\n" for line in lines))
    return "\n".join(blocks)


def includes(config: bytes, *, path: str, home: str) -> bool:
    """Tell whether a configuration includes a file for every host: before its first Host or Match."""
    for line in config.decode("utf-8", "surrogateescape").splitlines():
        try:
            words = shlex.split(line.replace("=", " ", 1), comments=True)
        except ValueError:
            continue
        if not words:
            continue
        keyword = words[0].lower()
        if keyword in ("host", "match"):
            return False
        if keyword == "include":
            for word in words[1:]:
                pattern = os.path.join(home, ".ssh", word.replace("~", home, 1) if word[0] == "~" else word)
                if fnmatch.fnmatchcase(path, pattern):
                    return True
    return False


def with_include(config: bytes, *, path: str, home: str) -> bytes:
    """Give the configuration with a file included at its top, where that holds for every host."""
    if includes(config, path=path, home=home):
        return config
    return (
        f"Include {quoted(path, 'the path of the entries')}\n".encode() + (b"\n" if config else b"") + config
    )
