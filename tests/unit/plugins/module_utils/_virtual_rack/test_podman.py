# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._virtual_rack.podman import (
    Container,
    Node,
    RackError,
    check_containers,
    check_watched,
    known_hosts,
    node_arguments,
    parse_containers,
    parse_subnets,
    repository_arguments,
)

NODE = Node(name="pi-1", address="10.89.60.11", image="localhost/bramble-node:bookworm-1")

# What podman 4.3.1 says, shortened.
PS = [
    {
        "Id": "0c1d",
        "Image": "localhost/bramble-node:bookworm-d42d266be465",
        "Labels": {"bramble.address": "10.89.60.11", "bramble.rack": "demo"},
        "Names": ["demo-pi-1"],
        "Pid": 19952,
        "State": "running",
    },
    {
        "Id": "9f21",
        "Image": "localhost/bramble-node:bookworm-d42d266be465",
        "Labels": {"bramble.address": "10.89.60.12", "bramble.rack": "demo"},
        "Names": ["demo-pi-2"],
        "Pid": 0,
        "State": "exited",
    },
]
NETWORK = [
    {
        "name": "demo",
        "driver": "bridge",
        "network_interface": "podman1",
        "subnets": [{"subnet": "10.89.60.0/24", "gateway": "10.89.60.1"}],
        "ipv6_enabled": False,
        "dns_enabled": False,
    }
]


def options(arguments: list[str], name: str) -> list[str]:
    return [value for option, value in zip(arguments, arguments[1:]) if option == name]


def test_containers_are_found_by_name() -> None:
    assert parse_containers(text=json.dumps(PS)) == {
        "demo-pi-1": Container(name="demo-pi-1", address="10.89.60.11", running=True, pid=19952),
        "demo-pi-2": Container(name="demo-pi-2", address="10.89.60.12", running=False),
    }


@pytest.mark.parametrize("text", ["", "[]", "null"])
def test_no_containers(text: str) -> None:
    assert parse_containers(text=text) == {}


def test_subnets() -> None:
    assert parse_subnets(text=json.dumps(NETWORK)) == ["10.89.60.0/24"]
    assert parse_subnets(text=json.dumps([{"name": "host"}])) == []


def test_a_node_that_moved_is_refused() -> None:
    containers = {"demo-pi-1": Container(name="demo-pi-1", address="10.89.60.21", running=True)}
    with pytest.raises(
        RackError, match=r"demo-pi-1 has the address 10\.89\.60\.21.* pi-1 is 10\.89\.60\.11.*destroy"
    ):
        check_containers(rack="demo", nodes=[NODE], containers=containers)


def test_other_nodes_are_none_of_its_business() -> None:
    containers = parse_containers(text=json.dumps(PS))
    check_containers(rack="demo", nodes=[NODE], containers=containers)
    check_containers(rack="demo", nodes=[NODE], containers={})


def test_a_node_is_reached_by_its_name_and_address() -> None:
    arguments = node_arguments(
        rack="demo", node=NODE, authorized_key="ssh-ed25519 AAAA", kernel_modules=False
    )
    assert options(arguments, "--name") == ["demo-pi-1"]
    assert options(arguments, "--hostname") == ["pi-1"]
    assert options(arguments, "--ip") == ["10.89.60.11"]
    assert "RACK_AUTHORIZED_KEY=ssh-ed25519 AAAA" in options(arguments, "--env")
    assert arguments[-2:] == [NODE.image, "/sbin/init"]


def test_a_node_has_no_limits_unless_they_are_given() -> None:
    arguments = node_arguments(rack="demo", node=NODE, authorized_key="", kernel_modules=False)
    assert not {"--memory", "--cpus", "--volume"} & set(arguments)
    limited = Node(name="pi-1", address="10.89.60.11", image="i", memory="1g", cpus="1.5")
    arguments = node_arguments(rack="demo", node=limited, authorized_key="", kernel_modules=True)
    assert options(arguments, "--memory") == ["1g"]
    assert options(arguments, "--cpus") == ["1.5"]
    assert options(arguments, "--volume") == ["/lib/modules:/lib/modules:ro"]


def test_all_of_a_rack_is_labelled() -> None:
    repository = repository_arguments(rack="demo", address="10.89.60.2", image="i", directory="/srv/x")
    for arguments in (
        node_arguments(rack="demo", node=NODE, authorized_key="", kernel_modules=False),
        repository,
    ):
        assert "bramble.rack=demo" in options(arguments, "--label")
    assert "bramble.address=10.89.60.2" in options(repository, "--label")
    assert options(repository, "--volume") == ["/srv/x:/srv:ro"]


def test_known_hosts_leave_out_the_comment() -> None:
    keys = {
        "10.89.60.11": "ssh-ed25519 AAAAC3Nz root@pi-1\n",
        "10.89.60.12": "ssh-ed25519 AAAAC3Nw root@pi-2\n",
    }
    assert known_hosts(keys=keys) == "10.89.60.11 ssh-ed25519 AAAAC3Nz\n10.89.60.12 ssh-ed25519 AAAAC3Nw\n"


@pytest.mark.parametrize(
    ("container", "lost"),
    [
        (Container("demo-pi-1", "10.89.60.11", running=True, pid=1), False),
        (Container("demo-pi-1", "10.89.60.11", running=True, pid=2), True),
        (Container("demo-pi-1", "10.89.60.11", running=False, pid=0), False),
        (Container("demo-pi-1", "10.89.60.11", running=False, pid=2, stopping=True), True),
    ],
)
def test_a_node_whose_end_podman_missed_is_refused(container: Container, lost: bool) -> None:
    def check() -> None:
        check_watched(containers=[container], alive=lambda pid: pid == 1)

    if not lost:
        check()
        return
    with pytest.raises(RackError, match=r"demo-pi-1 ended, .*conmon.*virtual_rack_destroy\.yml"):
        check()
