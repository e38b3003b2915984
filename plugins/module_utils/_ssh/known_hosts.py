# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host keys that ssh knows, and whether they are those that a host has.

C(ssh-keygen) finds them, as it knows hashed names and patterns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SSH_PORT = 22


class Verdict(NamedTuple):
    """What is to be done of a name's keys, each as type and key."""

    missing: list[str]
    #: What is known there and is not the host's key.
    others: list[str]
    #: Keys of the host that somebody has revoked.
    revoked: list[str]


def known_name(*, host: str, port: int = SSH_PORT) -> str:
    """Write a name or address as known_hosts has it."""
    return host if port == SSH_PORT else f"[{host}]:{port}"


def find_command(*, name: str, path: str) -> list[str]:
    """Return the command that finds the keys of a name."""
    return ["ssh-keygen", "-F", name, "-f", path]


def forget_command(*, name: str, path: str) -> list[str]:
    """Return the command that removes the keys of a name."""
    return ["ssh-keygen", "-R", name, "-f", path]


def found_keys(output: str, *, mark: str = "") -> list[str]:
    """Read what was found: type and key of each line with that mark, such as @revoked, or without one."""
    keys = []
    for line in output.splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        marked = fields.pop(0) if fields[0].startswith("@") else ""
        if marked == mark and len(fields) >= 3:
            keys.append(" ".join(fields[1:3]))
    return keys


def judge(*, found: str, keys: Sequence[str]) -> Verdict:
    """Compare what was found with the keys that the host has."""
    known = found_keys(found)
    types = {key.split()[0] for key in keys}
    others = [key for key in known if key not in keys and key.split()[0] in types]
    if not set(known) & set(keys):
        # A host with keys of other types alone is another host.
        others = known
    return Verdict(
        missing=[key for key in keys if key not in known],
        others=others,
        revoked=[key for key in found_keys(found, mark="@revoked") if key in keys],
    )
