# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Ansible, and a user, get to a node by ssh."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._ssh import known_hosts
from ansible_collections.bramble.pi.plugins.module_utils._ssh.config import parse_settings
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity, rack_groups

#: The first value of an option counts for ssh, so these stand first: a connection of its own.
FRESH = ("-o", "ControlMaster=no", "-o", "ControlPath=none")
_TIMEOUT = 60
#: What ssh says of its own accord, beside the reason why it ends.
_CHATTER = re.compile(r"debug\d:|OpenSSH_|Authenticated to |Transferred: |Bytes per second|Warning: ")
_ACCEPTED = re.compile(r"Server accepts key: .* (?P<type>\S+) (?P<fingerprint>SHA256:\S+)")


class Login(NamedTuple):
    """What came of logging in."""

    #: Why it failed; empty if it did not.
    problem: str
    output: str
    #: Fingerprint of the key that the node took, if it was one that authorized_keys can have.
    fingerprint: str


def command(connection: Any, *options: str) -> list[str]:
    """Return how Ansible gets to a node, but for the node itself, with further options first."""
    option = connection.get_option
    found = [option("ssh_executable"), *options]
    for name in ("ssh_args", "ssh_common_args", "ssh_extra_args"):
        found += shlex.split(option(name) or "")
    if option("port"):
        found += ["-p", str(option("port"))]
    return found


def settings(connection: Any) -> dict[str, str]:
    """Ask ssh what it makes of its options and of the user's configuration."""
    output = subprocess.run(
        [*command(connection), "-G", connection.get_option("host")],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return parse_settings(output)


def known_keys(path: Path, name: str) -> list[str]:
    """Return the keys that a file has for a name; a mark such as @revoked is not for copying."""
    found = subprocess.run(
        known_hosts.find_command(name=name, path=str(path)), capture_output=True, text=True, check=False
    )
    return known_hosts.found_keys(found.stdout)


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Add lines to a file, whose last one an editor may have left without an end."""
    with path.open("rb+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write("".join(f"{line}\n" for line in lines).encode())


def _run(connection: Any, remote: str, *options: str) -> subprocess.CompletedProcess[str]:
    option = connection.get_option
    first = ["-v", *FRESH, "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", *options]
    if option("private_key_file"):
        first += ["-o", f'IdentityFile="{os.path.expanduser(option("private_key_file"))}"']
    if option("remote_user"):
        first += ["-l", option("remote_user")]
    if not option("host_key_checking"):
        first += ["-o", "StrictHostKeyChecking=no"]
    return subprocess.run(
        [*command(connection, *first), option("host"), remote],
        # Nobody is asked for a password, be it by a terminal or a window, at the head either.
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )


def log_in(connection: Any, remote: str) -> Login:
    """Log in again as Ansible does, but by a key alone, and run a command."""
    try:
        result = _run(connection, remote, "-o", "PreferredAuthentications=publickey")
    except subprocess.TimeoutExpired:
        return Login(f"no answer within {_TIMEOUT} s", "", "")
    if result.returncode != 0:
        said = [line for line in result.stderr.splitlines() if not _CHATTER.match(line)]
        return Login(" ".join(said[-3:]) or f"ssh ended with {result.returncode}", result.stdout, "")
    # The last is the node's, after that of the head.
    accepted = list(_ACCEPTED.finditer(result.stderr))[-1:]
    by_certificate = any(match["type"].endswith("-CERT") for match in accepted)
    return Login("", result.stdout, "" if by_certificate or not accepted else accepted[0]["fingerprint"])


def offered(connection: Any) -> list[str] | None:
    """Ask the node's sshd what it takes from somebody without a key; None if it could not be asked."""
    try:
        result = _run(connection, "true", "-o", "PreferredAuthentications=none")
    except subprocess.TimeoutExpired:
        return None
    if result.returncode == 0:
        return ["none"]
    # Under the name that the user's configuration makes of it; the head refuses under its own.
    hosts = {connection.get_option("host"), settings(connection).get("hostname", "")}
    refusals = re.findall(r"^\S*@(\S+): Permission denied \((.*)\)", result.stderr, re.MULTILINE)
    methods = [methods for host, methods in refusals if host in hosts]
    return methods[-1].split(",") if methods else None


def known_as(variables: Mapping[str, Any], host: str, hostname: str) -> list[str]:
    """List the names under which ssh looks for the keys of a host: its address, and its name."""
    port = identity.ssh_port(variables)
    names = dict.fromkeys([identity.outer_address(host, variables), hostname])
    return [known_hosts.known_name(host=name, port=port) for name in names]


def _host_keys(facts: Mapping[str, Any]) -> list[str]:
    keys = []
    for kind in ("ed25519", "ecdsa", "rsa"):
        name = f"ssh_host_key_{kind}_public"
        if facts.get(name):
            keys.append(f"{facts.get(f'{name}_keytype', f'ssh-{kind}')} {facts[name]}")
    return keys


def rack_hosts(
    *, hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """List the hosts of a rack as a user reaches them by ssh."""
    found = []
    for host in rack_groups.read(groups).members:
        variables = hostvars[host]
        if identity.is_local(variables):
            continue
        hostname = identity.hostname(host, variables)
        found.append(
            {
                "entry": {
                    "names": list(dict.fromkeys([host, hostname])),
                    "address": identity.outer_address(host, variables),
                    "user": identity.user(variables),
                    "port": identity.ssh_port(variables),
                    "jump": str(variables.get("ssh_access_jump", rack_groups.way_in(groups, host))),
                },
                "known": {
                    "name": host,
                    "known_as": known_as(variables, host, hostname),
                    "keys": _host_keys(variables.get("ansible_facts", {})),
                },
            }
        )
    return found
