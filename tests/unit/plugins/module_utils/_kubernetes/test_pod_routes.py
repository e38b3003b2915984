# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import pod_routes
from hypothesis import given
from hypothesis import strategies as st

NODES = [
    pod_routes.Node("pi-1", "10.244.0.0/24", "192.168.1.11"),
    pod_routes.Node("pi-2", "10.244.1.0/24", "192.168.1.12"),
    pod_routes.Node("pi-3", "10.244.2.0/24", "192.168.1.13"),
]


def plan(node: str = "pi-1", nodes: list[pod_routes.Node] | None = None) -> pod_routes.Plan:
    return pod_routes.make_plan(node=node, nodes=nodes or NODES, cluster_cidr="10.244.0.0/16")


def test_table_of_kubectl() -> None:
    assert pod_routes.parse_table("pi-1 10.244.0.0/24 192.168.1.11\npi-2  192.168.1.12\n\n") == [
        {"name": "pi-1", "pod_cidr": "10.244.0.0/24", "address": "192.168.1.11"},
        {"name": "pi-2", "pod_cidr": "", "address": "192.168.1.12"},
    ]


@pytest.mark.parametrize("line", ["pi-1", "pi-1 10.244.0.0/24 192.168.1.11 fd00::11"])
def test_table_of_something_else(line: str) -> None:
    with pytest.raises(pod_routes.PodNetworkError, match="expected name, pod CIDR and address"):
        pod_routes.parse_table(line)


def test_routes_go_to_all_others() -> None:
    assert plan("pi-2").own == NODES[1]
    assert plan("pi-2").routes == {"10.244.0.0/24": "192.168.1.11", "10.244.2.0/24": "192.168.1.13"}


@pytest.mark.parametrize(
    ("node", "nodes", "message"),
    [
        ("pi-9", NODES, "pi-9 is not in the cluster, which has: pi-1, pi-2, pi-3. Join it first"),
        (
            "pi-1",
            [pod_routes.Node("pi-1", "", "192.168.1.11")],
            "pi-1 has no pod CIDR.*control_plane_pod_cidr",
        ),
        (
            "pi-1",
            [pod_routes.Node("pi-1", "10.42.0.0/24", "192.168.1.11")],
            "10.42.0.0/24, which is not within",
        ),
        (
            "pi-1",
            [pod_routes.Node("pi-1", "fd00::/64", "192.168.1.11")],
            "'fd00::/64'; expected an IPv4 network",
        ),
        (
            "pi-1",
            [pod_routes.Node("pi-1", "10.244.0.0/24", "pi-1.local")],
            "'pi-1.local'; expected an IPv4 address",
        ),
        (
            "pi-1",
            [NODES[0], pod_routes.Node("x", "10.244.0.0/25", "192.168.1.9")],
            r"pi-1 \(10.244.0.0/24\) and x",
        ),
    ],
)
def test_tables_that_make_no_network(node: str, nodes: list[pod_routes.Node], message: str) -> None:
    with pytest.raises(pod_routes.PodNetworkError, match=message):
        plan(node, nodes)


def test_conflist_holds_the_part_of_the_node() -> None:
    bridge, portmap = json.loads(pod_routes.conflist(plan("pi-3")))["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.2.0/24"}]]
    assert bridge["hairpinMode"] is True
    assert bridge["ipMasq"] is False
    assert portmap["capabilities"] == {"portMappings": True}


@pytest.mark.parametrize(
    ("text", "routes"),
    [
        ("", {}),
        ("10.244.1.0/24 via 10.89.70.12 dev eth0 \n", {"10.244.1.0/24": "10.89.70.12"}),
        ("10.244.1.7 via 10.89.70.12 dev eth0 linkdown \n", {"10.244.1.7/32": "10.89.70.12"}),
        ("10.244.1.0/24 dev eth0 scope link \n", {}),
    ],
)
def test_routes_that_ip_prints(text: str, routes: dict[str, str]) -> None:
    assert pod_routes.parse_routes(text) == routes


def printed(of: pod_routes.Plan) -> dict[tuple[str, str], str]:
    """Return what `iptables -S` prints when all is in place, amid the rules of others."""
    return {
        ("filter", "FORWARD"): "-P FORWARD DROP\n-A FORWARD -j BRAMBLE-FORWARD\n-A FORWARD -j DOCKER-USER\n",
        ("filter", "BRAMBLE-FORWARD"): "\n".join(
            ["-N BRAMBLE-FORWARD", *pod_routes.rules(of)["filter"]["BRAMBLE-FORWARD"]]
        ),
        ("nat", "POSTROUTING"): "-P POSTROUTING ACCEPT\n-A POSTROUTING -j BRAMBLE-MASQUERADE\n",
        ("nat", "BRAMBLE-MASQUERADE"): "\n".join(
            ["-N BRAMBLE-MASQUERADE", *pod_routes.rules(of)["nat"]["BRAMBLE-MASQUERADE"]]
        ),
    }


def test_nothing_is_missing_when_all_is_there() -> None:
    assert pod_routes.missing_rules(plan=plan(), printed=printed(plan())) == []


@pytest.mark.parametrize(
    "chain", [("filter", "FORWARD"), ("nat", "POSTROUTING"), ("nat", "BRAMBLE-MASQUERADE")]
)
def test_what_is_missing_is_said(chain: tuple[str, str]) -> None:
    missing = pod_routes.missing_rules(plan=plan(), printed={**printed(plan()), chain: ""})
    assert len(missing) == 1
    assert missing[0].startswith(f"{chain[0]}: -A {chain[1]}")


def test_rules_of_another_part_are_missing() -> None:
    assert pod_routes.missing_rules(plan=plan("pi-2"), printed=printed(plan("pi-1"))) == [
        "nat: -A BRAMBLE-MASQUERADE -s 10.244.1.0/24 ! -d 10.244.0.0/16 -j MASQUERADE"
    ]


@given(st.integers(1, 40), st.data())
def test_every_node_has_a_route_to_every_other(count: int, data: st.DataObject) -> None:
    parts = list(ipaddress.ip_network("10.244.0.0/16").subnets(new_prefix=24))
    nodes = [pod_routes.Node(f"n{i}", str(parts[i]), f"192.168.1.{i + 1}") for i in range(count)]
    index = data.draw(st.integers(0, count - 1))
    made = plan(f"n{index}", nodes)
    assert set(made.routes) == {node.pod_cidr for node in nodes} - {made.own.pod_cidr}
    assert pod_routes.script(made).count(" via ") == count - 1


@pytest.mark.skipif(
    shutil.which("iptables") is None
    or subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs iptables and the right to make a network namespace",
)
def test_script_in_a_real_network(tmp_path: Path) -> None:
    script = tmp_path / "pod-network"
    script.write_text(pod_routes.script(plan()))
    look = (
        'for chain in FORWARD BRAMBLE-FORWARD; do iptables -S $chain; echo "="; done;'
        'for chain in POSTROUTING BRAMBLE-MASQUERADE; do iptables -t nat -S $chain; echo "="; done;'
        f"ip -4 route show proto {pod_routes.ROUTE_PROTOCOL}; echo '='"
    )
    commands = (
        "ip link add e0 type veth peer name e1; ip addr add 192.168.1.11/24 dev e0; ip link set e0 up;"
        "ip link set e1 up; iptables -P FORWARD DROP; iptables -A FORWARD -s 1.2.3.4 -j DROP;"
        # Twice, as after a restart, and on top of a route to a node that left.
        f"ip route add 10.244.9.0/24 via 192.168.1.19 proto {pod_routes.ROUTE_PROTOCOL};"
        f"sh {script} start; sh {script} start; {look};"
        f"sh {script} stop; iptables -S; iptables -t nat -S; ip route"
    )
    done = subprocess.run(
        ["unshare", "--net", "sh", "-ec", commands], check=True, capture_output=True, text=True
    )
    *chains, routes, after = done.stdout.split("=\n")
    names = [
        ("filter", "FORWARD"),
        ("filter", "BRAMBLE-FORWARD"),
        ("nat", "POSTROUTING"),
        ("nat", "BRAMBLE-MASQUERADE"),
    ]
    assert pod_routes.missing_rules(plan=plan(), printed=dict(zip(names, chains))) == []
    assert chains[0].splitlines()[1] == "-A FORWARD -j BRAMBLE-FORWARD"
    assert pod_routes.parse_routes(routes) == plan().routes
    assert "BRAMBLE" not in after
    assert "10.244" not in after
    assert "-A FORWARD -s 1.2.3.4/32 -j DROP" in after
