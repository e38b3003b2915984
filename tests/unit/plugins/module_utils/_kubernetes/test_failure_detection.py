# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection
from hypothesis import given
from hypothesis import strategies as st

OWN = {
    "node_monitor_period": 5,
    "node_monitor_grace_period": 41,
    "node_status_update_frequency": 8,
    "eviction": 30,
}


# As kubeadm 1.20 wrote them, without what stands after the command.
CONTROLLER_MANAGER = """\
apiVersion: v1
kind: Pod
metadata:
  name: kube-controller-manager
spec:
  containers:
  - command:
    - kube-controller-manager
    - --bind-address=127.0.0.1
    - --controllers=*,bootstrapsigner,tokencleaner
    - --leader-elect=true
    - --port=0
    - --use-service-account-credentials=true
    image: k8s.gcr.io/kube-controller-manager:v1.20.2
    imagePullPolicy: IfNotPresent
"""
API_SERVER = """\
apiVersion: v1
kind: Pod
metadata:
  name: kube-apiserver
spec:
  containers:
  - command:
    - kube-apiserver
    - --advertise-address=10.89.150.11
    - --allow-privileged=true
    - --enable-admission-plugins=NodeRestriction
    - --secure-port=6443
    image: registry.k8s.io/kube-apiserver:v1.36.1
"""
KUBELET = """\
apiVersion: kubelet.config.k8s.io/v1beta1
healthzBindAddress: 127.0.0.1
healthzPort: 10248
kind: KubeletConfiguration
logging: {}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
rotateCertificates: true
"""
# What kubeadm keeps in the cluster, in both forms of its extra arguments.
V1BETA2 = yaml.safe_load("""\
apiServer:
  extraArgs: {authorization-mode: 'Node,RBAC'}
  timeoutForControlPlane: 4m0s
apiVersion: kubeadm.k8s.io/v1beta2
controllerManager: {}
kind: ClusterConfiguration
""")
V1BETA4 = yaml.safe_load("""\
apiServer:
  extraArgs: [{name: authorization-mode, value: 'Node,RBAC'}]
apiVersion: kubeadm.k8s.io/v1beta4
controllerManager: {}
kind: ClusterConfiguration
""")
NEWER = {**V1BETA4, "apiVersion": "kubeadm.k8s.io/v1beta5"}
DEMO = failure_detection.PRESETS["demo"]


def told(manifest: str, detection: failure_detection.Detection | None) -> str:
    program = "kube-apiserver" if "name: kube-apiserver" in manifest else "kube-controller-manager"
    return failure_detection.with_flags(
        manifest=manifest, program=program, desired=failure_detection.flags(detection)[program]
    )


@pytest.mark.parametrize("value", ["default", "", None])
def test_what_kubernetes_does_by_itself_is_left_alone(value: Any) -> None:
    detection = failure_detection.parse(value)
    assert detection is None
    assert (
        failure_detection.cluster_configuration(detection)
        == failure_detection.in_kubelet_configuration({}, detection)
        == {}
    )
    for document in (V1BETA2, V1BETA4):
        assert failure_detection.in_cluster_configuration(document, detection) == document
    for manifest in (CONTROLLER_MANAGER, API_SERVER):
        assert told(manifest, detection) == manifest
    assert failure_detection.with_kubelet_settings(text=KUBELET, detection=detection) == KUBELET


def test_demo_for_a_new_cluster() -> None:
    assert failure_detection.parse("demo") == DEMO
    assert failure_detection.cluster_configuration(DEMO) == {
        "controllerManager": {"extraArgs": {"node-monitor-period": "2s", "node-monitor-grace-period": "12s"}},
        "apiServer": {
            "extraArgs": {
                "default-not-ready-toleration-seconds": "3",
                "default-unreachable-toleration-seconds": "3",
            }
        },
    }
    assert failure_detection.in_kubelet_configuration({}, DEMO) == {
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "2s",
    }
    # The presets keep the rule that own values have to keep.
    assert failure_detection.parse(DEMO._asdict()) == DEMO


def test_demo_in_the_manifests() -> None:
    assert told(CONTROLLER_MANAGER, DEMO).splitlines()[7:15] == [
        "    - kube-controller-manager",
        "    - --bind-address=127.0.0.1",
        "    - --controllers=*,bootstrapsigner,tokencleaner",
        "    - --leader-elect=true",
        "    - --node-monitor-grace-period=12s",
        "    - --node-monitor-period=2s",
        "    - --port=0",
        "    - --use-service-account-credentials=true",
    ]
    assert yaml.safe_load(told(API_SERVER, DEMO))["spec"]["containers"][0]["command"] == [
        "kube-apiserver",
        "--advertise-address=10.89.150.11",
        "--allow-privileged=true",
        "--default-not-ready-toleration-seconds=3",
        "--default-unreachable-toleration-seconds=3",
        "--enable-admission-plugins=NodeRestriction",
        "--secure-port=6443",
    ]


@pytest.mark.parametrize(
    "document", [V1BETA2, V1BETA4, {**V1BETA2, "apiVersion": "kubeadm.k8s.io/v1beta3"}, NEWER]
)
def test_demo_in_what_kubeadm_remembers_and_back(document: dict[str, Any]) -> None:
    there = failure_detection.in_cluster_configuration(document, DEMO)
    assert there != document
    assert type(there["apiServer"]["extraArgs"]) is type(document["apiServer"]["extraArgs"])
    assert "authorization-mode" in str(there["apiServer"])
    assert there["apiVersion"] == document["apiVersion"]
    assert failure_detection.in_cluster_configuration(there, DEMO) == there
    assert failure_detection.in_cluster_configuration(there, None) == document


@pytest.mark.parametrize("document", [V1BETA4, NEWER])
def test_new_extra_arguments_are_a_list_in_a_newer_api_too(document: dict[str, Any]) -> None:
    # It has none yet, of which the form could be copied.
    there = failure_detection.in_cluster_configuration(document, DEMO)
    assert there["controllerManager"]["extraArgs"] == [
        {"name": "node-monitor-grace-period", "value": "12s"},
        {"name": "node-monitor-period", "value": "2s"},
    ]


def test_what_is_there_already_stays_where_it_is() -> None:
    detection = (
        {"name": "node-monitor-period", "value": "2s"},
        {
            "name": "node-monitor-grace-period",
            "value": "12s",
        },
    )
    own = [{"name": "v", "value": "2"}, {"name": "v", "value": "4"}]
    arguments = [detection[0], *own, detection[1]]
    document = {**V1BETA4, "controllerManager": {"extraArgs": arguments}}
    there = failure_detection.in_cluster_configuration(document, DEMO)
    assert there["controllerManager"] == document["controllerManager"]
    back = failure_detection.in_cluster_configuration(there, None)
    assert back["controllerManager"] == {"extraArgs": own}


@given(
    st.sampled_from(["default", "demo", OWN]).map(failure_detection.parse),
    st.sampled_from(["default", "demo", OWN]).map(failure_detection.parse),
)
def test_the_last_setting_is_all_that_counts(
    before: failure_detection.Detection | None, after: failure_detection.Detection | None
) -> None:
    for manifest in (CONTROLLER_MANAGER, API_SERVER):
        assert told(told(manifest, before), after) == told(manifest, after)
    text = failure_detection.with_kubelet_settings(text=KUBELET, detection=before)
    assert failure_detection.with_kubelet_settings(
        text=text, detection=after
    ) == failure_detection.with_kubelet_settings(text=KUBELET, detection=after)


@pytest.mark.parametrize(
    ("detection", "in_force"),
    [
        (DEMO, DEMO),
        # 1.20; from 1.32 on the grace period is 50 s.
        (None, failure_detection.Detection(5, 40, 10, 300)),
    ],
)
def test_what_is_in_force_is_read_back(
    detection: failure_detection.Detection | None, in_force: failure_detection.Detection
) -> None:
    manifests = {
        "kube-controller-manager": told(CONTROLLER_MANAGER, detection),
        "kube-apiserver": told(API_SERVER, detection),
    }
    kubelet = failure_detection.with_kubelet_settings(text=KUBELET, detection=detection)
    assert failure_detection.in_force(manifests=manifests, kubelet_configuration=kubelet) == in_force


def test_the_newer_grace_period_is_known() -> None:
    newer = CONTROLLER_MANAGER.replace("v1.20.2", "v1.36.1")
    manifests = {"kube-controller-manager": newer, "kube-apiserver": API_SERVER}
    found = failure_detection.in_force(manifests=manifests, kubelet_configuration=KUBELET)
    assert found.node_monitor_grace_period == 50


def test_expectation() -> None:
    assert failure_detection.expected(DEMO) == failure_detection.Expectation((10, 16), (13, 21))
    assert "NotReady after 10 to 16 s" in str(failure_detection.expected(DEMO))


@pytest.mark.parametrize(
    ("text", "setting"),
    [("", ""), ("nodeStatusUpdateFrequency: 10s\n", "nodeStatusUpdateFrequency: 2s\n")],
)
def test_kubelet_setting_is_added_where_there_is_none(text: str, setting: str) -> None:
    before = f"{text}kind: KubeletConfiguration\n"
    after = failure_detection.with_kubelet_settings(text=before, detection=DEMO)
    assert yaml.safe_load(after) == {
        "kind": "KubeletConfiguration",
        **failure_detection.kubelet_settings(DEMO),
    }
    assert setting in after


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (KUBELET, "http://127.0.0.1:10248/healthz"),
        ("healthzPort: 0\n", None),
        ('healthzBindAddress: "0.0.0.0"\nhealthzPort: 99\n', "http://127.0.0.1:99/healthz"),
        ("", "http://127.0.0.1:10248/healthz"),
    ],
)
def test_where_a_kubelet_says_that_it_is_well(text: str, url: str | None) -> None:
    assert failure_detection.kubelet_health(kubelet_configuration=text) == url


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("0s", 0), ("1m30s", 90), ("500ms", 0.5), ("1h0m0s", 3600), ("1.5s", 1.5)]
)
def test_durations(text: str, value: float) -> None:
    assert failure_detection.seconds(text) == value


def test_files_that_are_not_as_kubeadm_writes_them() -> None:
    for text in ("", "10", "fast", "5 s"):
        with pytest.raises(failure_detection.FailureDetectionError, match="1m30s"):
            failure_detection.seconds(text)
    with pytest.raises(failure_detection.FailureDetectionError, match="- kube-apiserver"):
        failure_detection.with_flags(manifest=CONTROLLER_MANAGER, program="kube-apiserver", desired={})
    with pytest.raises(failure_detection.FailureDetectionError, match="kind: KubeletConfiguration"):
        failure_detection.with_kubelet_settings(text='{"kind": "KubeletConfiguration"}', detection=None)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("fast", ("'fast'", "default, demo")),
        (16, ("16", "default, demo")),
        ({**OWN, "pod_eviction_timeout": 5}, ("has pod_eviction_timeout", "expected all of")),
        ({1: 1, "a": 1}, ("has 1, a and lacks",)),
        ({"eviction": 5}, ("lacks node_monitor_grace_period",)),
        ({**OWN, "eviction": "5s"}, ("eviction '5s'", "without a unit")),
        ({**OWN, "eviction": 0}, ("eviction 0",)),
        ({**OWN, "node_monitor_grace_period": 40}, ("grace_period 40", "41 or more")),
    ],
)
def test_values_that_do_not_go_together(value: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(failure_detection.FailureDetectionError) as caught:
        failure_detection.parse(value)
    for word in ("control_plane_failure_detection", *words):
        assert word in str(caught.value)


@given(
    st.fixed_dictionaries(
        {name: st.integers(min_value=1, max_value=1000) for name in failure_detection.Detection._fields}
    )
)
def test_a_busy_node_is_never_lost(value: dict[str, int]) -> None:
    try:
        detection = failure_detection.parse(value)
    except failure_detection.FailureDetectionError:
        assert value["node_monitor_grace_period"] <= 5 * value["node_status_update_frequency"]
    else:
        assert detection is not None
        assert detection.node_monitor_grace_period > 5 * detection.node_status_update_frequency
