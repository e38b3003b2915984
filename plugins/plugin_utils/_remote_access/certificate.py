# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubeadm is told so that the API server's certificate has further names."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_ADVERTISED = re.compile(r"--advertise-address=(\S+)")
_KEY = "ClusterConfiguration"


class CertificateError(BrambleError):
    """The certificate cannot be made with what the cluster says of itself."""


class Request(NamedTuple):
    """What the certificate is made by, and what kubeadm is to remember of it."""

    #: The documents of kubeadm's configuration.
    configuration: str
    #: The ConfigMap by which kubeadm makes the certificates that follow.
    config_map: dict[str, Any]


def _cluster_configuration(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(json.loads(text)["data"][_KEY])
    except (ValueError, KeyError, TypeError, yaml.YAMLError):
        found = None
    if not isinstance(found, dict):
        raise CertificateError(
            "the ConfigMap kubeadm-config in kube-system has no ClusterConfiguration; expected a cluster "
            "that kubeadm made: look at kubectl --namespace kube-system get configmap kubeadm-config"
        )
    return found


def request(*, config_map: str, manifest: str, names: Sequence[str], folder: str, cri_socket: str) -> Request:
    """Ask for a certificate with these names, and with those that somebody put in by hand.

    ``config_map`` is what kubectl prints of kubeadm-config as JSON, ``manifest`` the API server's, and
    ``folder`` where kubeadm finds the authority and leaves the pair.
    """
    cluster = _cluster_configuration(config_map)
    advertised = _ADVERTISED.search(manifest)
    if advertised is None:
        raise CertificateError(
            "the API server's manifest has no --advertise-address; expected the one that kubeadm wrote to "
            "/etc/kubernetes/manifests/kube-apiserver.yaml: write it again with kubeadm"
        )
    api_server = cluster.get("apiServer") or {}
    names = list(dict.fromkeys([*(api_server.get("certSANs") or []), *names]))
    desired = {**cluster, "apiServer": {**api_server, "certSANs": names}}
    init = {
        "apiVersion": cluster["apiVersion"],
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": advertised[1]},
        "nodeRegistration": {"criSocket": cri_socket},
    }
    documents = ({**desired, "certificatesDir": folder}, init)
    return Request(
        # JSON is YAML, and nothing in it is taken for another type.
        configuration="---\n".join(f"{json.dumps(document)}\n" for document in documents),
        config_map={
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "kubeadm-config", "namespace": "kube-system"},
            "data": {_KEY: yaml.safe_dump(desired, default_flow_style=False)},
        },
    )
