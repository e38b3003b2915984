# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real cluster from nothing. Each test goes on where the last one ended; test_reset.py resets it."""

from __future__ import annotations

import base64
import datetime
import json
import re

from tests.bench import count_steps
from tests.e2e.conftest import ALL_READY, NODES, POD_CIDR, ROOT, Rack, Run, assert_unchanged

# How the routes of the pods' network are told from others.
PROTOCOL = 177


def test_check_mode_on_a_fresh_rack(rack: Rack) -> None:
    rack.playbook("playbooks/virtual_rack_create.yml")
    before = rack.shell("pi-2", "find /etc /boot -type f | sort | xargs md5sum")
    checked = rack.playbook("site.yml", "--check", "--diff")
    assert all(counts["failed"] == 0 for counts in checked.recap().values())
    assert all(checked.recap()[node]["changed"] > 0 for node in NODES)
    assert rack.shell("pi-2", "find /etc /boot -type f | sort | xargs md5sum") == before


def test_demo_brings_up_a_verified_cluster(rack: Rack, brought_up: Run) -> None:
    assert rack.ready() == ALL_READY
    for promised in ("kubeconfig", "demo-down", *NODES):
        assert promised in brought_up.output
    namespaces = [item["metadata"]["name"] for item in rack.kubectl("get", "namespaces")["items"]]
    assert "kube-verify" not in namespaces


def test_workers_of_two_releases_have_a_runtime_each(rack: Rack) -> None:
    told = {
        node["metadata"]["name"]: node["status"]["nodeInfo"] for node in rack.kubectl("get", "nodes")["items"]
    }
    runtimes = {node: info["containerRuntimeVersion"].split(":")[0] for node, info in told.items()}
    assert runtimes == {"pi-1": "docker", "pi-2": "docker", "pi-3": "containerd"}
    assert "bookworm" in told["pi-2"]["osImage"]
    assert "trixie" in told["pi-3"]["osImage"]


def test_kubelets_run_with_the_clusters_certificate(rack: Rack) -> None:
    for node in NODES:
        assert rack.shell(node, "systemctl is-active kubelet; systemctl is-enabled kubelet").split() == [
            "active",
            "enabled",
        ]
        assert rack.shell(node, "stat -c %a /etc/kubernetes/kubelet.conf").strip() == "600"
        # What kubeadm joins with is gone afterwards.
        assert not rack.shell(node, "ls /etc/kubernetes/bootstrap-kubelet.conf 2>/dev/null || true")


def test_memory_is_kept_for_the_system(rack: Rack) -> None:
    for node in rack.kubectl("get", "nodes")["items"]:
        flags = rack.shell(node["metadata"]["name"], "cat /var/lib/kubelet/kubeadm-flags.env")
        assert "--system-reserved=cpu=" in flags
        memory = [
            int(node["status"][key]["memory"].removesuffix("Ki")) for key in ("capacity", "allocatable")
        ]
        # And 100 MiB, at which pods are evicted.
        assert memory[0] - memory[1] > (255 + 100) << 10


def routes(rack: Rack, node: str) -> str:
    return rack.shell(node, f"ip -4 route show proto {PROTOCOL}")


def test_routes_lead_to_the_pods_of_the_other_nodes(rack: Rack) -> None:
    addresses = {node: rack.shell(node, "hostname -I").split()[0] for node in NODES}
    for node in NODES:
        others = {addresses[other] for other in NODES - {node}}
        assert set(re.findall(r"via (\S+)", routes(rack, node))) == others
        conflist = json.loads(rack.shell(node, "cat /etc/cni/net.d/10-bramble.conflist"))
        (part,) = conflist["plugins"][0]["ipam"]["ranges"][0]
        assert part["subnet"].startswith(POD_CIDR.removesuffix("0.0/16"))
        assert part["subnet"] not in routes(rack, node)


def test_routes_and_rules_come_back(rack: Rack) -> None:
    """As after a reboot, which flushes both."""
    for node in NODES:
        rack.shell(node, "systemctl stop bramble-pod-network")
        assert routes(rack, node) == ""
        assert "BRAMBLE" not in rack.shell(node, "iptables -S FORWARD")
        rack.shell(node, "systemctl start bramble-pod-network")
        assert routes(rack, node).count("via") == len(NODES) - 1
        assert "-A FORWARD -j BRAMBLE-FORWARD" in rack.shell(node, "iptables -S FORWARD")
        assert rack.shell(node, "systemctl is-enabled bramble-pod-network").strip() == "enabled"


def test_second_demo_finds_that_all_is_there(rack: Rack) -> None:
    again = rack.run("make", "demo", f"INVENTORY={rack.inventory}")
    changed = [line for line in again.output.splitlines() if line.startswith("changed:")]
    # verify makes its workload again each time; nothing else may change.
    assert not [line for line in changed if "kube-verify" not in line], changed


def test_controllers_and_kernel_command_line(rack: Rack) -> None:
    for node in NODES:
        line = rack.shell(node, "cat /boot/firmware/cmdline.txt")
        for token in ("cgroup_enable=cpuset", "cgroup_enable=memory", "cgroup_memory=1", "swapaccount=1"):
            assert line.split().count(token) == 1
        assert rack.shell(node, "cat /proc/cmdline").strip().endswith(line.strip())
        # The one reboot of the run, by which the node came to this command line.
        assert rack.shell(node, "cat /proc/swaps").count("\n") == 1


def test_kubeconfig_of_the_ordinary_user(rack: Rack) -> None:
    assert rack.shell("pi-1", "stat -c '%U %a' /home/pi/.kube/config").split() == ["pi", "600"]
    assert "pi-3" in rack.shell("pi-1", "su - pi -c 'kubectl get nodes'")


def test_tokens_live_for_half_an_hour_at_most(rack: Rack) -> None:
    tokens = rack.kubectl(
        "--namespace",
        "kube-system",
        "get",
        "secrets",
        "--field-selector",
        "type=bootstrap.kubernetes.io/token",
    )["items"]
    # The one that init was given, and the one that the workers joined with.
    assert len(tokens) >= 2
    latest = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=30)
    for token in tokens:
        expires = base64.b64decode(token["data"]["expiration"]).decode()
        assert datetime.datetime.fromisoformat(expires) <= latest


def test_packages_are_held(rack: Rack) -> None:
    for node in NODES:
        held = rack.shell(node, "apt-mark showhold").split()
        assert {"kubelet", "kubeadm", "kubectl", "kubernetes-cni"} <= set(held)
        rack.shell(node, "apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq -y upgrade")
        assert "v1.20.2" in rack.shell(node, "kubelet --version")


def test_second_run_changes_nothing_and_costs_little(rack: Rack) -> None:
    counts = count_steps.count_steps(rack.inventory)
    masters = count_steps.control_planes(rack.inventory)
    print(count_steps.table(counts, masters))
    for node in NODES:
        limit = count_steps.MODULES_CONTROL_PLANE if node in masters else count_steps.MODULES_WORKER
        assert counts[node]["changed"] == 0
        assert counts[node]["modules"] <= limit
        assert counts[node]["skipped"] + counts[node]["controller"] <= count_steps.SKIPPED_OR_CONTROLLER


def test_labels_and_taints_are_kept_in_step(rack: Rack) -> None:
    zone = "topology.kubernetes.io/zone"

    def seen(node: str) -> tuple[dict[str, str], list[str]]:
        found = rack.kubectl("get", "node", node)
        labels = {name: found["metadata"]["labels"].get(name) for name in ("disk", "shelf", "theirs", zone)}
        taints = [taint["key"] for taint in found["spec"].get("taints", [])]
        return {name: value for name, value in labels.items() if value is not None}, taints

    rack.shell("pi-1", "kubectl --kubeconfig /etc/kubernetes/admin.conf label node pi-3 theirs=kept")
    ours: tuple[dict[str, str], list[str]] = ({"disk": "ssd", "theirs": "kept", zone: "shelf-1"}, [])
    assert seen("pi-3") == ours
    taint = '"workers_taints": [{"key": "slow", "effect": "PreferNoSchedule"}]'
    rack.playbook("site.yml", "--tags", "labels", "-e", f'{{"workers_labels": {{"shelf": "top"}}, {taint}}}')
    assert seen("pi-3") == ({"shelf": "top", "theirs": "kept", zone: "shelf-1"}, ["slow"])
    assert seen("pi-2") == ({"shelf": "top", zone: "shelf-2"}, ["slow"])
    rack.playbook("site.yml", "--tags", "labels")
    assert seen("pi-3") == ours
    assert seen("pi-2") == ({zone: "shelf-2"}, [])


def test_check_mode_on_the_running_cluster_changes_nothing(rack: Rack) -> None:
    assert_unchanged(rack.playbook("site.yml", "--check", "--diff").recap())


def test_reset_wants_a_plain_yes(rack: Rack) -> None:
    refused = rack.playbook("playbooks/reset.yml", "-e", "reset_confirm=maybe", code=2)
    assert "reset_confirm" in refused.output
    assert "maybe" in refused.output
    assert rack.ready() == ALL_READY


def test_flannel_gets_the_pod_network_of_the_cluster(rack: Rack) -> None:
    # The manifest of the release itself; its image cannot be pulled in a rack without a registry, so
    # this is the API server's acceptance, not flannel's daemon.
    manifest = ROOT / "tests" / "unit" / "fixtures" / "flannel" / "kube-flannel-v0.28.9.txt"
    url = f"pod_network_flannel_url={manifest.as_uri()}"
    flannel = ("--tags", "pod_network", "-e", "pod_network_plugin=flannel", "-e", url)
    rack.playbook("site.yml", *flannel, "--check")
    applied = rack.playbook("site.yml", *flannel)
    assert sum(counts["changed"] for counts in applied.recap().values()) == 1
    assert_unchanged(rack.playbook("site.yml", *flannel).recap())
    data = rack.kubectl("--namespace", "kube-flannel", "get", "configmap", "kube-flannel-cfg")["data"]
    assert json.loads(data["net-conf.json"])["Network"] == POD_CIDR
    rack.shell("pi-1", "kubectl --kubeconfig /etc/kubernetes/admin.conf delete namespace kube-flannel")
