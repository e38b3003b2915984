"""What the control plane says of the cluster."""

import json

testinfra_hosts = ["ansible://control_plane"]

KUBECTL = "sudo kubectl --kubeconfig /etc/kubernetes/admin.conf"
NODES = {"pi-1", "pi-2", "pi-3"}


def test_all_nodes_are_ready(host):
    nodes = json.loads(host.check_output(f"{KUBECTL} get nodes --output json"))["items"]
    ready = {
        node["metadata"]["name"]
        for node in nodes
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready" and condition["status"] == "True"
    }
    assert ready == NODES


def test_verification_left_nothing(host):
    assert "kube-verify" not in host.check_output(f"{KUBECTL} get namespaces --output name")
