# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of control_plane_vip: one address of the nodes' network, and nobody else's."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import vip
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.owners import owners
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, Finding, Rack


def check_vip(rack: Rack) -> Iterator[Finding]:
    """Check that the control planes can have the address together."""
    text = rack.cluster_value("control_plane_vip")
    if not text:
        return
    try:
        address = vip.parse_address(text)
        if rack.network is not None:
            network = ipaddress.IPv4Network(str(rack.network))
            vip.check_network(text, network, name="preflight_node_network")
    except vip.VipError as error:
        yield Finding(str(error))
        return
    for owner in owners(rack, address, address):
        yield Finding(
            f"control_plane_vip is {text}, {owner}; expected an address that nobody else has or is given: "
            f"set control_plane_vip {ALL}"
        )
    yield from _check_endpoint(rack, text)


def _check_endpoint(rack: Rack, text: str) -> Iterator[Finding]:
    """Refuse an endpoint beside it that is another address, or another port than that of the API servers."""
    endpoint = rack.cluster_value("control_plane_endpoint")
    name, _colon, port = str(endpoint or "").partition(":")
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return  # None, or a name, which may be the address's.
    if (name, port or str(vip.PORT)) != (text, str(vip.PORT)):
        yield Finding(
            f"control_plane_endpoint is {endpoint!r}, and control_plane_vip is {text}; expected the same "
            f"address with port {vip.PORT}, or a name of it: set control_plane_endpoint to an empty text "
            f"{ALL}"
        )
