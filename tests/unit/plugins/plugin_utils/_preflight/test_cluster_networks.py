# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import UNKNOWN

from tests.unit.preflight_rack import NODES, check_row, found, problem


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"control_plane_pod_cidr": "10.244.0.1/16"},
            "has host bits set: the network is '10.244.0.0/16'; set it in",
        ),
        (
            {"control_plane_pod_cidr": "pods"},
            "control_plane_pod_cidr is 'pods', which is not an IPv4 network",
        ),
        (
            {"control_plane_pod_cidr": "10.0.0.0/8"},
            "10.0.0.0/8 overlaps control_plane_service_cidr 10.96.0.0/12",
        ),
        (
            {"control_plane_pod_cidr": "10.244.0.0/23"},
            "has room for 2 nodes (each takes a /24), and there are 3: set one of /22 or larger",
        ),
        ({"control_plane_pod_cidr": "10.244.0.0/25"}, "has room for 0 nodes"),
        ({"control_plane_service_cidr": "10.96.0.0/30"}, "has to be between /12 and /28"),
        (
            {"control_plane_pod_cidr": "172.17.0.0/16"},
            "all nodes: control_plane_pod_cidr 172.17.0.0/16 overlaps 172.17",
        ),
        (
            {"control_plane_pod_cidr": "172.17.0.0/16", "docker_daemon_json": {"bip": "172.30.0.1/24"}},
            None,
        ),
        (
            {"docker_daemon_json": {"bip": "172.30.0.1"}},
            "bip in docker_daemon_json is '172.30.0.1', which is not",
        ),
        (
            {"control_plane_pod_cird": "10.0.0.0/8"},
            "did you mean control_plane_pod_cidr? If it is your own, name it",
        ),
    ],
)
def test_variables_of_all_hosts(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text)


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"control_plane_pod_cidr": "10.245.0.0/16"},
            "pi-2: control_plane_pod_cidr is '10.245.0.0/16', and '10.244.0.0",
        ),
    ],
)
def test_variables_of_one_host(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text, host="pi-2")


@pytest.mark.parametrize(
    ("node_network", "text"),
    [
        ("192.168.1.1/24", "preflight_node_network is '192.168.1.1/24', which has host bits set"),
        ("192.168.1.0/25", None),
        ("192.168.1.100/30", "pi-3: has the address 192.168.1.103, which no node can have"),
        ("192.0.0.0/8", None),
    ],
)
def test_node_network(node_network: str, text: str) -> None:
    if text is None:
        assert found(node_network=node_network) == ([], [])
    else:
        assert text in problem(node_network=node_network)


def test_overlap_with_the_nodes_network_without_a_node_in_it() -> None:
    text = problem(
        {"control_plane_pod_cidr": "192.168.0.0/22"},
        node_network="192.168.0.0/16",
        hosts={name: {"ansible_host": UNKNOWN} for name in NODES},
    )
    assert "control_plane_pod_cidr 192.168.0.0/22 overlaps preflight_node_network 192.168.0.0/16" in text
