# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what is shared with the nodes, and of the volumes in it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import storage
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, Finding, Rack


def check_storage(rack: Rack) -> Iterator[Finding]:
    """Check what the roles storage_server and storage are told."""
    told = {host: rack.told(host) for host in rack.hosts}
    for host, problem in chain(
        storage.server_problems(hosts=told, groups=rack.groups),
        storage.client_problems(hosts=told, groups=rack.groups),
    ):
        yield Finding(problem, host)
    listed = rack.cluster_value("storage_volumes")
    if not any(rack.is_unknown(host, "storage_server_shares") for host in storage.servers(rack.groups)):
        for problem in storage.volume_problems(hosts=told, groups=rack.groups, listed=listed):
            yield Finding(problem)
    # All of them see the same volumes, and the server makes their folders.
    for host in dict.fromkeys([*rack.nodes, *storage.servers(rack.groups)]):
        seen = rack.value(host, "storage_volumes")
        if None not in (seen, listed) and seen != listed:
            yield Finding(
                f"storage_volumes is {seen!r}, and on the control plane {listed!r}; expected the same: set"
                f" storage_volumes {ALL}",
                host,
            )
    for host in storage.servers(rack.groups):
        if host not in rack.groups.get("netboot_server", ()):
            continue
        for ours, theirs in (
            ("storage_server_nfs", "netboot_server_nfs"),
            ("storage_server_address", "netboot_server_address"),
        ):
            seen, expected = rack.value(host, ours), rack.value(host, theirs)
            if None not in (seen, expected) and seen != expected:
                yield Finding(
                    f"{ours} is {seen}, and {theirs} is {expected}; expected the same, as one NFS server"
                    f" serves both: set {ours} to {expected}",
                    host,
                )
