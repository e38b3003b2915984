# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from tests.unit.preflight_rack import found

THREE = {"control_plane": ["pi-1", "pi-2", "pi-3"], "workers": [], "rack_services": ["pi-1"]}
BOOTPTAB = "%%\nprinter 1 b8:27:eb:00:00:09 192.168.1.30\n"
FREE = "192.168.1.10"


@pytest.mark.parametrize(
    ("vip", "variables", "text"),
    [
        (FREE, {}, None),
        ("k8s.lan", {}, "control_plane_vip is 'k8s.lan'; expected an IPv4 address of the nodes' network"),
        ("192.168.1.0", {}, "control_plane_vip is 192.168.1.0; expected an address that a host can have in"),
        ("10.0.0.1", {}, "in preflight_node_network 192.168.1.0/24: set control_plane_vip"),
        ("192.168.1.102", {}, "control_plane_vip is 192.168.1.102, the address of pi-2; expected"),
        (
            "192.168.1.210",
            {"rack_services_dhcp_range": "192.168.1.200-192.168.1.220"},
            "is 192.168.1.210, in rack_services_dhcp_range 192.168.1.200-192.168.1.220; expected",
        ),
        ("192.168.1.199", {"rack_services_dhcp_range": "192.168.1.200-192.168.1.220"}, None),
        (
            "192.168.1.30",
            {"rack_services_bootptab": "/bootptab"},
            "is 192.168.1.30, the address of printer in rack_services_bootptab; expected",
        ),
        (FREE, {"control_plane_endpoint": f"{FREE}:6443"}, None),
        (FREE, {"control_plane_endpoint": "k8s.lan:6443"}, None),
        (FREE, {"control_plane_endpoint": f"{FREE}:8443"}, "expected the same address with port 6443, or a"),
        (FREE, {"control_plane_endpoint": "192.168.1.9"}, "is '192.168.1.9', and control_plane_vip is"),
    ],
)
def test_address(vip: str, variables: dict[str, Any], text: str | None) -> None:
    problems, _warnings = found(
        {"control_plane_vip": vip, **variables},
        groups=THREE,
        node_network="192.168.1.0/24",
        files={"/bootptab": BOOTPTAB},
    )
    assert problems == [] if text is None else any(text in each for each in problems)


@pytest.mark.parametrize("name", ["control_plane_pod_cidr", "control_plane_service_cidr"])
def test_networks_of_the_cluster(name: str) -> None:
    problems, _warnings = found({"control_plane_vip": FREE, name: "192.168.0.0/16"}, groups=THREE)
    assert any(f"control_plane_vip is {FREE}, in {name} 192.168.0.0/16" in each for each in problems)
