# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster is reset; another one comes out of a killed run."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import ALL_READY, NODES, RACK_NAME, ROOT, Rack, assert_unchanged, wait_for

DETECTION = {
    "node_monitor_period": 4,
    "node_monitor_grace_period": 51,
    "node_status_update_frequency": 8,
    "eviction": 120,
}
#: The node whose kubeadm is killed, what it has just got by then, and what it has not got yet.
MOMENTS = {
    "init, when the authority is made": ("pi-1", "pki/ca.crt", "pki/sa.key"),
    "init, when the certificates are made": ("pi-1", "pki/sa.key", "controller-manager.conf"),
    "init, when the kubeconfigs are made": ("pi-1", "controller-manager.conf", "manifests/etcd.yaml"),
    "init, when etcd is told to start": ("pi-1", "manifests/etcd.yaml", ""),
    "join of a worker, when it asks to": ("pi-3", "bootstrap-kubelet.conf", ""),
    "join of a worker, when it is let in": ("pi-3", "kubelet.conf", ""),
    "join of a control plane, when it has the certificates": (
        "pi-2",
        "pki/ca.key",
        "controller-manager.conf",
    ),
    "join of a control plane, when it is let in": ("pi-2", "kubelet.conf", "manifests/etcd.yaml"),
    "join of a control plane, when etcd is told to start": ("pi-2", "manifests/etcd.yaml", ""),
}


def test_one_worker_is_taken_out_and_added_again(cluster: Rack) -> None:
    cluster.playbook("playbooks/reset.yml", "--limit", "pi-3", "-e", "reset_confirm=yes")
    assert cluster.ready() == dict.fromkeys(NODES - {"pi-3"}, "True")
    tainted = ("-e", '{"workers_tainted_architectures": ["amd64"]}')
    added = cluster.playbook("site.yml", "--limit", "pi-3", *tainted)
    assert set(added.recap()) == {"pi-3"}
    spec = cluster.kubectl("get", "node", "pi-3")["spec"]
    assert {"key": "kubernetes.io/arch", "value": "amd64", "effect": "NoSchedule"} in spec["taints"]
    cluster.playbook("playbooks/verify.yml")
    assert cluster.ready() == ALL_READY


#: The second cluster: groups with their nodes and the runtime of each.
SECOND = {
    "control_plane": {"pi-1": "containerd"},
    "workers": {"pi-2": "containerd", "pi-3": "containerd"},
}
#: The same with two control planes.
GROWN = {
    "control_plane": {"pi-1": "containerd", "pi-2": "containerd"},
    "workers": {"pi-3": "containerd"},
}


def rewrite_inventory(rack: Rack, groups: dict[str, dict[str, str]]) -> None:
    """Say which nodes there are with which runtime, and what a cluster with room for control planes has."""
    hosts = rack.inventory / "hosts.yml"
    inventory: dict[str, Any] = yaml.safe_load(hosts.read_text())
    inventory["all"]["vars"].update(
        control_plane_endpoint="{{ hostvars['pi-1'].ansible_host }}:6443",
        control_plane_failure_detection=DETECTION,
    )
    # What its container is stays as it is.
    systems = {"pi-3": {"virtual_rack_node_os": "trixie"}}
    inventory["rack"]["children"] = {
        group: {
            "hosts": {
                name: {**systems.get(name, {}), "docker_kubernetes_runtime": runtime}
                for name, runtime in nodes.items()
            }
        }
        for group, nodes in groups.items()
    }
    hosts.write_text(yaml.safe_dump(inventory, sort_keys=False))


@pytest.fixture(scope="module")
def second(rack: Rack) -> Rack:
    """Return the rack with an inventory of another cluster, and without a cluster."""
    rack.playbook("playbooks/virtual_rack_create.yml")
    if not rack.shell("pi-3", "command -v kubeadm || true"):
        # So that no node is restarted while a moment is waited for.
        rack.playbook("site.yml", "--tags", "os_prep,docker,kube_packages")
    rack.playbook("playbooks/reset.yml", "-e", "reset_confirm=yes")
    rewrite_inventory(rack, SECOND)
    return rack


def test_whole_cluster_is_reset(cluster: Rack) -> None:
    cluster.playbook("playbooks/reset.yml", "-e", "reset_confirm=yes")
    for node in NODES:
        left = cluster.shell(
            node,
            "find /etc/kubernetes /var/lib/etcd /etc/cni/net.d ! -type d 2>/dev/null;"
            # Newer kubelets count restarts by these.
            "find /var/log/pods /var/log/containers -mindepth 1 2>/dev/null;"
            "ip -o link show type bridge | grep -o cni0; iptables-save | grep -E 'KUBE-|CNI-'; true",
        )
        assert not left.strip(), (node, left)
    again = cluster.playbook("playbooks/reset.yml", "-e", "reset_confirm=yes")
    assert_unchanged(again.recap())


@pytest.mark.some(1)
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_run_is_finished_by_the_next(second: Rack, moment: str) -> None:
    node, there, not_yet = MOMENTS[moment]
    second.playbook("playbooks/reset.yml", "-e", "reset_confirm=yes")
    rewrite_inventory(second, GROWN if moment.startswith("join of a control plane") else SECOND)
    # On the node itself, so that it is the moment and not some time after it.
    watch = (
        f"until cd /etc/kubernetes 2>/dev/null && [ -e {there} ]; do sleep 0.02; done;"
        f" pkill -KILL -x kubeadm && ls {there} {not_yet} 2>/dev/null"
    )
    podman = ["podman", "exec", second.container(node), "timeout", "400", "sh", "-c", watch]
    with second.start(*second.playbook_command("site.yml")) as first:
        killed = subprocess.run(podman, check=False, capture_output=True, text=True)
        first.kill()
        first.communicate()
    assert killed.stdout.split() == [there], f"what was there when kubeadm was killed: {killed}"
    second.playbook("site.yml")
    second.playbook("playbooks/verify.yml")
    assert second.ready() == ALL_READY


def test_second_cluster_has_the_other_runtime_and_the_detection_chosen(second: Rack) -> None:
    assert_unchanged(second.playbook("site.yml").recap())
    assert runtimes(second) == dict.fromkeys(NODES, "containerd")
    assert_detection(second, "pi-1")
    for node in NODES:
        assert "nodeStatusUpdateFrequency: 8s" in second.shell(node, "cat /var/lib/kubelet/config.yaml")
    # The playbook finds nothing to change.
    assert_unchanged(second.playbook("playbooks/failure_detection.yml").recap())


def runtimes(rack: Rack) -> dict[str, str]:
    return {
        node["metadata"]["name"]: node["status"]["nodeInfo"]["containerRuntimeVersion"].split(":")[0]
        for node in rack.kubectl("get", "nodes")["items"]
    }


def assert_detection(rack: Rack, node: str) -> None:
    manifests = rack.shell(node, "cat /etc/kubernetes/manifests/*.yaml")
    for flag in (
        "--node-monitor-period=4s",
        "--node-monitor-grace-period=51s",
        "--default-unreachable-toleration-seconds=120",
        "--default-not-ready-toleration-seconds=120",
    ):
        assert flag in manifests


def test_node_that_is_restarted_comes_back_by_itself(second: Rack) -> None:
    second.run(str(ROOT / ".venv/bin/ansible"), "-i", str(second.inventory), "pi-2", "-b", "-m", "reboot")
    wait_for(lambda: second.ready() == ALL_READY, 120, "all nodes are Ready")
    second.playbook("playbooks/verify.yml")


def test_demo_down_leaves_nothing_behind(rack: Rack) -> None:
    rack.run("make", "demo-down", f"INVENTORY={rack.inventory}")
    for command in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        listing = subprocess.run(["podman", *command], check=True, capture_output=True, text=True).stdout
        # As a word: others' volumes have names of random digits.
        assert not re.search(rf"\b{RACK_NAME}\b", listing)
