"""All three nodes are control planes of one cluster, and the ordinary user can use it."""

import json
import stat
import subprocess
from pathlib import Path

import yaml

KUBECTL = "sudo kubectl --kubeconfig /etc/kubernetes/admin.conf"


NODES = {"pi-1", "pi-2", "pi-3"}


def test_all_are_control_planes(host):
    nodes = json.loads(host.check_output(f"{KUBECTL} get nodes --output json"))["items"]
    assert {node["metadata"]["name"] for node in nodes} == NODES
    for node in nodes:
        assert any("control-plane" in label for label in node["metadata"]["labels"])


def test_all_have_etcd_and_an_api_server(host):
    pods = host.check_output(f"{KUBECTL} --namespace kube-system get pods --output name").split()
    for name in ("etcd", "kube-apiserver"):
        assert {f"pod/{name}-{node}" for node in NODES} <= set(pods)


def test_cluster_has_the_networks_chosen(host):
    configuration = host.check_output(
        f"{KUBECTL} --namespace kube-system get configmap kubeadm-config --output yaml"
    )
    assert "podSubnet: 10.244.0.0/16" in configuration
    assert "serviceSubnet: 10.96.0.0/12" in configuration


def test_kubeconfig_is_the_users_alone(host):
    folder, config = host.file("/home/pi/.kube"), host.file("/home/pi/.kube/config")
    assert (folder.user, folder.group, folder.mode) == ("pi", "pi", 0o700)
    assert (config.user, config.group, config.mode) == ("pi", "pi", 0o600)
    assert "pi-1" in host.check_output("sudo --login --user pi kubectl get nodes")


def test_kubeconfig_of_another_cluster_is_kept(host):
    kept = host.run("sudo cat /home/pi/.kube/config.before-bramble.1")
    if host.check_output("hostname") == "pi-2":
        assert "https://192.0.2.1:6443" in kept.stdout
    else:
        assert kept.failed


def test_controller_has_a_kubeconfig_that_works(host):
    path = Path(host.ansible("ansible.builtin.debug", "msg={{ control_plane_kubeconfig }}")["msg"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (cluster,) = yaml.safe_load(path.read_text())["clusters"]
    server = cluster["cluster"]["server"]
    assert server.endswith(".11:6443")
    assert subprocess.check_output(["curl", "--silent", "--insecure", f"{server}/healthz"]) == b"ok"


def test_no_secret_is_left_behind(host):
    assert host.run("sudo sh -c 'ls -d /run/bramble-kubeadm-* /tmp/*kubeadm*'").failed
    tokens = host.check_output("sudo kubeadm token list --kubeconfig /etc/kubernetes/admin.conf")
    assert "<forever>" not in tokens
