# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that was made by the commands of the guides, and that site.yml then keeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import ALL_READY, NODES, POD_CIDR, Rack, assert_unchanged, wait_for

pytestmark = pytest.mark.long

# What the guides have one type on each node: Docker, also where the inventory names containerd.
PREPARE = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
tokens='cgroup_enable=cpuset cgroup_enable=memory cgroup_memory=1 swapaccount=1'
sed -i "1s/\$/ $tokens/" /boot/firmware/cmdline.txt
apt-get -qq update
apt-get -qq install -y docker.io curl gpg >/dev/null
echo '{"exec-opts": ["native.cgroupdriver=systemd"], "storage-driver": "overlay2"}' >/etc/docker/daemon.json
systemctl restart docker
curl -fsS REPO/repo/core:/stable:/v1.20/deb/Release.key | gpg --dearmor -o /etc/apt/keyrings/kubernetes.gpg
echo 'deb [signed-by=/etc/apt/keyrings/kubernetes.gpg] REPO/repo/core:/stable:/v1.20/deb/ /' \
  >/etc/apt/sources.list.d/kubernetes.list
apt-get -qq update
apt-get -qq install -y kubelet=1.20.2* kubeadm=1.20.2* kubectl=1.20.2* >/dev/null
apt-mark hold kubelet kubeadm kubectl
for image in kube-apiserver kube-controller-manager kube-scheduler etcd kube-proxy pause hello; do
  curl -fsS REPO/images/$image.tar | docker load
done
"""
INIT = f"kubeadm init --kubernetes-version v1.20.2 --pod-network-cidr={POD_CIDR}"
LENIENT = "--ignore-preflight-errors=all"
SETTINGS = ("-e", "docker_kubernetes_runtime=dockershim")


@pytest.fixture(scope="module")
def hand_made(rack: Rack) -> Iterator[Rack]:
    """Return the rack with a cluster that nobody but kubeadm has touched."""
    rack.playbook("playbooks/virtual_rack_destroy.yml")
    rack.playbook("playbooks/virtual_rack_create.yml")
    address = rack.shell("pi-1", "hostname -I").split()[0]
    repository = f"http://{address.rpartition('.')[0]}.2"
    for node in sorted(NODES):
        rack.shell(node, PREPARE.replace("REPO", repository))
    # The rack has no image of CoreDNS, and a container may not do what kube-proxy does by default.
    rack.shell("pi-1", f"{INIT} {LENIENT} --skip-phases=addon/coredns,addon/kube-proxy")
    join = rack.shell("pi-1", "kubeadm token create --print-join-command").strip()
    for node in sorted(NODES - {"pi-1"}):
        rack.shell(node, f"{join} {LENIENT}")
    yield rack
    rack.playbook("playbooks/virtual_rack_destroy.yml")


def identities(rack: Rack) -> dict[str, str]:
    """Return the uid of each object of the system, {kind/name: uid}."""
    kinds = "nodes,namespaces,configmaps,serviceaccounts"
    items = rack.kubectl("get", kinds, "--namespace=kube-system")["items"]
    return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["uid"] for item in items}


def files(rack: Rack) -> dict[str, str]:
    return {node: rack.shell(node, "find /etc /boot -type f | sort | xargs md5sum") for node in NODES}


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("control_plane_pod_cidr=10.199.0.0/16", "set control_plane_pod_cidr to 10."),
        ("control_plane_service_cidr=10.43.0.0/16", "set control_plane_service_cidr to 10.96.0.0/12"),
        ("control_plane_endpoint=rack.example:6443", "set control_plane_endpoint to an empty text"),
    ],
)
def test_what_can_never_be_changed_is_refused(hand_made: Rack, variable: str, message: str) -> None:
    before = files(hand_made)
    done = hand_made.playbook("site.yml", *SETTINGS, "-e", variable, code=2)
    for node in NODES:
        assert done.recap()[node]["failed"] == 1
        assert done.recap()[node]["changed"] == 0
    assert message in done.output
    assert files(hand_made) == before


def test_another_pod_network_is_not_set_up_twice(hand_made: Rack) -> None:
    file = "/etc/cni/net.d/10-calico.conflist"
    hand_made.shell("pi-2", f'mkdir -p /etc/cni/net.d; echo \'{{"type": "calico"}}\' >{file}')
    done = hand_made.playbook("site.yml", *SETTINGS, "--check", code=2)
    assert "set pod_network_plugin to none to keep the first" in done.output
    hand_made.shell("pi-2", f"rm {file}")


def test_the_second_source_of_the_packages_is_named(hand_made: Rack) -> None:
    done = hand_made.playbook("site.yml", *SETTINGS, code=2)
    assert "run 'rm /etc/apt/sources.list.d/kubernetes.list'" in done.output
    for node in NODES:
        hand_made.shell(node, "rm /etc/apt/sources.list.d/kubernetes.list")


def test_the_cluster_is_kept(hand_made: Rack) -> None:
    # The run before has rebooted the nodes.
    wait_for(lambda: set(hand_made.ready()) == NODES, 180, "the API server answers again")
    before = identities(hand_made)
    hand_made.playbook("site.yml", *SETTINGS)
    assert identities(hand_made).items() >= before.items()
    assert_unchanged(hand_made.playbook("site.yml", *SETTINGS).recap())
    assert hand_made.ready() == ALL_READY


def test_its_nodes_have_routes_to_the_pods_of_the_others(hand_made: Rack) -> None:
    assert hand_made.shell("pi-2", "ip -4 route show proto 177").count("via") == len(NODES) - 1
