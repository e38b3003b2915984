# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of who gets in: by ssh, and by what is served without a password."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import authorized_key_problem
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import Finding, Rack
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access.accepted_hosts import (
    AcceptedHostsError,
    accepted_hosts,
)

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - to refuse it


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
    """Check that what is served without a password is not open to everybody."""
    where = "set it in group_vars/control_plane.yml"
    address = rack.cluster_value("live_view_address")
    if address in EVERYWHERE:
        yield Finding(
            f"live_view_address is {address!r}, which is open on every network; expected one address of the "
            f"node: {where}"
        )
    for name in rack.cluster_value("live_view_hosts") or ():
        if not re.fullmatch(r"[A-Za-z0-9.:-]+", name):
            yield Finding(
                f"live_view_hosts has {name!r}; expected names and addresses without a pattern: {where}"
            )
    if not rack.cluster_value("remote_access_proxy"):
        return
    address = rack.cluster_value("remote_access_proxy_address")
    if address in EVERYWHERE and not rack.cluster_value("remote_access_proxy_everywhere"):
        yield Finding(
            f"remote_access_proxy_address is {address!r}, which is open on every network; expected one "
            f"address of the node, or remote_access_proxy_everywhere as well: {where}"
        )
    networks = rack.cluster_value("remote_access_proxy_networks")
    if networks == []:
        yield Finding(f"remote_access_proxy_networks is []; expected the networks that may use it: {where}")
    try:
        accepted_hosts(networks or ())
    except AcceptedHostsError as error:
        yield Finding(f"remote_access_proxy_networks: {error}; {where}")
