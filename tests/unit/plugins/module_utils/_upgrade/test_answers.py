# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster says of itself, out of objects as API servers have them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import Version
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.drain import Consent
from ansible_collections.bramble.pi.plugins.module_utils._upgrade import answers

CONFIGURATION = """\
apiServer:
  extraArgs:
    authorization-mode: Node,RBAC
apiVersion: kubeadm.k8s.io/v1beta2
dns:
  imageRepository: registry.example/dns
  type: CoreDNS
imageRepository: k8s.gcr.io
kind: ClusterConfiguration
kubernetesVersion: v1.20.2
"""


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1.20.2", Version(1, 20, 2)),
        ("1.36.12", Version(1, 36, 12)),
        ("v1.20.2+k3s1", Version(1, 20, 2)),
        ("v1.21.0-bramble", Version(1, 21, 0)),
    ],
)
def test_reads_versions(text: str, version: Version) -> None:
    assert answers.version(text, what="it", remedy="correct it") == version


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("latest", r"it is 'latest'; expected a version such as v1\.36\.2: correct it"),
        ("", "it is ''; expected"),
        ("1.36", "it is '1.36'; expected"),
        ("v1.9.3", "it is 'v1.9.3': Kubernetes 1.9.3 is too old"),
    ],
)
def test_refuses_what_is_no_version(text: str, told: str) -> None:
    with pytest.raises(answers.UpgradeError, match=told):
        answers.version(text, what="it", remedy="correct it")


def test_reads_kubeadm_s_configuration() -> None:
    assert answers.configured(CONFIGURATION) == (Version(1, 20, 2), "k8s.gcr.io")
    with pytest.raises(answers.UpgradeError, match="kubernetesVersion in the ConfigMap kubeadm-config is ''"):
        answers.configured("kind: ClusterConfiguration\n")


def static(
    program: str, node: str = "c1", *, image: str = "", ready: bool = True, **command: str
) -> dict[str, Any]:
    endpoint = {"kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint": "10.89.92.11:6443"}
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{program}-{node}",
            "namespace": "kube-system",
            "labels": {"component": program, "tier": "control-plane"},
            "annotations": {
                "kubernetes.io/config.mirror": "x",
                **(endpoint if program == "kube-apiserver" else {}),
            },
        },
        "spec": {
            "nodeName": node,
            "containers": [
                {
                    "image": image or f"k8s.gcr.io/{program}:v1.20.2",
                    "command": [
                        program,
                        *(f"--{key.replace('_', '-')}={value}" for key, value in command.items()),
                    ],
                }
            ],
        },
        "status": {
            "hostIP": "10.89.92.11",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def node(name: str, kubelet: str = "v1.20.2", images: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {},
        "status": {
            "nodeInfo": {"kubeletVersion": kubelet, "containerRuntimeVersion": "docker://20.10.24"},
            "conditions": [{"type": "Ready", "status": "True", "message": "kubelet is posting ready status"}],
            "images": [{"names": ["k8s.gcr.io/x@sha256:0", name]} for name in images],
        },
    }


PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")


def test_reads_what_nodes_run() -> None:
    things = [node("c1"), node("w1", "v1.19.4"), *map(static, PROGRAMS)]
    first, second = answers.nodes(things)
    assert (first.name, first.control_plane, set(first.programs)) == (
        "c1",
        True,
        {"kubelet", *PROGRAMS[:3]},
    )
    assert (second.name, second.control_plane, second.programs) == (
        "w1",
        False,
        {"kubelet": Version(1, 19, 4)},
    )
    with pytest.raises(answers.UpgradeError, match=r"the tag of r/api@sha256:12, .* is '12'; expected"):
        answers.nodes([node("c1"), static("kube-apiserver", image="r/api@sha256:12")])


def test_flags_that_kubeadm_itself_writes_do_not_count() -> None:
    pods = [
        static("kube-apiserver", insecure_port="0"),
        static("kube-controller-manager", port="0", pod_eviction_timeout="30s", bind_address="127.0.0.1"),
        static("kube-controller-manager", "c2", pod_eviction_timeout="30s"),
        static("kube-scheduler", port="10251"),
    ]
    assert answers.removed_flags(pods) == [
        {"program": "kube-controller-manager", "flag": "pod-eviction-timeout"},
        {"program": "kube-scheduler", "flag": "port"},
    ]


@pytest.mark.parametrize(
    ("repository", "version", "name"),
    [
        ("k8s.gcr.io", Version(1, 24, 17), "k8s.gcr.io/kube-proxy:v1.24.17"),
        ("k8s.gcr.io", Version(1, 25, 0), "registry.k8s.io/kube-proxy:v1.25.0"),
        ("registry.k8s.io", Version(1, 24, 0), "registry.k8s.io/kube-proxy:v1.24.0"),
        ("mirror.lan:5000/k8s", Version(1, 36, 2), "mirror.lan:5000/k8s/kube-proxy:v1.36.2"),
    ],
)
def test_names_images(repository: str, version: Version, name: str) -> None:
    assert answers.image_names(repository=repository, steps=[version], control_plane=False) == [name]
    assert len(answers.image_names(repository=repository, steps=[version], control_plane=True)) == 4


def test_knows_images_of_a_node_by_their_whole_names() -> None:
    assert answers.node_images(node("w1", images=("k8s.gcr.io/kube-proxy:v1.20.2", "busybox"))) == {
        "k8s.gcr.io/kube-proxy:v1.20.2",
        "docker.io/library/busybox:latest",
    }


def test_api_servers_are_asked_where_they_listen() -> None:
    pods = [static("kube-apiserver"), static("kube-apiserver", "c2", ready=False), static("etcd")]
    assert answers.api_servers(pods) == ["https://10.89.92.11:6443"]


def test_says_who_cannot_leave() -> None:
    bare = {
        "kind": "Pod",
        "metadata": {"name": "bare", "namespace": "default"},
        "spec": {"nodeName": "w1"},
        "status": {"phase": "Running"},
    }
    things = [node("c1"), node("w1"), static("etcd"), bare]
    found = answers.drains(things, consent=Consent())
    assert found["c1"] == {"blocks": [], "waits": [], "goes": 0}
    assert len(found["w1"]["blocks"]) == 1
    assert "maintenance_delete_bare_pods" in found["w1"]["blocks"][0]
    assert answers.drains(things, consent=Consent(bare_pods=True))["w1"]["goes"] == 1
    assert answers.drains([node("c1"), static("etcd")], consent=Consent()) == {}


def test_says_that_etcd_would_lose_its_majority() -> None:
    members = [static("etcd", name, ready=name != "c3") for name in ("c1", "c2", "c3")]
    problems = answers.etcd_problems(members)
    assert len(problems) == 2
    assert "that of c3 is not Ready" in problems[0]
    assert answers.etcd_problems(members[:2]) == []


def test_describes_a_node() -> None:
    assert answers.describe(node("w1")) == {
        "name": "w1",
        "kubelet": "v1.20.2",
        "runtime": "docker://20.10.24",
        "ready": True,
        "message": "kubelet is posting ready status",
    }
