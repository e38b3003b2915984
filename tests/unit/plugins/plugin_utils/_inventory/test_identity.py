# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host in every form of an inventory: all that read it say the same of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jinja2
import pytest
from ansible_collections.bramble.pi.plugins.filter.inventory import (
    netboot_clients,
    node_names,
    rack_host,
    rack_hosts,
    rack_leases,
    ssh_hosts,
)
from ansible_collections.bramble.pi.plugins.filter.remote_access import remote_access_ways

from tests.unit.preflight_rack import found, problem

GROUPS = {"control_plane": ["pi-1"], "netboot": ["pi-1"]}
MAC = "dc:a6:32:01:36:c2"


class Host(NamedTuple):
    """What is to be said of pi-1."""

    name: str = "pi-1"
    address: str = "10.0.0.1"
    outer_address: str = "10.0.0.1"
    port: int = 22
    mac: str = MAC


#: The variables of pi-1; it has a MAC and an address, unless it is said otherwise.
CASES: list[tuple[dict[str, Any], Host]] = [
    ({}, Host()),
    ({"ansible_host": "192.0.2.1"}, Host(address="192.0.2.1", outer_address="192.0.2.1")),
    ({"ansible_host": "192.0.2.1", "os_prep_address": "10.0.0.1"}, Host(outer_address="192.0.2.1")),
    ({"os_prep_address": ""}, Host()),
    # Where a static address is told, the others reach the host there, also before it has moved.
    ({"ansible_host": "pi-1.lan", "node_network_address": "10.0.0.1/24"}, Host(outer_address="pi-1.lan")),
    ({"ansible_host": "192.0.2.1", "node_network_address": "10.0.0.1/24"}, Host(outer_address="192.0.2.1")),
    ({"node_network_address": "10.0.0.9/24", "os_prep_address": "10.0.0.1"}, Host()),
    # No address with a prefix is told of by preflight, and is not used.
    *(
        ({"node_network_address": text}, Host())
        for text in ("", None, "10.0.0.9", "10.0.0.9/33", "10.0.0.x/24", "x/24")
    ),
    ({"os_prep_address": None}, Host()),
    ({"ansible_host": "", "os_prep_address": "10.0.0.1"}, Host(outer_address="pi-1")),
    ({"os_prep_hostname": "one"}, Host(name="one")),
    ({"os_prep_hostname": ""}, Host()),
    ({"os_prep_hostname": None}, Host()),
    ({"ansible_port": "2222"}, Host(port=2222)),
    ({"ansible_port": None}, Host()),
    ({"rack_services_mac": "DC-A6-32-01-36-C2"}, Host()),
]


@pytest.mark.parametrize(("variables", "host"), CASES)
def test_all_say_the_same_of_a_host(variables: dict[str, Any], host: Host) -> None:
    hostvars = {
        "pi-1": {
            "ansible_host": "10.0.0.1",
            "rack_services_mac": MAC,
            "netboot_tree_serial": "0a0a0a01",
            **variables,
        }
    }
    expected = (host.name, host.address)
    assert rack_host(hostvars, "pi-1") == {
        "name": host.name,
        "address": host.address,
        "outer_address": host.outer_address,
        "ssh_port": host.port,
        "cri_socket": "",
    }
    (entry,) = rack_hosts(hostvars, GROUPS)
    assert (entry["names"][0], entry["address"]) == expected
    assert node_names(hostvars, GROUPS) == {"pi-1": host.name}
    (lease,) = rack_leases(hostvars, GROUPS)
    assert (lease["name"], lease["address"], lease["mac"]) == (*expected, host.mac)
    served = netboot_clients(hostvars, GROUPS, "/srv")
    (client,) = served["nodes"]
    assert (client["name"], client["address"], client["mac"]) == (*expected, host.mac)
    assert served["exports"][0] == {"path": f"/srv/nfs/{host.name}", "addresses": [host.address]}
    (ssh,) = ssh_hosts(hostvars, GROUPS)
    assert ssh["entry"]["names"] == list(dict.fromkeys(["pi-1", host.name]))
    assert (ssh["entry"]["address"], ssh["entry"]["port"]) == (host.outer_address, host.port)
    assert remote_access_ways(hostvars, GROUPS, "pi-1")["inside"] == host.address


@pytest.mark.parametrize(
    ("variables", "part"),
    [
        # Two nodes would get one address, whatever they have now.
        (
            {"pi-2": {"node_network_address": "192.168.1.9/24"}, "pi-3": {"os_prep_address": "192.168.1.9"}},
            "pi-3: has the address 192.168.1.9, as pi-2 has: set os_prep_address in host_vars",
        ),
        (
            {"pi-3": {"node_network_address": "192.168.1.102/24"}},
            "pi-3: has the address 192.168.1.102, as pi-2 has: set node_network_address in host_vars",
        ),
        (
            {"pi-3": {"ansible_host": "192.168.1.102"}},
            "pi-3: has the address 192.168.1.102, as pi-2 has: set ansible_host or os_prep_address in host",
        ),
        (
            {"pi-3": {"node_network_address": "10.96.0.5/24"}},
            "pi-3: control_plane_service_cidr 10.96.0.0/12 takes in the node's address 10.96.0.5",
        ),
        # A host without ansible_host is reached by its name.
        (
            {
                "pi-1": {"ansible_host": "", "os_prep_address": "192.168.1.101"},
                "pi-2": {"ansible_host": "pi-1", "os_prep_address": "192.168.1.102"},
            },
            "pi-2: ansible_host is 'pi-1', as that of pi-1; expected one for each",
        ),
        # Said once.
        ({"pi-3": {"node_network_address": "127.0.0.1/8"}}, "pi-3: node_network_address is '127.0.0.1/8'"),
        ({"pi-3": {"node_network_address": "10.0.0.3"}}, "pi-3: node_network_address is '10.0.0.3'"),
    ],
)
def test_preflight_looks_at_the_same_address(variables: dict[str, Any], part: str) -> None:
    assert part in problem(hosts=variables)


def test_a_node_that_ansible_knows_by_name_may_have_its_address_from_node_network() -> None:
    hosts = {"pi-3": {"ansible_host": "pi-3.lan", "node_network_address": "192.168.1.9/24"}}
    assert found(hosts=hosts, node_network="192.168.1.0/24") == ([], [])


def test_the_name_of_a_card_is_the_node_s_to_preflight_as_well() -> None:
    assert "has the host name 'pi-1', as pi-1 has" in problem(hosts={"pi-2": {"os_prep_hostname": "pi-1"}})


def test_a_socket_made_of_what_only_the_role_has_is_left_to_the_role() -> None:
    hostvars = {"pi-1": {"ansible_host": "10.0.0.1", "workers_cri_socket": jinja2.Undefined(name="later")}}
    assert rack_host(hostvars, "pi-1")["cri_socket"] == ""
