# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a cluster, and its next one with another runtime. Each test goes on where the last one ended."""

from __future__ import annotations

import re
import subprocess
import time

from tests.e2e.conftest import ALL_READY, NODES, RACK_NAME, ROOT, Rack, assert_unchanged


def test_whole_cluster_is_reset(cluster: Rack) -> None:
    rack = cluster
    rack.playbook("playbooks/reset.yml", "-e", "reset_confirm=yes")
    for node in NODES:
        left = rack.shell(
            node,
            "find /etc/kubernetes /var/lib/etcd /etc/cni/net.d ! -type d 2>/dev/null;"
            # Newer kubelets count restarts by these.
            "find /var/log/pods /var/log/containers -mindepth 1 2>/dev/null;"
            "ip -o link show type bridge | grep -o cni0; iptables-save | grep -E 'KUBE-|CNI-'; true",
        )
        assert not left.strip(), (node, left)
    again = rack.playbook("playbooks/reset.yml", "-e", "reset_confirm=yes")
    assert_unchanged(again.recap())


def test_killed_init_is_recovered_with_the_other_runtime(rack: Rack) -> None:
    detection = (
        '{"control_plane_failure_detection": {"node_monitor_period": 4, "node_monitor_grace_period": 51,'
        ' "node_status_update_frequency": 8, "eviction": 120}}'
    )
    runtime = ("-e", "docker_kubernetes_runtime=containerd", "-e", detection)
    with rack.start(*rack.playbook_command("site.yml", *runtime)) as first:
        deadline = time.monotonic() + 300
        # The moment after etcd has been told to start, and long before init is through.
        while not rack.shell("pi-1", "ls /etc/kubernetes/manifests/etcd.yaml 2>/dev/null || true"):
            assert time.monotonic() < deadline, "kubeadm init was not seen"
            assert first.poll() is None, "site.yml ended before kubeadm init"
            time.sleep(0.2)
        first.kill()
        rack.shell("pi-1", "pkill -KILL -x kubeadm || true")
        first.communicate()
    rack.playbook("site.yml", *runtime)
    rack.playbook("playbooks/verify.yml", *runtime)
    assert rack.ready() == ALL_READY
    runtimes = {
        node["status"]["nodeInfo"]["containerRuntimeVersion"].split(":")[0]
        for node in rack.kubectl("get", "nodes")["items"]
    }
    assert runtimes == {"containerd"}
    assert_unchanged(rack.playbook("site.yml", *runtime).recap())
    manifests = rack.shell("pi-1", "cat /etc/kubernetes/manifests/*.yaml")
    for flag in (
        "--node-monitor-period=4s",
        "--node-monitor-grace-period=51s",
        "--default-unreachable-toleration-seconds=120",
        "--default-not-ready-toleration-seconds=120",
    ):
        assert flag in manifests
    for node in NODES:
        assert "nodeStatusUpdateFrequency: 8s" in rack.shell(node, "cat /var/lib/kubelet/config.yaml")
    # The playbook finds nothing to change.
    assert_unchanged(rack.playbook("playbooks/failure_detection.yml", *runtime).recap())


def test_node_that_is_restarted_comes_back_by_itself(rack: Rack) -> None:
    rack.run(str(ROOT / ".venv/bin/ansible"), "-i", str(rack.inventory), "pi-2", "-b", "-m", "reboot")
    deadline = time.monotonic() + 120
    while rack.ready() != ALL_READY:
        assert time.monotonic() < deadline, rack.ready()
        time.sleep(2)
    rack.playbook("playbooks/verify.yml", "-e", "docker_kubernetes_runtime=containerd")


def test_demo_down_leaves_nothing_behind(rack: Rack) -> None:
    rack.run("make", "demo-down", f"INVENTORY={rack.inventory}")
    for command in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        listing = subprocess.run(["podman", *command], check=True, capture_output=True, text=True).stdout
        # As a word: others' volumes have names of random digits.
        assert not re.search(rf"\b{RACK_NAME}\b", listing)
