# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubeadm is told of a user's flags and of the failure detection's, by the role and its module."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import init
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node
from ansible_collections.bramble.pi.plugins.modules import kubeadm_init

from tests.unit.kubeadm_node import FakeNode, run
from tests.unit.plays import loaded_once, write_for_each
from tests.unit.run_module import REPOSITORY

GRACE, PERIOD = ("node-monitor-grace-period", "12s"), ("node-monitor-period", "2s")
NOT_READY = ("default-not-ready-toleration-seconds", "3")
UNREACHABLE = ("default-unreachable-toleration-seconds", "3")


class Row(NamedTuple):
    """What a user gives, and the flags that come of it."""

    cluster: Any
    controller_manager: list[tuple[str, str]]
    api_server: list[tuple[str, str]]
    detection: str = "demo"
    #: Of the kubelet's configuration.
    kubelet: Any = None


def _list(**flags: Any) -> list[dict[str, Any]]:
    return [{"name": name.replace("_", "-"), "value": value} for name, value in flags.items()]


ROWS = {
    "nothing": Row({}, [GRACE, PERIOD], [NOT_READY, UNREACHABLE]),
    "no detection": Row({"controllerManager": {"extraArgs": {"v": 2}}}, [("v", "2")], [], "default"),
    "mapping": Row(
        {"controllerManager": {"extraArgs": {"v": 2}}}, [GRACE, PERIOD, ("v", "2")], [NOT_READY, UNREACHABLE]
    ),
    "list": Row(
        {"controllerManager": {"extraArgs": _list(v=2)}, "apiServer": {"extraArgs": _list(profiling=False)}},
        [GRACE, PERIOD, ("v", "2")],
        [NOT_READY, UNREACHABLE, ("profiling", "false")],
    ),
    "list and mapping": Row(
        {"controllerManager": {"extraArgs": _list(v=2)}, "apiServer": {"extraArgs": {"profiling": "false"}}},
        [GRACE, PERIOD, ("v", "2")],
        [NOT_READY, UNREACHABLE, ("profiling", "false")],
    ),
    "the user's own detection as a mapping": Row(
        {"controllerManager": {"extraArgs": {"node-monitor-period": "4s"}}},
        [GRACE, (PERIOD[0], "4s")],
        [NOT_READY, UNREACHABLE],
    ),
    "the user's own detection as a list": Row(
        {"controllerManager": {"extraArgs": _list(node_monitor_period="4s")}},
        [GRACE, (PERIOD[0], "4s")],
        [NOT_READY, UNREACHABLE],
    ),
    "lines that are commented out": Row(
        {"controllerManager": {"extraArgs": None}, "apiServer": None},
        [GRACE, PERIOD],
        [NOT_READY, UNREACHABLE],
    ),
    "the user's own reservation": Row({}, [], [], "default", {"systemReserved": {"memory": "1Gi"}}),
}
KUBEADM = """\
#!/bin/sh
case "$*" in
    "config print init-defaults") echo "apiVersion: kubeadm.k8s.io/{version}" ;;
    "version -o json") echo '{{"clientVersion": {{"gitVersion": "v1.36.1"}}}}' ;;
    init*) config="$2"; cat "${{config#--config=}}" > '{root}/given' ;;
esac
"""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Have ansible put together what the role hands to the module on each host."""
    folder = tmp_path_factory.mktemp("control_plane")
    role = REPOSITORY / "roles/control_plane"
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text())
    hosts = {
        f"pi-{number}": {
            **defaults,
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "control_plane_endpoint": "rack.lan:6443",
            "control_plane_failure_detection": row.detection,
            "control_plane_cluster_configuration": row.cluster,
            "control_plane_kubelet_configuration": row.kubelet or {},
        }
        for number, row in enumerate(ROWS.values())
    }
    shared = yaml.safe_load((REPOSITORY / "roles/cluster_defaults/defaults/main.yml").read_text())
    # An inventory has no hostvars to make it of.
    shared.pop("os_prep_hostname")
    inventory = {"control_plane": {"hosts": hosts, "vars": shared}}
    (folder / "hosts.yml").write_text(json.dumps(inventory))
    tasks = yaml.safe_load((role / "tasks/main.yml").read_text())
    (module,) = (task["bramble.pi.kubeadm_init"] for task in tasks if "bramble.pi.kubeadm_init" in task)
    node = {"bramble": {"default_address": "192.168.1.10"}, "cacheable": True}
    play = {
        "hosts": loaded_once("control_plane"),
        "gather_facts": False,
        "vars_files": [str(role / "vars/main.yml")],
        "vars": {"given": module},
        "tasks": [
            {"ansible.builtin.set_fact": node},
            {"ansible.builtin.set_fact": {"found": "{{ given }}"}},
            write_for_each("found", folder / "found.json"),
        ],
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", folder / "hosts.yml", folder / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((folder / "found.json").read_text())
    return {name: found[host] for name, host in zip(ROWS, hosts, strict=True)}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    monkeypatch.setattr(Node, "has", lambda _self, _program: True)
    monkeypatch.setattr(init, "_wait_for_components", lambda **_options: None)
    node = FakeNode(tmp_path, monkeypatch)
    (tmp_path / "etc/kubernetes").mkdir(parents=True)
    return node


@pytest.mark.parametrize("version", ["v1beta2", "v1beta3", "v1beta4", "v1beta5", "v1"])
@pytest.mark.parametrize("name", ROWS)
def test_flags_are_merged_by_name(
    arguments: dict[str, dict[str, Any]],
    name: str,
    version: str,
    node: FakeNode,
    capsys: pytest.CaptureFixture[str],
) -> None:
    node.program("kubeadm", "")
    (node.programs / "kubeadm").write_text(KUBEADM.format(root=node.root, version=version))
    done = run(kubeadm_init, capsys, **arguments[name])
    written = "v1beta4" if version in ("v1beta5", "v1") else version
    assert done.get("api_version") == written, done
    documents = [json.loads(text) for text in (node.root / "given").read_text().split("---\n")]
    (cluster,) = (document for document in documents if document["kind"] == "ClusterConfiguration")
    assert cluster["apiVersion"] == f"kubeadm.k8s.io/{written}"
    row = ROWS[name]
    for part, expected in (("controllerManager", row.controller_manager), ("apiServer", row.api_server)):
        found = cluster.get(part, {}).get("extraArgs", {})
        if written == "v1beta4":
            assert [(each["name"], each["value"]) for each in found] == expected
        else:
            assert found == dict(expected)
    assert cluster["apiServer"]["certSANs"][-1] == "rack.lan"
    (kubelet,) = (document for document in documents if document["kind"] == "KubeletConfiguration")
    assert kubelet.get("nodeStatusUpdateFrequency") == ("2s" if row.detection == "demo" else None)
    # A flag goes over the configuration.
    (first,) = (document for document in documents if document["kind"] == "InitConfiguration")
    reserved = "system-reserved" in json.dumps(first["nodeRegistration"].get("kubeletExtraArgs"))
    assert reserved == (row.kubelet is None)
