# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster is reset; another one, with three control planes, comes out of a killed run."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import ssl
import stat
import subprocess
import time
from collections.abc import Iterable
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import vip

from tests.e2e.conftest import (
    ALL_READY,
    NODES,
    POD_CIDR,
    RACK_NAME,
    RACK_SUBNET,
    ROOT,
    Rack,
    assert_unchanged,
    wait_for,
)

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
    "join of a worker, when it asks to": ("pi-4", "bootstrap-kubelet.conf", ""),
    "join of a worker, when it is let in": ("pi-4", "kubelet.conf", ""),
    "join of a control plane, when it has the certificates": (
        "pi-2",
        "pki/ca.key",
        "controller-manager.conf",
    ),
    "join of a control plane, when it is let in": ("pi-2", "kubelet.conf", "manifests/etcd.yaml"),
    "join of a control plane, when etcd is told to start": ("pi-2", "manifests/etcd.yaml", ""),
}


def test_one_worker_is_taken_out_and_added_again(cluster: Rack) -> None:
    kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
    there = json.dumps({"spec": {"nodeName": "pi-3"}})
    cluster.shell(
        "pi-1",
        f"{kubectl} create poddisruptionbudget kept --selector=app=kept --min-available=1;"
        f"{kubectl} run kept --image=localhost/hello:1 --labels=app=kept --overrides='{there}';"
        f"{kubectl} wait --for=condition=Ready --timeout=60s pod/kept",
    )
    run = ("playbooks/reset.yml", "--limit", "pi-3", "-e", "reset_confirm=yes")
    refused = " ".join(cluster.playbook(*run, code=2).output.split())
    assert (
        "pi-3 cannot be drained, and nothing was done to it: pod default/kept: PodDisruptionBudget" in refused
    )
    assert "or set reset_drain to false" in refused
    assert cluster.ready() == ALL_READY
    assert not cluster.kubectl("get", "node", "pi-3")["spec"].get("unschedulable")
    cluster.shell("pi-1", f"{kubectl} delete poddisruptionbudget kept")
    cluster.playbook(*run)
    assert cluster.ready() == dict.fromkeys(NODES - {"pi-3"}, "True")
    assert "kept" not in {pod["metadata"]["name"] for pod in cluster.kubectl("get", "pods")["items"]}
    tainted = ("-e", '{"workers_tainted_architectures": ["amd64"]}')
    added = cluster.playbook("site.yml", "--limit", "pi-3", *tainted)
    assert set(added.recap()) == {"pi-3"}
    spec = cluster.kubectl("get", "node", "pi-3")["spec"]
    assert {"key": "kubernetes.io/arch", "value": "amd64", "effect": "NoSchedule"} in spec["taints"]
    cluster.playbook("playbooks/verify.yml")
    assert cluster.ready() == ALL_READY


#: The second cluster: groups with their nodes and the runtime of each. pi-2 and pi-3 join the control plane
#: that pi-1 begins, in one run; pi-1 has another runtime than before; pi-4 is made for it.
SECOND = {
    "control_plane": {"pi-1": "containerd", "pi-2": "dockershim", "pi-3": "containerd"},
    "workers": {"pi-4": "containerd"},
}
CONTROL_PLANES = SECOND["control_plane"]
RUNTIMES = {**CONTROL_PLANES, **SECOND["workers"]}
SECOND_READY = dict.fromkeys(RUNTIMES, "True")
KUBECONFIG = "/home/pi/.kube/config"
#: The address that the control planes hold together; no node of the rack has it.
VIP = str(ipaddress.ip_network(RACK_SUBNET)[200])
ANOTHER = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "other", "cluster": {"server": "https://192.0.2.1"}}],
}


def rewrite_inventory(rack: Rack) -> None:
    """Say which nodes there are with which runtime, and what a cluster with several control planes has."""
    hosts = rack.inventory / "hosts.yml"
    inventory: dict[str, Any] = yaml.safe_load(hosts.read_text())
    inventory["all"]["vars"].update(
        control_plane_vip=VIP,
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
        for group, nodes in SECOND.items()
    }
    hosts.write_text(yaml.safe_dump(inventory, sort_keys=False))


@pytest.fixture(scope="module")
def second(rack: Rack) -> Rack:
    """Return the rack with an inventory of another cluster, and without a cluster."""
    rack.playbook("playbooks/virtual_rack_create.yml")
    rack.playbook("playbooks/reset.yml", "-e", "reset_confirm=yes")
    rewrite_inventory(rack)
    rack.playbook("playbooks/virtual_rack_create.yml")
    # Before there is a cluster, and on a node that has nothing yet.
    checked = rack.playbook("site.yml", "--check", "--diff").recap()
    assert set(checked) >= set(SECOND_READY)
    assert all(counts["failed"] == 0 for counts in checked.values())
    assert all(checked[node]["changed"] > 0 for node in SECOND_READY)
    # So that no node is restarted while a moment is waited for.
    rack.playbook("site.yml", "--tags", "os_prep,docker,kube_packages")
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
    # Its user has the kubeconfig of another cluster, in a folder that he cannot write to.
    folder = Path(KUBECONFIG).parent
    second.shell(
        "pi-2", f"rm -rf {folder}; mkdir -m 755 {folder}; echo '{json.dumps(ANOTHER)}' >{KUBECONFIG}"
    )
    # On the node itself, so that it is the moment and not some time after it.
    watch = (
        f"until cd /etc/kubernetes 2>/dev/null && [ -e {there} ]; do sleep 0.02; done;"
        f" pkill -KILL -x kubeadm && ls {there} {not_yet} 2>/dev/null"
    )
    podman = ["podman", "exec", second.container(node), "timeout", "400", "sh", "-c", watch]
    with second.beside(*second.playbook_command("site.yml")) as first:
        killed = subprocess.run(podman, check=False, capture_output=True, text=True)
        first.kill()
    assert killed.stdout.split() == [there], f"what was there when kubeadm was killed: {killed}"
    second.playbook("site.yml")
    second.playbook("playbooks/verify.yml")
    assert second.ready() == SECOND_READY


def test_all_three_are_control_planes(second: Rack) -> None:
    pods = {item["metadata"]["name"] for item in second.kubectl("-n", "kube-system", "get", "pods")["items"]}
    for node in CONTROL_PLANES:
        assert {f"etcd-{node}", f"kube-apiserver-{node}"} <= pods
        labels = second.kubectl("get", "node", node)["metadata"]["labels"]
        assert any("control-plane" in label for label in labels)
    kept = second.kubectl("-n", "kube-system", "get", "configmap", "kubeadm-config")["data"]
    networking = yaml.safe_load(kept["ClusterConfiguration"])["networking"]
    assert (networking["podSubnet"], networking["serviceSubnet"]) == (POD_CIDR, "10.96.0.0/12")


def test_kubeconfigs_are_their_owners_alone_and_work(second: Rack) -> None:
    for node in CONTROL_PLANES:
        about = second.shell(node, f"stat -c '%U %G %a' {Path(KUBECONFIG).parent} {KUBECONFIG}")
        assert about.splitlines() == ["pi pi 700", "pi pi 600"]
        assert "pi-1" in second.shell(node, "su - pi -c 'kubectl get nodes'")
    # The one that was there before is kept.
    assert json.loads(second.shell("pi-2", f"cat {KUBECONFIG}.before-bramble.1")) == ANOTHER
    assert second.shell("pi-3", f"ls {Path(KUBECONFIG).parent}").split() == ["cache", "config"]
    told = second.run(
        *(str(ROOT / ".venv/bin/ansible"), "-i", str(second.inventory), "pi-1"),
        *("-m", "ansible.builtin.debug", "-a", "msg={{ control_plane_kubeconfig }}"),
    )
    path = Path(re.findall(r'"msg": "(.*)"', told.output)[0])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (cluster,) = yaml.safe_load(path.read_text())["clusters"]
    server = cluster["cluster"]["server"]
    assert server == f"https://{VIP}:6443"
    ask = ["curl", "--silent", "--insecure", f"{server}/healthz"]
    wait_for(lambda: subprocess.check_output(ask) == b"ok", 60, f"{server} is healthy")


def test_no_secret_is_left_behind(second: Rack) -> None:
    for node in SECOND_READY:
        assert second.shell(node, "ls -d /run/bramble-kubeadm-* /tmp/*kubeadm* 2>/dev/null || true") == ""
    tokens = second.shell("pi-1", "kubeadm token list --kubeconfig /etc/kubernetes/admin.conf")
    assert "<forever>" not in tokens


def test_second_cluster_has_the_runtimes_and_the_detection_chosen(second: Rack) -> None:
    assert_unchanged(second.playbook("site.yml", "--check").recap())
    assert_unchanged(second.playbook("site.yml").recap())
    assert runtimes(second) == {node: runtime.replace("shim", "") for node, runtime in RUNTIMES.items()}
    for node in CONTROL_PLANES:
        assert_detection(second, node)
    for node in SECOND_READY:
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
    wait_for(lambda: second.ready() == SECOND_READY, 120, "all nodes are Ready")
    second.playbook("playbooks/verify.yml")


def holders(rack: Rack, nodes: Iterable[str]) -> list[str]:
    return [node for node in nodes if f" {VIP}/32 " in rack.shell(node, "ip -4 -o address show")]


def api_answers() -> bool:
    """Ask at the address for what takes etcd's majority."""
    connection = HTTPSConnection(VIP, 6443, timeout=1, context=ssl._create_unverified_context())
    with contextlib.suppress(OSError, HTTPException):
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    return False


def test_the_address_is_taken_over(second: Rack) -> None:
    (holder,) = holders(second, CONTROL_PLANES)
    others = CONTROL_PLANES.keys() - {holder}
    predicted = max(vip.takes_over_after(vip.priority(each, list(CONTROL_PLANES))) for each in others)
    assert api_answers()
    began = time.monotonic()
    subprocess.run(["podman", "kill", second.container(holder)], check=True, capture_output=True)
    try:
        wait_for(api_answers, 60, "the API answers at the address again", pause=0.1)
        gap = time.monotonic() - began
        print(f"\n{holder} is killed: the API answers after {gap:.1f} s; for the address: {predicted:.1f} s")
        assert len(holders(second, others)) == 1
    finally:
        subprocess.run(["podman", "start", second.container(holder)], check=True, capture_output=True)
    wait_for(lambda: second.ready() == SECOND_READY, 180, "all nodes are Ready")
    # Who came back has taken nothing.
    assert len(holders(second, CONTROL_PLANES)) == len(holders(second, others)) == 1


@pytest.mark.long
def test_a_minority_gives_the_address_up(second: Rack) -> None:
    (holder,) = holders(second, CONTROL_PLANES)
    others = sorted(CONTROL_PLANES.keys() - {holder})
    for node in others:
        subprocess.run(["podman", "kill", second.container(node)], check=True, capture_output=True)
    began = time.monotonic()
    try:
        wait_for(lambda: holders(second, [holder]) == [], 60, f"{holder} gives it up", pause=0.1)
        gone = time.monotonic() - began
        predicted = vip.gives_up_after(silent=True)
        print(f"\n{holder} alone gives it up after {gone:.1f} s; without a leader of etcd: {predicted} s")
    finally:
        for node in others:
            subprocess.run(["podman", "start", second.container(node)], check=True, capture_output=True)
    wait_for(api_answers, 180, "the API answers at the address again")
    wait_for(lambda: second.ready() == SECOND_READY, 180, "all nodes are Ready")


@pytest.mark.long
def test_control_planes_reboot_one_by_one_and_etcd_keeps_its_majority(second: Rack) -> None:
    token = f"bramble.e2e={int(time.time())}"
    tokens = ["cgroup_enable=cpuset", "cgroup_enable=memory", "cgroup_memory=1", "swapaccount=1", token]
    run = ("site.yml", "--tags", "os_prep", "-e", json.dumps({"os_prep_kernel_cmdline": tokens}))

    def with_token() -> set[str]:
        return {node for node in CONTROL_PLANES if token in second.shell(node, "cat /proc/cmdline").split()}

    subprocess.run(["podman", "stop", second.container("pi-3")], check=True, capture_output=True)
    try:
        wait_for(lambda: second.ready()["pi-3"] != "True", 180, "pi-3 is lost")
        refused = second.playbook(*run, "--limit", "pi-1,pi-2", code=2)
    finally:
        subprocess.run(["podman", "start", second.container("pi-3")], check=True, capture_output=True)
    assert (
        "etcd has 3 members and needs 2 of them; without pi-1 there would be 1, as that of pi-3 is not"
        in (" ".join(refused.output.split()))
    )
    assert "pi-2 was not touched" in refused.output
    wait_for(lambda: second.ready() == SECOND_READY, 180, "all nodes are Ready")
    assert with_token() == set()
    seen: list[set[str]] = []
    with second.start(*second.playbook_command(*run, "--limit", "control_plane")) as process:
        while process.poll() is None:
            with contextlib.suppress(subprocess.CalledProcessError):
                nodes = second.kubectl("get", "nodes")["items"]
                seen.append({each["metadata"]["name"] for each in nodes if each["spec"].get("unschedulable")})
            time.sleep(1)
        print(process.communicate()[0])
    assert process.returncode == 0
    assert [each for each, last in zip(seen, [set(), *seen], strict=False) if each and each != last] == [
        {"pi-1"},
        {"pi-2"},
        {"pi-3"},
    ]
    assert with_token() == set(CONTROL_PLANES)
    assert second.ready() == SECOND_READY


def test_demo_down_leaves_nothing_behind(rack: Rack) -> None:
    rack.run("make", "demo-down", f"INVENTORY={rack.inventory}")
    for command in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        listing = subprocess.run(["podman", *command], check=True, capture_output=True, text=True).stdout
        # As a word: others' volumes have names of random digits.
        assert not re.search(rf"\b{RACK_NAME}\b", listing)
