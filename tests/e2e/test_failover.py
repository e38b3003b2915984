# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers that are lost for real, and how soon that is noticed."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator

import pytest
import yaml

from tests.e2e.conftest import Rack, wait_for

DETECTION = "playbooks/failure_detection.yml"
FAILOVER = "playbooks/failover.yml"
DEMO = ("-e", "control_plane_failure_detection=demo")
NODES = ("pi-1", "pi-2", "pi-3")
FILES = (
    "/etc/kubernetes/manifests/kube-apiserver.yaml",
    "/etc/kubernetes/manifests/kube-controller-manager.yaml",
    "/var/lib/kubelet/config.yaml",
)
EVENTS = (
    "last sign of life of the node",
    "the node is lost",
    "the node is NotReady",
    "all requests are answered again",
    "its pods are given up",
    "all pods run on other nodes",
)


def files(rack: Rack) -> dict[str, str]:
    return {node: rack.shell(node, f"cat {' '.join(FILES)} 2>/dev/null || true") for node in NODES}


def remembered(rack: Rack) -> dict[str, dict[str, str]]:
    """Return what kubeadm keeps in the cluster, read: {name: {key: document}}."""
    maps = rack.kubectl("--namespace", "kube-system", "get", "configmaps")["items"]
    return {
        item["metadata"]["name"]: {key: yaml.safe_load(text) for key, text in item["data"].items()}
        for item in maps
        if re.fullmatch(r"kubeadm-config|kubelet-config.*", item["metadata"]["name"])
    }


def changed(rack: Rack, *arguments: str) -> int:
    recap = rack.playbook(DETECTION, *arguments).recap()
    return sum(counts["changed"] for counts in recap.values())


@pytest.fixture(scope="module")
def demo(cluster: Rack) -> Iterator[Rack]:
    """Set the running cluster to demo in four steps, and back at the end."""
    at_first = files(cluster), remembered(cluster)
    assert changed(cluster, "--check", "--diff", *DEMO) > 0
    assert (files(cluster), remembered(cluster)) == at_first
    try:
        assert changed(cluster, *DEMO) > 0
        assert changed(cluster, "--check", *DEMO) == 0
        assert changed(cluster, *DEMO) == 0
        yield cluster
    finally:
        assert changed(cluster) > 0
        assert changed(cluster) == 0
        assert (files(cluster), remembered(cluster)) == at_first
        wait_for(lambda: set(cluster.ready().values()) == {"True"}, 300, "all nodes are Ready")


@pytest.mark.alone
def test_running_cluster_has_the_new_setting(demo: Rack) -> None:
    processes = demo.shell("pi-1", "ps -eo args | grep -E '^kube-(apiserver|controller-manager)'")
    assert "--node-monitor-grace-period=12s" in processes
    assert "--default-unreachable-toleration-seconds=3" in processes
    for node in NODES:
        told = yaml.safe_load(demo.shell(node, "cat /var/lib/kubelet/config.yaml"))
        assert told["nodeStatusUpdateFrequency"] == "2s"
    kept = remembered(demo)
    assert kept["kubeadm-config"]["ClusterConfiguration"]["controllerManager"]["extraArgs"] == {  # type: ignore[index]
        "node-monitor-grace-period": "12s",
        "node-monitor-period": "2s",
    }


@pytest.mark.alone
def test_what_does_not_answer_in_time_is_put_back(demo: Rack) -> None:
    before = files(demo)
    # Nothing of a control plane starts within a second.
    run = demo.playbook(DETECTION, "-e", "failure_detection_timeout=1", code=2)
    assert "was put back, and answers again" in run.output
    assert "failure_detection_timeout to more than 1 s" in run.output
    assert files(demo)["pi-1"].count("toleration-seconds=3") == 2
    assert changed(demo, *DEMO) >= 0
    assert files(demo) == before


@pytest.mark.alone
def test_values_that_do_not_go_together_change_nothing(demo: Rack) -> None:
    before = files(demo)
    value = (
        '{"control_plane_failure_detection": {"node_monitor_period": 2, "node_monitor_grace_period": 10,'
        ' "node_status_update_frequency": 2, "eviction": 3}}'
    )
    assert "expected a grace period of 11 or more" in demo.playbook(DETECTION, "-e", value, code=2).output
    assert files(demo) == before


def timeline(output: str) -> dict[str, float]:
    """Return the measured seconds of each event in the table that the playbook printed."""
    lines = (re.match(r' *"(\S.*?) {2,}.*?(-?\d+\.\d) s",?$', line) for line in output.splitlines())
    found = [line.groups() for line in lines if line]
    return {event: float(seconds) for event, seconds in found}


def require_back(rack: Rack, node: str) -> None:
    wait_for(lambda: set(rack.ready().values()) == {"True"}, 300, f"{node} is back")
    assert "BRAMBLE-FAILOVER" not in rack.shell(node, "iptables -w -S")
    assert "bramble-failover" not in rack.shell(node, "systemctl list-timers --all")


@pytest.mark.alone
def test_worker_without_network(demo: Rack) -> None:
    run = demo.playbook(FAILOVER)
    seen = timeline(run.output)
    assert tuple(seen) == EVENTS
    assert seen["the node is lost"] == 0 < seen["the node is NotReady"] < seen["all pods run on other nodes"]
    # Half of the pods were on it.
    assert seen["all requests are answered again"] > 0
    require_back(demo, "pi-3")
    names = [item["metadata"]["name"] for item in demo.kubectl("get", "namespaces")["items"]]
    assert "failover" not in names


@pytest.mark.alone
def test_worker_without_power(demo: Rack) -> None:
    container = demo.container("pi-2")
    command = demo.playbook_command(
        FAILOVER,
        "-e",
        "failover_method=power",
        "-e",
        "failover_node=pi-2",
        "-e",
        "failover_power_timeout=600",
    )
    output = ""
    with demo.start(*command) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            output += line
            # The person at the desk.
            if "Pull the plug of pi-2 now" in line:
                time.sleep(5)
                subprocess.run(["podman", "kill", container], check=True)
            if "Plug pi-2 in again" in line:
                subprocess.run(["podman", "start", container], check=True)
    assert process.returncode == 0
    assert tuple(timeline(output)) == EVENTS
    require_back(demo, "pi-2")


@pytest.mark.alone
def test_worker_comes_back_after_a_run_that_is_broken_off(demo: Rack) -> None:
    def kubelet() -> str:
        return demo.shell("pi-2", "systemctl is-active kubelet || true").strip()

    command = demo.playbook_command(
        FAILOVER,
        *("-e", "failover_method=kubelet", "-e", "failover_node=pi-2"),
        *("-e", "failover_delay=5", "-e", "failover_patience=10"),
    )
    with demo.beside(*command) as process:
        wait_for(lambda: kubelet() == "inactive", 180, "the kubelet is stopped")
        process.kill()
    wait_for(lambda: kubelet() == "active", 180, "the kubelet is back by itself")
    require_back(demo, "pi-2")
    # What it left is taken away by the next run; here by hand.
    demo.shell("pi-1", "kubectl --kubeconfig /etc/kubernetes/admin.conf delete namespace failover")


def test_worker_that_cannot_be_spared_is_refused(cluster: Rack) -> None:
    run = cluster.playbook(FAILOVER, "-e", "failover_node=pi-1", code=2)
    assert "failover_node is 'pi-1', and the workers are pi-2, pi-3" in run.output
    netbooted = cluster.inventory / "netboot.yml"
    netbooted.write_text("netboot: {hosts: {pi-3: }}\n")
    try:
        run = cluster.playbook(FAILOVER, code=2)
    finally:
        netbooted.unlink()
    assert "failover_node is 'pi-3', which has its system on the network" in run.output


def test_pod_of_each_architecture_is_run(cluster: Rack) -> None:
    kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
    # The label that pods choose by; the machine below stays what it is.
    cluster.shell("pi-1", f"{kubectl} label node pi-3 kubernetes.io/arch=arm64 --overwrite")
    cluster.shell("pi-1", f"{kubectl} taint node pi-3 kubernetes.io/arch=arm64:NoSchedule")
    try:
        cluster.playbook("playbooks/verify.yml", "-e", "verify_keep=true")
        pods = cluster.kubectl(
            "--namespace", "kube-verify", "get", "pods", "--selector", "app=verify-architecture"
        )
        nodes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in pods["items"]}
        assert nodes["verify-arm64"] == "pi-3"
        assert len(nodes) == 2
        assert nodes["verify-amd64"] in ("pi-1", "pi-2")
        # Nothing that does not tolerate the taint.
        others = cluster.kubectl("--namespace", "kube-verify", "get", "pods", "--selector", "app=verify")
        assert {pod["spec"]["nodeName"] for pod in others["items"]} == {"pi-2"}
    finally:
        cluster.shell(
            "pi-1",
            f"{kubectl} taint node pi-3 kubernetes.io/arch-;"
            f"{kubectl} label node pi-3 kubernetes.io/arch=amd64 --overwrite;"
            f"{kubectl} delete namespace kube-verify --ignore-not-found",
        )
