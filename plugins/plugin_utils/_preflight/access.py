# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of who gets in: by ssh, and by what is served without a password."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import authorized_key_problem
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import Finding, Rack
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import refusals


def check_ssh(rack: Rack) -> Iterator[Finding]:
    """Check whose keys may log in, and through which hosts the nodes are reached."""
    for host in rack.hosts:
        keys = rack.value(host, "ssh_access_authorized_keys")
        for number, key in enumerate(keys or (), start=1):
            problem = authorized_key_problem(key)
            if problem:
                yield Finding(
                    f"ssh_access_authorized_keys, entry {number}, {problem}; expected a line of a .pub "
                    "file, such as 'ssh-ed25519 AAAA… you@laptop'",
                    host,
                )
        seen = [host]
        while jump := rack.value(seen[-1], "ssh_access_jump"):
            if jump not in rack.hosts or jump in seen:
                what = "which leads back to it" if jump in seen else "which is not a host"
                yield Finding(
                    f"ssh_access_jump is {jump!r}, {what}: set it to the inventory's name of a host that is "
                    "reached without this one, or to '' for none",
                    host,
                )
                break
            seen.append(jump)


def check_open_doors(rack: Rack) -> Iterator[Finding]:
    """Check that what is served to others is open to those alone that are named."""
    problems = refusals.view_problems(
        address=rack.cluster_value("live_view_address"), hosts=rack.cluster_value("live_view_hosts")
    )
    access = refusals.Access(
        **{name: rack.cluster_value(f"remote_access_{name}") for name in refusals.Access._fields}
    )
    door = next(iter([*rack.heads, *rack.control_plane]), "")
    more = refusals.access_problems(access, door=door, heads=rack.heads, control_plane=rack.control_plane)
    yield from (Finding(problem) for problem in itertools.chain(problems, more))
