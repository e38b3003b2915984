# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version of control groups os_prep refuses for which Kubernetes, before anything is installed."""

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

CHECK = "Check that the control groups can be used"
REFUSED = "expected cgroup v2: remove systemd.unified_cgroup_hierarchy=0 from the kernel command line"
# Version of the control groups, variables of the host, state of its Kubernetes, and what is said.
NODES: dict[str, tuple[int, dict[str, Any], str, str]] = {
    "v2": (2, {"kube_packages_version": "1.37"}, "absent", ""),
    "default": (1, {}, "absent", REFUSED),
    "newest": (1, {"kube_packages_version": "1.99"}, "absent", REFUSED),
    "first": (1, {"kube_packages_version": "1.35.0"}, "partial", "the kubelet of Kubernetes 1.35.0 does not"),
    "last": (1, {"kube_packages_version": "1.34.9"}, "absent", ""),
    "old": (1, {"kube_packages_version": "1.20"}, "absent", ""),
    "worker": (1, {}, "worker", ""),
    "control-plane": (1, {}, "control_plane", ""),
}


def _said(folder: Path, *, control_plane: dict[str, Any] | None) -> dict[str, str]:
    """Have ansible run the role's check, and return what it says of each host that it refuses."""
    hosts = {
        host: {
            "ansible_connection": "local",
            "os_prep_kernel_cmdline": [],
            "__os_prep_cmdline": {"skipped": True},
            "seen": {
                "cgroup": {"version": version, "controllers": ["cpuset", "memory"]},
                "kubernetes": {"state": state},
            },
            **variables,
        }
        for host, (version, variables, state, _message) in NODES.items()
    }
    first = {} if control_plane is None else {"control_plane": {"hosts": {"pi-1": control_plane}}}
    shared = yaml.safe_load((REPOSITORY / "roles/cluster_defaults/defaults/main.yml").read_text())
    common = {**shared, "kube_packages_version": "1.36"}
    (folder / "hosts.yml").write_text(json.dumps({"nodes": {"hosts": hosts, "vars": common}, **first}))
    tasks = yaml.safe_load((REPOSITORY / "roles/os_prep/tasks/main.yml").read_text())
    check = next(task for task in tasks if task["name"] == CHECK)
    play = {
        "hosts": loaded_once("nodes"),
        "gather_facts": False,
        "vars_files": [str(REPOSITORY / "roles/os_prep/vars/main.yml")],
        "tasks": [{"ansible.builtin.set_fact": {"bramble": "{{ seen }}", "cacheable": True}}, check],
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", folder / "hosts.yml", folder / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert CHECK in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("fatal: [")]
    return {line[len("fatal: [") :].partition("]")[0]: line for line in lines}


@pytest.mark.parametrize(
    "control_plane", [None, {}, {"control_plane_kubelet_configuration": {"maxPods": 40}}]
)
def test_a_kubelet_that_would_not_start(tmp_path: Path, control_plane: dict[str, Any] | None) -> None:
    said = _said(tmp_path, control_plane=control_plane)
    for host, (_version, _variables, _state, message) in NODES.items():
        assert (host in said) == bool(message), said.get(host)
        assert message in said.get(host, "")


def test_a_kubelet_that_is_told_to_start(tmp_path: Path) -> None:
    told = {"control_plane_kubelet_configuration": {"failCgroupV1": False}}
    assert _said(tmp_path, control_plane=told) == {}
