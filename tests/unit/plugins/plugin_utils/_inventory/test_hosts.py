# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.filter.inventory import node_problems
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import hosts

GROUPS = {
    "all": ["pi-1", "pi-2", "pi-3", "nas"],
    "control_plane": ["pi-1"],
    "workers": ["pi-2", "pi-3"],
    "nat_headnode": ["pi-1"],
}


def test_rack_hosts_by_inventory_alone() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        "pi-1": {"ansible_host": "192.168.1.11"},
        "pi-2": {"ansible_host": "203.0.113.5", "os_prep_address": "192.168.1.12"},
        "pi-3": {"ansible_host": "192.168.1.13", "os_prep_hostname": "kitchen"},
        "nas": {"ansible_host": "192.168.1.2"},
    }
    assert hosts.rack_hosts(hostvars=hostvars, groups=GROUPS) == [
        {"address": "192.168.1.11", "names": ["pi-1"]},
        {"address": "192.168.1.12", "names": ["pi-2"]},
        {"address": "192.168.1.13", "names": ["kitchen", "pi-3"]},
    ]


def test_rack_hosts_named_by_their_addresses() -> None:
    entries = hosts.rack_hosts(hostvars={"192.168.1.11": {}}, groups={"workers": ["192.168.1.11"]})
    assert entries == [{"address": "192.168.1.11", "names": ["192.168.1.11"]}]


BULLSEYE = {"id": "debian", "version": "11", "name": "Debian GNU/Linux 11 (bullseye)"}


def facts(**changed: Any) -> dict[str, Any]:
    return {
        "distribution": {"id": "debian", "name": "Debian GNU/Linux 12 (bookworm)"},
        "architecture": "arm64",
        "hostname": "raspberrypi",
        "machine_id": "2f2d0b1d8d4e4c5e9a4c1c1c7d1f3b55",
        "kubernetes": {"state": "absent"},
        **changed,
    }


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({}, []),
        (
            {"distribution": {"id": "fedora", "name": "Fedora Linux 39"}},
            ["Fedora Linux 39", "Raspberry Pi OS, Debian or Ubuntu", "pi-1"],
        ),
        (
            {"distribution": {"id": "ubuntu", "version": "20.04", "name": "Ubuntu 20.04.6 LTS"}},
            ["ubuntu 20.04 has a Python before 3.9", "22.04 or newer", "install a newer release on pi-1"],
        ),
        (
            {"distribution": BULLSEYE},
            ["Kubernetes 1.36 needs containerd 1.6 or newer", "docker_containerd_source"],
        ),
        ({"distribution": BULLSEYE, "packages": {"containerd.io": "1.7.28-1"}}, []),
        ({"architecture": "armhf"}, ["armhf", "arm64 or amd64", "pi-1"]),
        ({"kubernetes": {"state": "partial"}}, []),
        (
            {"kubernetes": {"state": "worker"}},
            ["raspberrypi", "would become pi-1", "set os_prep_hostname to raspberrypi"],
        ),
        ({"kubernetes": {"state": "worker"}, "hostname": "pi-1"}, []),
    ],
)
def test_node_problems(changed: dict[str, Any], parts: list[str]) -> None:
    hostvars = {"pi-1": {"ansible_facts": {"bramble": facts(**changed)}}}
    problems = node_problems(hostvars, "pi-1", "pi-1", [], kubernetes="1.36")
    assert len(problems) == (1 if parts else 0)
    for part in parts:
        assert part in problems[0]


def test_a_name_that_is_left_out_is_the_inventory_s() -> None:
    seen = facts(kubernetes={"state": "worker"}, hostname="pi-1")
    assert node_problems({"pi-1": {"ansible_facts": {"bramble": seen}}}, "pi-1", "", []) == []


def test_same_machine_id_is_named_on_both() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        "pi-1": {"ansible_facts": {"bramble": facts(machine_id="aa", hostname="pi")}},
        "pi-2": {"ansible_facts": {"bramble": facts(machine_id="bb", hostname="pi")}},
        "pi-3": {"ansible_facts": {"bramble": facts(machine_id="aa", hostname="pi")}},
        # Not reachable, and not asked yet.
        "pi-4": {"ansible_facts": {}},
        "pi-5": {},
    }
    for host in ("pi-1", "pi-3"):
        problems = node_problems(hostvars, host, "pi", list(hostvars))
        assert len(problems) == 1
        for part in ("machine-id aa", "pi-1 and pi-3", "systemd-machine-id-setup"):
            assert part in problems[0]
    assert node_problems(hostvars, "pi-2", "pi", list(hostvars)) == []
    # A host alone in the play has nothing to be compared with.
    assert node_problems(hostvars, "pi-1", "pi", ["pi-1"]) == []


def test_missing_machine_ids_are_not_the_same() -> None:
    machine_ids = {"pi-1": "", "pi-2": ""}
    problems = hosts.node_problems(
        host="pi-1", hostname="pi-1", facts=facts(machine_id=""), machine_ids=machine_ids
    )
    assert problems == []


@pytest.mark.parametrize(
    ("variables", "kubernetes"),
    [
        ({"docker_kubernetes_runtime": "cri_dockerd"}, "1.36"),
        ({"docker_packages": ["docker-ce", "containerd.io"]}, "1.36"),
        ({"docker_containerd_source": "archive"}, "1.36"),
        ({}, "1.25"),
        ({}, "not a version, as preflight says"),
        ({}, ""),
    ],
)
def test_what_lets_an_old_release_be_a_node(variables: dict[str, Any], kubernetes: str) -> None:
    hostvars = {"pi-1": {**variables, "ansible_facts": {"bramble": facts(distribution=BULLSEYE)}}}
    assert node_problems(hostvars, "pi-1", "pi-1", [], kubernetes=kubernetes) == []


def test_a_node_of_a_cluster_has_what_serves_it() -> None:
    seen = facts(distribution=BULLSEYE, kubernetes={"state": "worker"}, hostname="pi-1")
    hostvars = {"pi-1": {"ansible_facts": {"bramble": seen}}}
    assert node_problems(hostvars, "pi-1", "pi-1", [], kubernetes="1.36") == []


CONTROL_PLANE = {"state": "control_plane", "ca_cert_hash": "sha256:aa", "pod_cidr": "10.32.0.0/16",
                 "service_cidr": "10.43.0.0/16", "api_server": "https://rack.lan:6443"}  # fmt: skip


@pytest.mark.parametrize(
    "variables",
    [
        {
            "control_plane_endpoint": "rack.lan:6443",
            "control_plane_pod_cidr": "10.32.0.0/16",
            "control_plane_service_cidr": "10.43.0.0/16",
        },
        {
            "control_plane_cluster_configuration": {
                "controlPlaneEndpoint": "rack.lan",
                "networking": {"podSubnet": "10.32.0.0/16", "serviceSubnet": "10.43.0.0/16"},
            }
        },
    ],
)
def test_what_holds_for_the_cluster_may_be_set_for_control_planes_alone(variables: dict[str, Any]) -> None:
    """In group_vars/control_plane.yml, as preflight reads it there as well."""
    seen = {
        "pi-1": facts(hostname="pi-1", machine_id="a", kubernetes=CONTROL_PLANE),
        "pi-2": facts(
            hostname="pi-2", machine_id="b", kubernetes={"state": "worker", "ca_cert_hash": "sha256:aa"}
        ),
    }
    hostvars: dict[str, Any] = {host: {"ansible_facts": {"bramble": found}} for host, found in seen.items()}
    hostvars["pi-1"] = {**hostvars["pi-1"], **variables}

    def told(host: str, **more: str) -> list[str]:
        networks = {"pod_cidr": "10.244.0.0/16", "service_cidr": "10.96.0.0/12", **more}
        return node_problems(hostvars, host, host, list(hostvars), **networks)

    assert told("pi-1", control_plane="pi-1") == []
    assert told("pi-2", control_plane="pi-1") == []
    assert any("rack.lan:6443" in problem for problem in told("pi-2"))
