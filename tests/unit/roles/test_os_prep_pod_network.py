# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What site says of what will hurt pods: of a new node before anything is done, else in its summary."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.plays import loaded_once
from tests.unit.run_module import REPOSITORY

CALICO = {"file": "10-calico.conflist", "types": ["calico"]}
FLANNEL = {"file": "10-flannel.conflist", "types": ["flannel", "portmap"]}
VXLAN = "kernel 6.8.0-raspi has no module vxlan; expected vxlan, for flannel: on Ubuntu 21.10 to 23.10: sudo"
CNI = "10-calico.conflist in /etc/cni/net.d comes before 10-flannel.conflist by name; expected"
OTHER = "part of a cluster whose pods have the network of 10-calico.conflist in /etc/cni/net.d; expected"
PODS = "the cluster's pods is 10.32.0.0/16; expected 10.244.0.0/16: set control_plane_pod_cidr to 10.32.0.0"
NODES: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "pi-1": ({}, {}, "", ""),
    "pi-2": ({"vxlan": False}, {}, "refused", VXLAN),
    "pi-3": ({"cni": [CALICO]}, {}, "refused", CNI),
    # These run already, and may have found their way around it.
    "pi-4": ({"vxlan": False, "kubernetes": {"state": "worker"}}, {}, "warned", VXLAN),
    "pi-5": ({"cni": [CALICO, FLANNEL], "kubernetes": {"state": "control_plane"}}, {}, "warned", CNI),
    "pi-6": ({"vxlan": False, "cni": [CALICO]}, {"pod_network_plugin": "none"}, "", ""),
    "pi-7": ({"vxlan": None, "cni": [{"file": "87-x.conf", "types": ["x"]}]}, {}, "", ""),
    # A cluster that was made by hand, and has another pod network.
    "pi-8": ({"cni": [CALICO], "kubernetes": {"state": "worker"}}, {}, "refused", OTHER),
    "pi-9": (
        {
            "kubernetes": {
                "state": "control_plane",
                "ca_cert_hash": "sha256:aa",
                "pod_cidr": "10.32.0.0/16",
                "service_cidr": "10.96.0.0/12",
            }
        },
        {},
        "refused",
        PODS,
    ),
    # An endpoint that is a template of another host's, which is not compared.
    "pi-12": (
        {
            "kubernetes": {
                "state": "control_plane",
                "ca_cert_hash": "sha256:cc",
                "api_server": "https://192.168.1.9:6443",
            }
        },
        {"control_plane_endpoint": "{{ hostvars['pi-1'].ansible_connection }}:6443"},
        "",
        "",
    ),
    # Its worker has no file that says so.
    "pi-10": ({"kubernetes": {"state": "worker", "ca_cert_hash": "sha256:aa"}}, {}, "refused", PODS),
    "pi-11": ({"kubernetes": {"state": "worker", "ca_cert_hash": "sha256:bb"}}, {}, "", ""),
}


def facts(host: str, **changed: Any) -> dict[str, Any]:
    return {
        "distribution": {"id": "ubuntu", "version": "22.04", "codename": "jammy", "name": "Ubuntu"},
        "architecture": "arm64",
        "hostname": host,
        "machine_id": host,
        "kernel": "6.8.0-raspi",
        "kubernetes": {"state": "absent"},
        "vxlan": True,
        "cni": [],
        **changed,
    }


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Have ansible run the role's checks for a node of each sort."""
    folder = tmp_path_factory.mktemp("os_prep")
    hosts = {
        host: {
            "ansible_connection": "local",
            "os_prep_hostname": host,
            "seen": facts(host, **changed),
            **variables,
        }
        for host, (changed, variables, *_told) in NODES.items()
    }
    defaults = yaml.safe_load((REPOSITORY / "roles/cluster_defaults/defaults/main.yml").read_text())
    (folder / "hosts.yml").write_text(json.dumps({"all": {"vars": defaults, "hosts": hosts}}))
    tasks = yaml.safe_load((REPOSITORY / "roles/os_prep/tasks/main.yml").read_text())
    first = next(number for number, task in enumerate(tasks) if "kernel_cmdline" in str(task))
    seen = {"ansible.builtin.set_fact": {"bramble": "{{ seen }}", "cacheable": True}}
    summary = yaml.safe_load((REPOSITORY / "roles/workers/tasks/summary.yml").read_text())
    play = {"hosts": loaded_once("all"), "gather_facts": False, "tasks": [seen, *tasks[1:first], *summary]}
    (folder / "play.yml").write_text(json.dumps([play]))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", folder / "hosts.yml", folder / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    return done.stdout


@pytest.mark.parametrize("host", NODES)
def test_before_it_hurts(said: str, host: str) -> None:
    *_given, told, message = NODES[host]
    lines = said.partition("TASK [Fail on unsupported nodes")[2].splitlines()
    refused = "\n".join(line for line in lines if line.startswith(f"fatal: [{host}]"))
    summary = said.partition("TASK [Print a summary")[2].splitlines()
    warned = "\n".join(line for line in summary if line.strip().startswith(f'"{host}: '))
    assert (bool(refused), bool(warned)) == (told == "refused", told == "warned"), said
    assert message in refused + warned
