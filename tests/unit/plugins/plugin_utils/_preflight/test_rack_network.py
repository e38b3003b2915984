# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from tests.unit.preflight_rack import BEHIND_NAT, found, problem


def test_the_two_interfaces_of_the_head() -> None:
    groups = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"], "nat_headnode": ["pi-1"]}
    text = problem(
        hosts={"pi-1": {"nat_headnode_outer_interface": "eth0"}},
        groups=groups,
        node_network="192.168.1.0/24",
    )
    assert "are both 'eth0'; expected two" in text


@pytest.mark.parametrize(
    ("ansible_host", "text"),
    [
        (
            "192.168.1.50",
            "pi-1: has both its addresses, 192.168.1.50 and 192.168.1.101, in the rack's own network",
        ),
        ("192.168.2.50", None),
        ("192.168.1.101", None),
        ("head.lan", None),
    ],
)
def test_the_two_networks_of_the_head(ansible_host: str, text: str) -> None:
    groups = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"], "nat_headnode": ["pi-1"]}
    problems, _warnings = found(
        hosts={"pi-1": {"ansible_host": ansible_host, "os_prep_address": "192.168.1.101"}},
        groups=groups,
        node_network="192.168.1.0/24",
    )
    assert text in problems[0] if text else problems == []


def test_the_head_s_address_outside_is_in_no_network_of_the_cluster() -> None:
    text = problem(
        hosts={"pi-1": {"ansible_host": "10.96.0.50", "os_prep_address": "192.168.1.101"}},
        groups=BEHIND_NAT,
        node_network="192.168.1.0/24",
    )
    assert "control_plane_service_cidr 10.96.0.0/12 takes in the head's address 10.96.0.50" in text


FIXED = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"], "node_network": ["pi-2"]}


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"node_network_address": "192.168.1.102/24", "node_network_gateway": "192.168.1.1"}, None),
        ({}, "pi-2: is in the group node_network and has no node_network_address"),
        ({"node_network_address": "192.168.1.102"}, "pi-2: node_network_address is '192.168.1.102', which"),
        ({"node_network_address": "192.168.1.255/24"}, "or its broadcast address"),
        (
            {"node_network_address": "192.168.1.102/16"},
            "in 192.168.0.0/16, and preflight_node_network is 192",
        ),
        (
            {"node_network_address": "192.168.1.102/24", "node_network_gateway": "192.168.2.1"},
            "node_network_gateway is 192.168.2.1, which is not reached from 192.168.1.102/24",
        ),
        (
            {"node_network_address": "192.168.1.102/24", "node_network_gateway": "192.168.1.102"},
            "the node's own address",
        ),
        (
            {"node_network_address": "192.168.1.102/24", "node_network_gateway": "router"},
            "node_network_gateway is 'router', which",
        ),
        (
            {"node_network_address": "192.168.1.102/24", "node_network_gateway": "192.168.1.255"},
            "pi-2: the gateway is '192.168.1.255'; expected another machine of 192.168.1.0/24",
        ),
        (
            {"node_network_address": "192.168.1.102/24", "node_network_resolvers": ["192.168.1.1", "router"]},
            "pi-2: the resolver is 'router'; expected an IPv4 address like 192.168.1.1",
        ),
        (
            {"node_network_address": "192.168.1.102/24", "node_network_search": ["lan", "-x"]},
            "pi-2: the search domain is '-x'; expected a domain like rack.example.org",
        ),
    ],
)
def test_fixed_addresses(variables: dict[str, Any], text: str | None) -> None:
    problems, warnings = found(hosts={"pi-2": variables}, groups=FIXED, node_network="192.168.1.0/24")
    assert warnings == []
    assert bool(problems) == (text is not None)
    assert text is None or text in problems[0]


@pytest.mark.parametrize(
    ("everywhere", "hosts", "text"),
    [
        ({}, {"pi-2": {"rack_services_mac": "B8-27-EB-00-00-02"}}, None),
        (
            {},
            {"pi-2": {"rack_services_mac": 41163000}},
            "pi-2: rack_services_mac is 41163000; expected a string in quotes: set",
        ),
        (
            {"rack_services_mac": "b8:27:eb:00:00:02"},
            {},
            "pi-2: has the mac b8:27:eb:00:00:02, as pi-1 has: set rack_services_mac",
        ),
        ({"rack_services_dhcp_range": "192.168.1.150-192.168.1.199"}, {}, None),
        (
            {"rack_services_dhcp_range": "192.168.1.100-192.168.1.199"},
            {},
            "takes in static addresses: p",
        ),
        (
            {"rack_services_dhcp_range": "192.168.2.100-192.168.2.199"},
            {},
            "with an address that no host can have in the rack's network 192.168.1.0/24",
        ),
        (
            {"rack_services_dhcp_range": "192.168.1.150-192.168.1.255"},
            {},
            "is '192.168.1.150-192.168.1.255', with an address that no host can have in the rack's network",
        ),
        (
            {"rack_services_dhcp_range": "192.168.1.0-192.168.1.9"},
            {},
            "with an address that no host can have",
        ),
        (
            {},
            {"tv": {"ansible_host": "192.168.1.255", "rack_services_mac": "b8:27:eb:00:00:09"}},
            "tv: has the address 192.168.1.255, which no host can have in the rack's network 192.168.1.0/24",
        ),
        (
            {"rack_services_bootptab": "/network"},
            {},
            "tv: has the address 192.168.1.0, which no host can have",
        ),
        ({"rack_services_dhcp_range": "192.168.1.199-192.168.1.150"}, {}, "the smaller one first"),
        ({"rack_services_dhcp_range": "192.168.1.199"}, {}, "expected two addresses"),
        (
            {"rack_services_bootptab": "/bootptab"},
            {},
            "rack_services_bootptab is '/bootptab', and there is no such file",
        ),
        ({"rack_services_bootptab": "/bad"}, {}, "rack_services_bootptab /bad: line 2: has 1 fields"),
        (
            {"rack_services_bootptab": "/loopback"},
            {},
            "rack_services_bootptab /loopback: line 2: the address is '127.0.0.1', which no host can have",
        ),
        ({"rack_services_bootptab": "/good"}, {}, None),
        (
            {"rack_services_bootptab": "/other"},
            {},
            "pi-2: its address is 192.168.1.102 in the inventory, and 192",
        ),
        (
            {"rack_services_bootptab": "/outside"},
            {},
            "tv: has the address 10.0.0.9, which no host can have in the rack's",
        ),
    ],
)
def test_services(everywhere: dict[str, Any], hosts: dict[str, dict[str, Any]], text: str | None) -> None:
    problems, warnings = found(
        everywhere,
        hosts=hosts,
        groups=BEHIND_NAT,
        node_network="192.168.1.0/24",
        files={
            "/bad": "%%\nx\n",
            "/loopback": "%%\ntv 1 2:0:0:0:0:1 127.0.0.1\n",
            "/good": "%%\npi-2 1 b8:27:eb:00:00:02 192.168.1.102 boot\n",
            "/other": "%%\npi-2 1 b8:27:eb:00:00:02 192.168.1.112 boot\n",
            "/network": "%%\ntv 1 b8:27:eb:00:00:09 192.168.1.0\n",
            "/outside": "%%\ntv 1 b8:27:eb:00:00:09 10.0.0.9\n",
        },
    )
    assert warnings == []
    assert bool(problems) == (text is not None)
    assert text is None or text in problems[0]


def test_services_want_a_network() -> None:
    text = problem(groups=BEHIND_NAT)
    assert "gives the rack its addresses, and preflight_node_network is not set" in text


def test_no_services_where_their_group_is_empty() -> None:
    assert found(groups={**BEHIND_NAT, "rack_services": []}) == ([], [])


@pytest.mark.parametrize(
    ("network", "text"),
    [
        ("192.168.1.0/24", None),
        ("192.168.1.0", "preflight_node_network is '192.168.1.0', which is not an IPv4 network"),
        (
            "192.168.1.0/25",
            "is '192.168.1.150-192.168.1.199', with an address that no host can have in the rack's",
        ),
    ],
)
def test_leases_are_in_the_racks_network(network: str, text: str | None) -> None:
    variables = {"rack_services_dhcp_range": "192.168.1.150-192.168.1.199"}
    problems, _warnings = found(variables, groups=BEHIND_NAT, node_network=network)
    assert bool(problems) == (text is not None)
    assert text is None or text in problems[0]


@pytest.mark.parametrize(("interface", "problems"), [("wlan0", 0), ("eth0", 1)])
def test_the_card_of_a_head_may_have_its_address_outside(interface: str, problems: int) -> None:
    head = {
        "os_prep_address": "10.0.0.1",
        "node_network_address": "192.168.1.50/24",
        "node_network_interface": interface,
    }
    nodes = {f"pi-{number}": {"ansible_host": f"10.0.0.{number}"} for number in (2, 3)}
    found_problems, _warnings = found(
        hosts={"pi-1": head, **nodes}, groups=BEHIND_NAT, node_network="10.0.0.0/24"
    )
    assert len(found_problems) == problems, found_problems
