# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host keys that ssh knows, and whether they are those that a host has.

C(ssh-keygen) finds them, as it knows hashed names and patterns.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import fingerprint

SSH_PORT = 22


class KnownHostsError(BrambleError):
    """The host keys cannot be entered; the message says whose, and what fixes it."""


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


def compare(*, found: str, keys: Sequence[str]) -> Verdict:
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


class Plan(NamedTuple):
    """What is to be done of a file."""

    #: The lines to enter, and the names that they are of.
    lines: list[str]
    added: list[str]
    #: The names to forget before that.
    replaced: list[str]
    #: Why the file has to be left as it is.
    problems: list[str]


def _shown(key: str) -> str:
    kind, blob = key.split()
    try:
        return f"{kind} {fingerprint(blob)}"
    except ValueError:
        return f"{kind} {blob!r} (no key)"


def plan(run: Runner, *, path: str, hosts: Sequence[Mapping[str, Any]], replace: bool) -> Plan:
    """Compare a file with the keys that hosts have; each has a name, names it is known as, and keys."""
    made = Plan([], [], [], [])
    for host in hosts:
        keys = [" ".join(key.split()[:2]) for key in host["keys"]]
        if not keys:
            made.problems.append(
                f"{host['name']}: it has no host key in /etc/ssh; make some by `sudo ssh-keygen -A` there"
            )
            continue
        changed: dict[tuple[str, str], list[str]] = {}
        for name in host["known_as"]:
            # Without a file, or a key of that name in it, ssh-keygen ends with 1.
            found = run(find_command(name=name, path=path))[1] if os.path.exists(path) else ""
            verdict = compare(found=found, keys=keys)
            made.problems.extend(
                f"{host['name']}: its {_shown(key)} is revoked by a line for {name}"
                for key in verdict.revoked
            )
            missing = verdict.missing
            if verdict.others:
                # One pair of keys says it; those of the same type if there are such.
                pairs = [(other, key) for other in verdict.others for key in keys]
                pairs.sort(key=lambda pair: pair[0].split()[0] != pair[1].split()[0])
                changed.setdefault(pairs[0], []).append(name)
                missing = keys
            made.lines.extend(f"{name} {key}" for key in missing)
            made.added.extend([name] if missing else [])
        made.replaced.extend(name for names in changed.values() for name in names)
        if not replace:
            made.problems.extend(
                f"{host['name']}: {' and '.join(names)} is known with {_shown(other)}, and the node itself "
                f"has {_shown(key)}"
                for (other, key), names in changed.items()
            )
    return made


def _without(run: Runner, text: str, names: Sequence[str]) -> str:
    """Return the text without the keys of the names; the file itself is not touched."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "known_hosts")
        write_text(copy, text)
        for name in names:
            output_of(run, forget_command(name=name, path=copy))
        return read_text(copy) or ""


def enter(
    run: Runner, *, path: str, hosts: Sequence[Mapping[str, Any]], replace: bool, changes: Changes
) -> Plan:
    """Enter the keys of hosts; one that is known with another key keeps everything as it is, unless asked."""
    made = plan(run, path=path, hosts=hosts, replace=replace)
    if made.problems:
        raise KnownHostsError(
            f"{path} was left as it is. {'; '.join(made.problems)}. If a card was written again or a board "
            "exchanged, say so once with -e ssh_access_replace_host_keys=true; or find out who answers there"
        )
    before = read_text(path) or ""
    after = _without(run, before, made.replaced) if made.replaced else before
    after += "\n" if made.lines and after and not after.endswith("\n") else ""
    after += "".join(f"{line}\n" for line in made.lines)
    folder = os.path.dirname(path)
    if before != after and not changes.check_mode and not os.path.isdir(folder):
        os.makedirs(folder, mode=0o700)
    # A file that is not there is as good as an empty one.
    if before != after:
        changes.write(path, after, mode=0o600)
    return made
