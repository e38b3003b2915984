# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import UNKNOWN

from tests.unit.preflight_rack import BEHIND_NAT, check_row, found

NO_ADDRESS = "which is not an IPv4 address; expected one like '192.168.1.101'"
OWN = {"os_prep_address": "192.168.1.102"}


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"ansible_host": "192.168.1.300"}, f"pi-2: ansible_host is '192.168.1.300', {NO_ADDRESS}"),
        ({"ansible_host": "192.168.1.1O2"}, f"pi-2: ansible_host is '192.168.1.1O2', {NO_ADDRESS}"),
        ({"ansible_host": "192.168.1.l02"}, f"pi-2: ansible_host is '192.168.1.l02', {NO_ADDRESS}"),
        ({"ansible_host": "192.168.1.102/24"}, f"pi-2: ansible_host is '192.168.1.102/24', {NO_ADDRESS}"),
        ({"ansible_host": " 192.168.1.102"}, f"pi-2: ansible_host is ' 192.168.1.102', {NO_ADDRESS}"),
        (
            {"ansible_host": "pi 2.lan"},
            "pi-2: ansible_host is 'pi 2.lan', which is neither a name nor an IPv4 addre",
        ),
        (
            {"ansible_host": "pi@192.168.1.102"},
            "which has a user in it: set that in ansible_user: set ansible_host",
        ),
        (
            {"ansible_host": "192.168.1.102:22"},
            "which has a port in it: set that in ansible_port: set ansible_host",
        ),
        ({"ansible_host": "0.0.0.0"}, "which cannot be the address of a node in a network"),
        (
            {"ansible_host": "localhost"},
            "which is each machine's own name; expected one that the others have",
        ),
        ({"ansible_host": 3232235878}, "pi-2: ansible_host is 3232235878; expected a string in quotes"),
        (
            {"ansible_host": "fe80::1"},
            f"pi-2: the node's address is 'fe80::1', {NO_ADDRESS}, as the others have",
        ),
        ({"ansible_host": "fe80::1", **OWN}, None),
        ({"ansible_host": "fe80:1", **OWN}, "pi-2: ansible_host is 'fe80:1', which has a port in it"),
        (
            {"ansible_host": "pi-2.local"},
            f"pi-2: the node's address is 'pi-2.local', {NO_ADDRESS}, as the others ",
        ),
        ({"ansible_host": "Pi_2.local", **OWN}, None),
        ({"ansible_host": UNKNOWN}, None),
        (
            {"ansible_host": ""},
            f"pi-2: the node's address is 'pi-2', {NO_ADDRESS}, as the others have it in /etc/hosts",
        ),
        (
            {"os_prep_address": "192.168.1.102/24"},
            f"pi-2: os_prep_address is '192.168.1.102/24', {NO_ADDRESS}",
        ),
        ({"os_prep_address": "192.168.1.1O2"}, f"pi-2: os_prep_address is '192.168.1.1O2', {NO_ADDRESS}"),
        ({"os_prep_address": "pi@pi-2"}, "pi-2: os_prep_address is 'pi@pi-2', which has a user in it"),
        (
            {"os_prep_address": "pi-2"},
            f"pi-2: the node's address is 'pi-2', {NO_ADDRESS}, as the others have it in",
        ),
        ({"os_prep_address": "127.0.0.1"}, "which cannot be the address of a node in a network"),
        ({"os_prep_address": UNKNOWN}, None),
        ({"ansible_host": "192.168.1.101"}, "pi-2: has the address 192.168.1.101, as pi-1 has"),
        (
            {"ansible_host": "192.168.1.101", **OWN},
            "pi-2: ansible_host is '192.168.1.101', as that of pi-1; expect",
        ),
        ({"ansible_host": "192.168.1.101", "ansible_port": 2222, **OWN}, None),
        (
            {"ansible_host": "10.244.3.7"},
            "pi-2: control_plane_pod_cidr 10.244.0.0/16 takes in the node's address",
        ),
    ],
)
def test_addresses_of_one_host(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text, host="pi-2")


def test_one_name_for_two_hosts_in_any_case() -> None:
    hosts = {
        "pi-1": {"ansible_host": "Pi.lan", "os_prep_address": "192.168.1.101"},
        "pi-2": {"ansible_host": "pi.LAN.", "os_prep_address": "192.168.1.102"},
    }
    (problem,), _warnings = found(hosts=hosts)
    assert problem.startswith(
        "pi-2: ansible_host is 'pi.LAN.', as that of pi-1; expected one for each: set ansible"
    )


def test_names_that_only_the_controller_knows() -> None:
    """What /etc/hosts cannot hold is told of each host, and not by os_prep when some nodes are changed."""
    groups = {"control_plane": ["pi-1.local"], "workers": ["pi-2.local", "pi-3"]}
    hosts = {"pi-1.local": {}, "pi-2.local": {}, "pi-3": {"ansible_host": "pi-3.lan"}}
    problems, _warnings = found(hosts=hosts, groups=groups)
    assert [line.partition(":")[0] for line in problems] == ["pi-1.local", "pi-2.local", "pi-3"]
    assert all("set os_prep_address in host_vars or for the host in hosts.yml" in line for line in problems)


@pytest.mark.parametrize(
    ("head", "text"),
    [
        ({"ansible_host": "head.lan"}, "head: the node's address is 'head.lan'"),
        ({"ansible_host": "head.lan", "os_prep_address": "192.168.1.1"}, None),
        ({"ansible_host": "203.0.113.7"}, None),
        (
            {"ansible_host": "203.0.113.7", "os_prep_address": "192.168.1.102"},
            "head: has the address 192.168.1.102, as",
        ),
    ],
)
def test_the_head_alone(head: dict[str, Any], text: str | None) -> None:
    groups = {**BEHIND_NAT, "nat_headnode": ["head"], "rack_services": []}
    problems, _warnings = found(hosts={"head": head}, groups=groups, node_network="192.168.1.0/24")
    assert len(problems) == (text is not None)
    assert text is None or text in problems[0]
