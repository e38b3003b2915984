# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.filter.remote_access import apiserver_certificate
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access.certificate import (
    CertificateError,
    Request,
    request,
)

# As `kubectl get configmap kubeadm-config --output json` prints it, shortened: 1.20, and 1.36.
OLD = """\
apiServer:
  extraArgs:
    authorization-mode: Node,RBAC
  timeoutForControlPlane: 4m0s
apiVersion: kubeadm.k8s.io/v1beta2
kind: ClusterConfiguration
kubernetesVersion: v1.20.2
networking: {dnsDomain: cluster.local, podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12}
"""
NEW = """\
apiServer:
  certSANs:
  - by.hand.example
  - pi-1
  extraArgs:
  - name: default-not-ready-toleration-seconds
    value: "10"
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.1
"""
BARE = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\napiServer: null\n"
MANIFEST = """\
spec:
  containers:
  - command:
    - kube-apiserver
    - --advertise-address=10.0.0.11
    - --allow-privileged=true
"""


def config_map(configuration: str) -> str:
    return json.dumps({"kind": "ConfigMap", "data": {"ClusterConfiguration": configuration}})


def asked(configuration: str, *names: str) -> Request:
    return request(
        config_map=config_map(configuration),
        manifest=MANIFEST,
        names=names,
        folder="/run/work",
        cri_socket="unix:///run/containerd/containerd.sock",
    )


@pytest.mark.parametrize(
    ("configuration", "names"),
    [
        (OLD, ["pi-1", "192.168.1.50"]),
        # What somebody put in by hand stays, and there is no duplicate.
        (NEW, ["by.hand.example", "pi-1", "192.168.1.50"]),
        (BARE, ["pi-1", "192.168.1.50"]),
    ],
)
def test_names_are_added_and_all_else_stays(configuration: str, names: list[str]) -> None:
    before: dict[str, Any] = yaml.safe_load(configuration)
    made = asked(configuration, "pi-1", "192.168.1.50", "pi-1")
    remembered = yaml.safe_load(made.config_map["data"]["ClusterConfiguration"])
    assert remembered == {**before, "apiServer": {**(before["apiServer"] or {}), "certSANs": names}}
    assert made.config_map["metadata"] == {"name": "kubeadm-config", "namespace": "kube-system"}
    cluster, init = yaml.safe_load_all(made.configuration)
    # The folder is for this one time, and nothing to remember.
    assert cluster == {**remembered, "certificatesDir": "/run/work"}
    assert init == {
        "apiVersion": before["apiVersion"],
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": "10.0.0.11"},
        "nodeRegistration": {"criSocket": "unix:///run/containerd/containerd.sock"},
    }


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"data": null}', config_map("- a\n"), config_map("a: [")])
def test_a_cluster_that_kubeadm_did_not_make_is_refused(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match="has no ClusterConfiguration; expected a cluster"):
        apiserver_certificate(text, names=[], manifest=MANIFEST, folder="/run/work", cri_socket="")


def test_a_manifest_without_an_address_is_refused() -> None:
    with pytest.raises(CertificateError, match="no --advertise-address; expected"):
        request(config_map=config_map(NEW), manifest="", names=[], folder="/run/work", cri_socket="")
