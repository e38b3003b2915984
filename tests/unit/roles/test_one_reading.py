# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles make of a host of the inventory: each says the same of its name and its addresses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.plays import loaded_once

ROOT = Path(__file__).parents[3]
GROUPS = {
    "workers": ["joined"],
    "control_plane": ["one", "card", "empty", "static", "plain"],
    "nat_headnode": ["one"],
    "netboot_server": ["one"],
    "netboot": ["card"],
}
CRI_DOCKERD = "unix:///var/run/cri-dockerd.sock"
HOSTS: dict[str, dict[str, Any]] = {
    "one": {"ansible_host": "192.0.2.1", "os_prep_address": "10.0.0.1", "os_prep_hostname": "First"},
    "card": {
        "ansible_host": "10.0.0.2",
        "os_prep_hostname": "of-the-card",
        "netboot_tree_serial": "0a0a0a02",
    },
    "empty": {
        "ansible_host": "",
        "os_prep_hostname": "",
        "os_prep_address": "",
        "docker_kubernetes_runtime": "cri_dockerd",
    },
    "static": {"ansible_host": "static.lan", "node_network_address": "10.0.0.5/24"},
    "plain": {"control_plane_cri_socket": CRI_DOCKERD},
    "joined": {"control_plane_cri_socket": "unix:///run/not-mine.sock", "workers_cri_socket": CRI_DOCKERD},
}
#: Of each host its name, where the rack reaches it and where Ansible does.
EXPECTED = {
    "one": ("First", "10.0.0.1", "192.0.2.1"),
    "card": ("of-the-card", "10.0.0.2", "10.0.0.2"),
    "empty": ("empty", "empty", "empty"),
    "joined": ("joined", "joined", "joined"),
    "static": ("static", "10.0.0.5", "static.lan"),
    "plain": ("plain", "plain", "plain"),
}
#: By role the variables that are read in its place.
READ = {
    "control_plane": [
        "control_plane_cri_socket",
        "__control_plane_node_name",
        "__control_plane_address",
        "__control_plane_sans",
    ],
    "flash": ["__flash_values"],
    "image_cache": ["image_cache_address", "__image_cache_runtime"],
    "live_view": ["live_view_address", "live_view_hosts"],
    "netboot_server": ["netboot_server_address", "__netboot_server_clients"],
    "netboot_tree": ["netboot_tree_server_address"],
    "os_prep": ["__os_prep_name", "__os_prep_hosts"],
    "rack_services": ["rack_services_address", "rack_services_router", "rack_services_time_server"],
    "remote_access": [
        "remote_access_address",
        "remote_access_proxy_address",
        "__remote_access_cri_socket",
    ],
    "reset": ["__reset_cri_socket"],
    "workers": ["workers_cri_socket"],
}


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Have a play read what each role has for each host, where the role would."""
    folder = tmp_path_factory.mktemp("reading")
    groups: dict[str, Any] = {
        group: {"hosts": {host: {} for host in hosts}} for group, hosts in GROUPS.items()
    }
    inventory = {
        "all": {
            "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
            "hosts": HOSTS,
            "children": groups,
        }
    }
    (folder / "hosts.yml").write_text(json.dumps(inventory))
    for role, names in READ.items():
        path = folder / "roles" / role
        (path / "tasks").mkdir(parents=True)
        # The defaults that it shares with others.
        (path / "meta").mkdir()
        if (ROOT / "roles" / role / "meta/main.yml").exists():
            (path / "meta/main.yml").symlink_to(ROOT / "roles" / role / "meta/main.yml")
        for part in ("defaults", "vars"):
            if (ROOT / "roles" / role / part).is_dir():
                (path / part).symlink_to(ROOT / "roles" / role / part)
        values = "{{ {" + ", ".join(f"'{name}': {name}" for name in names) + "} }}"
        task = {"ansible.builtin.set_fact": {f"read_{role}": values}}
        (path / "tasks/main.yml").write_text(json.dumps([task]))
    # A play for each, as the roles of one see the defaults of each other.
    plays: list[dict[str, Any]] = [
        {"hosts": loaded_once("all"), "gather_facts": False, "roles": [role]} for role in READ
    ]
    everything = " | combine(".join(f"read_{role}" for role in READ) + ")" * (len(READ) - 1)
    collect = [
        {"ansible.builtin.set_fact": {"found": f"{{{{ {everything} }}}}"}},
        {
            "ansible.builtin.copy": {
                "content": "{{ dict(hosts | zip(hosts | map('extract', hostvars, 'found'))) | to_json }}",
                "dest": f"{folder}/found.json",
            },
            "vars": {"hosts": list(HOSTS)},
            "run_once": True,
        },
    ]
    plays.append({"hosts": loaded_once("all"), "gather_facts": False, "tasks": collect})
    (folder / "play.yml").write_text(json.dumps(plays))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", folder / "hosts.yml", folder / "play.yml"],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-3000:], done.stderr[-3000:])
    found: dict[str, dict[str, Any]] = json.loads((folder / "found.json").read_text())
    return found


@pytest.mark.parametrize("host", HOSTS)
def test_every_role_says_the_same(read: dict[str, dict[str, Any]], host: str) -> None:
    name, address, outer_address = EXPECTED[host]
    found = read[host]
    assert (found["__os_prep_name"], found["__flash_values"]["hostname"]) == (name, name)
    assert found["__control_plane_node_name"] == name.lower()
    addresses = {name: value for name, value in found.items() if name.endswith("_address")}
    of_the_head = {
        name: addresses.pop(name) for name in ("remote_access_address", "netboot_tree_server_address")
    }
    assert set(of_the_head.values()) == {"192.0.2.1", "10.0.0.1"}
    assert addresses.pop("__control_plane_address") == outer_address
    assert addresses == dict.fromkeys(addresses, address)
    assert found["__control_plane_sans"] == list(dict.fromkeys([host, outer_address]))
    assert found["live_view_hosts"] == [address, name.lower()]
    assert (found["rack_services_router"], found["rack_services_time_server"]) == ("10.0.0.1", "10.0.0.1")
    own, *others = found["__os_prep_hosts"]
    assert own == {"address": address, "names": list(dict.fromkeys([name, host]))}
    assert [entry["address"] for entry in others] == [EXPECTED[other][1] for other in HOSTS if other != host]


def test_a_tree_is_served_where_it_is_made(read: dict[str, dict[str, Any]]) -> None:
    exports = read["one"]["__netboot_server_clients"]["exports"]
    # As the role netboot_tree has it: the module's node is the host name of the card.
    assert exports[0]["path"].endswith(f"/nfs/{read['card']['__flash_values']['hostname']}")


def test_a_socket_that_is_set_is_everybody_s(read: dict[str, dict[str, Any]]) -> None:
    for host, socket, given in (
        ("one", "unix:///run/containerd/containerd.sock", ""),
        ("empty", "unix:///var/run/cri-dockerd.sock", ""),
        ("plain", CRI_DOCKERD, CRI_DOCKERD),
    ):
        found = read[host]
        assert found["control_plane_cri_socket"] == found["__remote_access_cri_socket"] == socket
        assert found["__reset_cri_socket"] == given
        assert found["__image_cache_runtime"] == ("cri_dockerd" if "dockerd" in socket else "containerd")
    assert read["joined"]["workers_cri_socket"] == read["joined"]["__reset_cri_socket"] == CRI_DOCKERD
    assert read["joined"]["__image_cache_runtime"] == "cri_dockerd"
