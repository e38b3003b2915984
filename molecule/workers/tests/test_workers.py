"""The workers have joined, and the pods of all nodes reach each other."""

import json
import re

import pytest

PROTOCOL = 177


@pytest.fixture
def others(host):
    """Find the addresses of the other nodes."""
    name = host.check_output("hostname")
    hosts = host.check_output("getent hosts pi-1 pi-2 pi-3").splitlines()
    return {line.split()[0] for line in hosts if line.split()[1] != name}


def test_kubelet_runs_with_the_clusters_certificate(host):
    kubelet = host.service("kubelet")
    assert kubelet.is_running
    assert kubelet.is_enabled
    assert host.file("/etc/kubernetes/kubelet.conf").mode == 0o600
    # What kubeadm joins with is gone afterwards.
    assert not host.file("/etc/kubernetes/bootstrap-kubelet.conf").exists


def test_routes_lead_to_the_other_nodes(host, others):
    routes = host.check_output(f"ip -4 route show proto {PROTOCOL}")
    assert set(re.findall(r"via (\S+)", routes)) == others


def test_routes_and_rules_come_back(host, others):
    """As after a reboot, which flushes both."""
    host.check_output("sudo systemctl stop bramble-pod-network")
    assert host.check_output(f"ip -4 route show proto {PROTOCOL}") == ""
    assert "BRAMBLE" not in host.check_output("sudo iptables -S FORWARD")
    host.check_output("sudo systemctl start bramble-pod-network")
    assert host.check_output(f"ip -4 route show proto {PROTOCOL}").count("via") == len(others)
    assert "-A FORWARD -j BRAMBLE-FORWARD" in host.check_output("sudo iptables -S FORWARD")
    assert host.service("bramble-pod-network").is_enabled


def test_bridge_has_the_nodes_own_part(host):
    conflist = json.loads(host.file("/etc/cni/net.d/10-bramble.conflist").content_string)
    (part,) = conflist["plugins"][0]["ipam"]["ranges"][0]
    routes = host.check_output(f"ip -4 route show proto {PROTOCOL}")
    assert part["subnet"].startswith("10.244.")
    assert part["subnet"] not in routes
