# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.config import (
    KubeadmConfigError,
    api_version,
    digest,
    dumped,
    init_documents,
    join_documents,
    merged,
    minimal_documents,
    release,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    KUBEADM_API_VERSIONS,
    CompatibilityError,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.extra_args import ExtraArgsError
from hypothesis import given
from hypothesis import strategies as st

TOKEN = "abcdef.0123456789abcdef"
INIT: dict[str, Any] = {
    "version": "v1beta4",
    "kubernetes_version": "v1.36.1",
    "pod_cidr": "10.244.0.0/16",
    "service_cidr": "10.96.0.0/12",
    "advertise_address": "192.168.1.10",
    "control_plane_endpoint": None,
    "node_name": "pi-1",
    "cri_socket": "unix:///run/containerd/containerd.sock",
    "cgroup_driver": "systemd",
    "token": TOKEN,
    "token_ttl": "30m",
    "ignore_preflight_errors": ["NumCPU"],
    "timeout": 240,
    "cert_sans": [],
    "detection": None,
    "board_profile": "default",
    "cluster_configuration": {},
    "init_configuration": {},
    "kubelet_configuration": {},
    "kube_proxy_configuration": {},
}
JOIN: dict[str, Any] = {
    "version": "v1beta4",
    "endpoint": "192.168.1.10:6443",
    "token": TOKEN,
    "ca_cert_hash": "sha256:12",
    "control_plane": False,
    "certificate_key": None,
    "advertise_address": None,
    "node_name": "pi-2",
    "cri_socket": "unix:///run/containerd/containerd.sock",
    "ignore_preflight_errors": [],
    "timeout": 120,
    "join_configuration": {},
}


def _init(**changes: Any) -> dict[str, dict[str, Any]]:
    return {document["kind"]: document for document in init_documents(**{**INIT, **changes})}


def _join(**changes: Any) -> dict[str, Any]:
    (document,) = join_documents(**{**JOIN, **changes})
    return document


INIT_DEFAULTS_1_20 = """\
apiVersion: kubeadm.k8s.io/v1beta2
bootstrapTokens:
- groups:
  - system:bootstrappers:kubeadm:default-node-token
  token: abcdef.0123456789abcdef
  ttl: 24h0m0s
kind: InitConfiguration
---
apiServer:
  timeoutForControlPlane: 4m0s
apiVersion: kubeadm.k8s.io/v1beta2
kind: ClusterConfiguration
"""


def test_api_version() -> None:
    assert api_version(init_defaults=INIT_DEFAULTS_1_20) == "v1beta2"
    assert api_version(init_defaults="W1121 docker\napiVersion: kubeadm.k8s.io/v1beta4\n") == "v1beta4"
    with pytest.raises(CompatibilityError, match="v1beta1; expected v1beta2 or newer: set kube_packages"):
        api_version(init_defaults="apiVersion: kubeadm.k8s.io/v1beta1\n")
    with pytest.raises(KubeadmConfigError, match="names no apiVersion"):
        api_version(init_defaults="")


def test_release() -> None:
    assert release(version_json='{"clientVersion": {"gitVersion": "v1.20.2"}}') == "v1.20.2"
    assert release(version_json='{"clientVersion": {"gitVersion": "v1.36.1+rpt1"}}') == "v1.36.1"
    for wrong in ("", "{}", "[]", '{"clientVersion": null}'):
        with pytest.raises(KubeadmConfigError, match="names no"):
            release(version_json=wrong)


def test_init_in_v1beta4() -> None:
    assert _init() == {
        "InitConfiguration": {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "bootstrapTokens": [{"token": TOKEN, "ttl": "30m"}],
            "localAPIEndpoint": {"advertiseAddress": "192.168.1.10"},
            "nodeRegistration": {
                "name": "pi-1",
                "criSocket": "unix:///run/containerd/containerd.sock",
                "ignorePreflightErrors": ["NumCPU"],
            },
            "timeouts": {"controlPlaneComponentHealthCheck": "240s"},
        },
        "ClusterConfiguration": {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "kubernetesVersion": "v1.36.1",
            "networking": {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/12"},
        },
        "KubeletConfiguration": {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "cgroupDriver": "systemd",
        },
    }


@pytest.mark.parametrize("version", ["v1beta2", "v1beta3"])
def test_time_outs_before_v1beta4(version: str) -> None:
    documents = _init(version=version)
    assert "timeouts" not in documents["InitConfiguration"]
    assert documents["ClusterConfiguration"]["apiServer"] == {"timeoutForControlPlane": "240s"}
    join = _join(version=version)
    assert "timeouts" not in join
    assert join["discovery"]["timeout"] == "120s"


def test_join() -> None:
    assert _join() == {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "apiServerEndpoint": "192.168.1.10:6443",
                "token": TOKEN,
                "caCertHashes": ["sha256:12"],
            }
        },
        "nodeRegistration": {"name": "pi-2", "criSocket": "unix:///run/containerd/containerd.sock"},
        "timeouts": {"discovery": "120s", "tlsBootstrap": "120s"},
    }


def test_join_as_control_plane() -> None:
    assert _join(control_plane=True)["controlPlane"] == {}
    assert _join(control_plane=True, certificate_key="k", advertise_address="192.168.1.11")[
        "controlPlane"
    ] == {
        "certificateKey": "k",
        "localAPIEndpoint": {"advertiseAddress": "192.168.1.11"},
    }


def test_what_is_not_given_is_left_to_kubeadm() -> None:
    documents = _init(
        pod_cidr=None, service_cidr=None, advertise_address=None, node_name=None, cri_socket=None, token=None
    )
    assert "localAPIEndpoint" not in documents["InitConfiguration"]
    assert "networking" not in documents["ClusterConfiguration"]
    # A token of kubeadm's own making is short-lived too.
    assert documents["InitConfiguration"]["bootstrapTokens"] == [{"ttl": "30m"}]


AS_MAPPING = {"node-monitor-period": "2s", "v": 2, "profiling": False}
AS_LIST = [
    {"name": "node-monitor-period", "value": "2s"},
    {"name": "v", "value": "2"},
    {"name": "profiling", "value": "false"},
]


@pytest.mark.parametrize("given_form", [AS_MAPPING, AS_LIST])
@pytest.mark.parametrize(
    ("version", "desired"),
    [
        ("v1beta4", AS_LIST),
        ("v1beta3", {"node-monitor-period": "2s", "v": "2", "profiling": "false"}),
        ("v1beta2", {"node-monitor-period": "2s", "v": "2", "profiling": "false"}),
    ],
)
def test_extra_arguments_take_the_form_of_the_version(version: str, given_form: Any, desired: Any) -> None:
    documents = _init(
        version=version,
        cluster_configuration={"controllerManager": {"extraArgs": given_form}},
        init_configuration={"nodeRegistration": {"kubeletExtraArgs": given_form}},
    )
    assert documents["ClusterConfiguration"]["controllerManager"]["extraArgs"] == desired
    assert documents["InitConfiguration"]["nodeRegistration"]["kubeletExtraArgs"] == desired
    assert documents["InitConfiguration"]["nodeRegistration"]["name"] == "pi-1"


@pytest.mark.parametrize(
    ("own", "names"),
    [
        ([], ["pi-1", "rack.lan"]),
        (["k8s.lan"], ["pi-1", "rack.lan", "k8s.lan"]),
        # In the user's order, each once.
        (["rack.lan", "k8s.lan"], ["pi-1", "rack.lan", "k8s.lan"]),
    ],
)
@pytest.mark.parametrize("version", KUBEADM_API_VERSIONS)
def test_names_of_the_api_server_are_joined(version: str, own: list[str], names: list[str]) -> None:
    server = _init(
        version=version,
        cert_sans=["pi-1", "rack.lan"],
        cluster_configuration={"apiServer": {"certSANs": own}},
    )["ClusterConfiguration"]["apiServer"]
    assert server["certSANs"] == names


GOGC = [{"name": "GOGC", "value": "50"}]


def test_the_profile_of_small_boards() -> None:
    small = _init(board_profile="small", version="v1beta4")
    cluster, plain = small["ClusterConfiguration"], _init(version="v1beta4")["ClusterConfiguration"]
    arguments = [{"name": "snapshot-count", "value": "5000"}]
    assert cluster["etcd"] == {"local": {"extraArgs": arguments, "extraEnvs": GOGC}}
    for part in ("apiServer", "controllerManager", "scheduler"):
        assert cluster[part] == {**plain.get(part, {}), "extraEnvs": GOGC}
    kubelet = {"maxPods": 40, "containerLogMaxSize": "5Mi", "containerLogMaxFiles": 3}
    assert small["KubeletConfiguration"] == {**_init(version="v1beta4")["KubeletConfiguration"], **kubelet}


@pytest.mark.parametrize("version", ["v1beta2", "v1beta3"])
def test_older_versions_of_the_api_have_no_environment(version: str) -> None:
    cluster, plain = (
        _init(version=version, board_profile=name)["ClusterConfiguration"] for name in ("small", "default")
    )
    assert cluster == {**plain, "etcd": {"local": {"extraArgs": {"snapshot-count": "5000"}}}}


def test_what_the_user_says_goes_over_the_profile() -> None:
    over = {
        "etcd": {"local": {"extraArgs": {"snapshot-count": "20000", "quota-backend-bytes": "1"}}},
        "apiServer": {"extraEnvs": []},
    }
    found = _init(
        board_profile="small",
        version="v1beta4",
        cluster_configuration=over,
        kubelet_configuration={"maxPods": 9},
        detection=failure_detection.PRESETS["demo"],
    )
    cluster = found["ClusterConfiguration"]
    assert cluster["etcd"]["local"]["extraArgs"] == [
        {"name": "snapshot-count", "value": "20000"},
        {"name": "quota-backend-bytes", "value": "1"},
    ]
    assert cluster["apiServer"]["extraEnvs"] == []
    assert cluster["controllerManager"]["extraEnvs"] == GOGC
    assert {each["name"] for each in cluster["controllerManager"]["extraArgs"]} == {
        "node-monitor-period",
        "node-monitor-grace-period",
    }
    assert found["KubeletConfiguration"]["maxPods"] == 9


def test_a_part_without_lines_says_nothing() -> None:
    demo = failure_detection.PRESETS["demo"]
    documents = _init(detection=demo, cluster_configuration={"apiServer": None, "controllerManager": {}})
    assert documents == _init(detection=demo)
    names = {"cert_sans": ["rack.lan"], "cluster_configuration": {"apiServer": {"certSANs": None}}}
    assert _init(**names)["ClusterConfiguration"]["apiServer"]["certSANs"] == ["rack.lan"]
    # A single value that is null is one that kubeadm is to choose.
    assert (
        _init(cluster_configuration={"kubernetesVersion": None})["ClusterConfiguration"]["kubernetesVersion"]
        is None
    )


def test_extra_arguments_of_local_etcd() -> None:
    documents = _init(cluster_configuration={"etcd": {"local": {"extraArgs": {"heartbeat-interval": 500}}}})
    assert documents["ClusterConfiguration"]["etcd"]["local"]["extraArgs"] == [
        {"name": "heartbeat-interval", "value": "500"}
    ]


@pytest.mark.parametrize(
    ("version", "arguments", "reason"),
    [
        (
            "v1beta3",
            [{"name": "v", "value": 1}, {"name": "v", "value": 2}],
            r"cluster_configuration\.apiServer\.extraArgs repeats v, which",
        ),
        (
            "v1beta4",
            "v=2",
            r"^cluster_configuration\.apiServer\.extraArgs is the text 'v=2'; expected a mapping",
        ),
    ],
)
def test_extra_arguments_that_cannot_be(version: str, arguments: Any, reason: str) -> None:
    with pytest.raises(ExtraArgsError, match=reason):
        _init(version=version, cluster_configuration={"apiServer": {"extraArgs": arguments}})


def test_given_documents_go_over_what_is_built() -> None:
    documents = _init(
        cluster_configuration={"networking": {"dnsDomain": "rack.local"}, "apiVersion": "other/v1"},
        kubelet_configuration={"cgroupDriver": "cgroupfs", "failCgroupV1": False},
        kube_proxy_configuration={"conntrack": {"maxPerCore": 0}},
    )
    assert documents["ClusterConfiguration"]["apiVersion"] == "kubeadm.k8s.io/v1beta4"
    assert documents["ClusterConfiguration"]["networking"] == {
        "podSubnet": "10.244.0.0/16",
        "serviceSubnet": "10.96.0.0/12",
        "dnsDomain": "rack.local",
    }
    assert documents["KubeletConfiguration"]["cgroupDriver"] == "cgroupfs"
    assert documents["KubeletConfiguration"]["failCgroupV1"] is False
    assert documents["KubeProxyConfiguration"] == {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "conntrack": {"maxPerCore": 0},
    }


@pytest.mark.parametrize("version", KUBEADM_API_VERSIONS)
def test_text_is_json_documents(version: str) -> None:
    documents = init_documents(**{**INIT, "version": version})
    text = dumped(documents=documents)
    assert [json.loads(part) for part in text.split("---\n")] == documents


def test_digest_tells_settings_apart_but_not_secrets() -> None:
    settings = digest(documents=init_documents(**INIT))
    assert digest(documents=init_documents(**{**INIT, "token": "zzzzzz.0123456789abcdef"})) == settings
    assert digest(documents=init_documents(**{**INIT, "pod_cidr": "10.245.0.0/16"})) != settings


def test_upload_certs_asks_neither_the_internet_nor_for_a_socket() -> None:
    init, cluster = minimal_documents(
        version="v1beta3",
        kubernetes_version="v1.28.2",
        cri_socket="unix:///run/containerd/containerd.sock",
        cluster_configuration={},
    )
    assert init["nodeRegistration"] == {"criSocket": "unix:///run/containerd/containerd.sock"}
    assert cluster["kubernetesVersion"] == "v1.28.2"


def test_documents_for_the_list_of_images() -> None:
    init, cluster = minimal_documents(
        version="v1beta2",
        kubernetes_version="v1.20.2",
        cri_socket="/var/run/dockershim.sock",
        cluster_configuration={"imageRepository": "10.0.0.1:5000/k8s"},
    )
    assert init["nodeRegistration"] == {"criSocket": "/var/run/dockershim.sock"}
    assert cluster == {
        "apiVersion": "kubeadm.k8s.io/v1beta2",
        "kind": "ClusterConfiguration",
        "kubernetesVersion": "v1.20.2",
        "imageRepository": "10.0.0.1:5000/k8s",
    }


TREES = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2),
    lambda below: st.dictionaries(st.sampled_from("abcd"), below, max_size=3),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(st.sampled_from("abcd"), TREES, max_size=4)


@given(MAPPINGS, MAPPINGS)
def test_merging_twice_changes_nothing(base: dict[str, Any], over: dict[str, Any]) -> None:
    once = merged(base=base, over=over)
    assert merged(base=once, over=over) == once
    assert merged(base=base, over={}) == base
    assert merged(base={}, over=over) == over
