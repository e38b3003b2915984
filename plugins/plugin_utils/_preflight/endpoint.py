# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of control_plane_endpoint: where the nodes reach the API server."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._node.settings import HOST_NAME
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import (
    AddressError,
    check_host,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, Finding, Rack


def check_endpoint(rack: Rack) -> Iterator[Finding]:
    """Check that the endpoint is a name or an address, and not that of a node without an API server."""
    endpoint = rack.cluster_value("control_plane_endpoint")
    if endpoint:
        name, colon, port = endpoint.partition(":")
        found = _check_form(endpoint, name, port if colon else None)
        # At another port there may be a load balancer.
        if not found and port in ("", "6443"):
            found = _check_owner(rack, endpoint, name)
        yield from found


def _check_form(endpoint: str, name: str, port: str | None) -> list[Finding]:
    problem = ""
    try:
        check_host(name)
    except AddressError as error:
        problem = f", which {error}"
    if (
        problem
        or not HOST_NAME.fullmatch(name)
        or name.isdecimal()
        or (port is not None and not (port.isdecimal() and 0 < int(port) < 65536))
    ):
        return [
            Finding(
                f"control_plane_endpoint is {endpoint!r}{problem}; expected a name or an IPv4 address that "
                f"reaches the control planes, with a port if not 6443, such as 'k8s.lan:6443': set it {ALL}"
            )
        ]
    return []


def _names(rack: Rack, host: str) -> set[str]:
    """Return the names and addresses by which the other nodes reach a node itself."""
    own = rack.value(host, "control_plane_advertise_address")
    return {rack.address(host), rack.hostname(host), host.lower()} | ({own} if own else set())


def _check_owner(rack: Rack, endpoint: str, name: str) -> list[Finding]:
    """Refuse the endpoint that is another node: kubeadm waits there for an API server that does not come."""
    first = rack.control_plane[0]
    owner = next((host for host in rack.nodes if name in _names(rack, host)), first)
    if owner == first:
        return []
    if owner in rack.control_plane:
        seen = f"which is {owner}, and the cluster begins on {first}, the first of the group control_plane"
        remedy = f"set it {ALL}, or put {owner} first in the group"
    else:
        seen = f"which is {owner}, and no control plane"
        remedy = f"set it {ALL}"
    return [
        Finding(
            f"control_plane_endpoint is {endpoint!r}, {seen}; expected a name or an address that reaches the "
            f"API server of {first}: {remedy}"
        )
    ]
