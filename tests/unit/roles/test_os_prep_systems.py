# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which systems os_prep refuses before it changes anything, and for which Kubernetes."""

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

FOCAL = ("ubuntu", "20.04")
BULLSEYE = ("debian", "11")
FROM_DOCKER = ["docker-ce", "containerd.io"]
NODES: dict[str, tuple[tuple[str, str], dict[str, Any], dict[str, Any], str]] = {
    "focal": (FOCAL, {}, {"kube_packages_version": "1.24"}, "ubuntu 20.04 has a Python before 3.9"),
    "jammy": (("ubuntu", "22.04"), {}, {}, ""),
    "resolute": (("ubuntu", "26.04"), {}, {"kube_packages_version": "1.37"}, ""),
    "bookworm": (("debian", "12"), {}, {"kube_packages_version": "1.37"}, ""),
    "trixie": (
        ("debian", "13"),
        {},
        {"kube_packages_version": "1.38"},
        'set kube_packages_version to \\"1.37\\"',
    ),
    "bullseye": (BULLSEYE, {}, {}, "Kubernetes 1.36 needs containerd 1.6 or newer, and this is 1.4"),
    "old": (BULLSEYE, {}, {"kube_packages_version": "1.25.16"}, ""),
    "older": (BULLSEYE, {}, {"kube_packages_version": "1.20"}, ""),
    "docker": (BULLSEYE, {}, {"docker_packages": FROM_DOCKER}, ""),
    "there": (BULLSEYE, {"packages": {"docker-ce": "5:28.1", "containerd.io": "1.7.28-1"}}, {}, ""),
    "cri": (BULLSEYE, {}, {"docker_kubernetes_runtime": "cri_dockerd"}, ""),
    "member": (BULLSEYE, {"kubernetes": {"state": "worker"}}, {}, ""),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Have ansible run the role's checks for all of them, and return what it says of each that it refuses."""
    folder = tmp_path_factory.mktemp("os_prep")
    hosts = {}
    for host, (system, changed, variables, _told) in NODES.items():
        seen = {
            "distribution": {"id": system[0], "version": system[1], "codename": "", "name": ""},
            "architecture": "arm64",
            "hostname": host,
            "machine_id": host,
            "kernel": "6.8.0",
            "kubernetes": {"state": "absent"},
            "packages": {},
            **changed,
        }
        hosts[host] = {"ansible_connection": "local", "os_prep_hostname": host, "seen": seen, **variables}
    defaults = yaml.safe_load((REPOSITORY / "roles/cluster_defaults/defaults/main.yml").read_text())
    # A later default is no other node.
    common = {**defaults, "kube_packages_version": "1.36"}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"vars": common, "hosts": hosts}}))
    tasks = yaml.safe_load((REPOSITORY / "roles/os_prep/tasks/main.yml").read_text())
    first = next(number for number, task in enumerate(tasks) if "kernel_cmdline" in str(task))
    seen = {"ansible.builtin.set_fact": {"bramble": "{{ seen }}", "cacheable": True}}
    play = {"hosts": loaded_once("all"), "gather_facts": False, "tasks": [seen, *tasks[1:first]]}
    (folder / "play.yml").write_text(json.dumps([play]))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", folder / "hosts.yml", folder / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert "Fail on unsupported nodes" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("fatal: [")]
    return {line[len("fatal: [") :].partition("]")[0]: line for line in lines}


@pytest.mark.parametrize("host", NODES)
def test_before_anything_is_done(refused: dict[str, str], host: str) -> None:
    message = NODES[host][-1]
    assert (host in refused) == bool(message), refused.get(host)
    assert message in refused.get(host, "")
