# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm's configuration documents, built as data for each version of its API.

They are written as JSON, which is YAML too: nodes have no YAML library.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import profile
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import (
    compatibility,
    extra_args,
    failure_detection,
)

_GROUP = "kubeadm.k8s.io"
#: Further names of the API server, which a user adds to and does not replace.
_NAMES = "certSANs"

Document = dict[str, Any]


class KubeadmConfigError(BrambleError):
    """kubeadm or the user asked for something that no configuration can be built from."""


def api_version(*, init_defaults: str) -> str:
    """Return the API version to write for the installed kubeadm (``kubeadm config print init-defaults``)."""
    match = re.search(rf"^apiVersion:\s*{re.escape(_GROUP)}/(\S+)\s*$", init_defaults, re.MULTILINE)
    if match is None:
        raise KubeadmConfigError("kubeadm config print init-defaults names no apiVersion kubeadm.k8s.io/...")
    return compatibility.known_api_version(match[1])


def release(*, version_json: str) -> str:
    """Return the version of the installed kubeadm, such as v1.36.1 (``kubeadm version -o json``)."""
    try:
        version = json.loads(version_json)["clientVersion"]["gitVersion"]
    except (ValueError, KeyError, TypeError) as error:
        raise KubeadmConfigError(
            f"kubeadm version -o json names no clientVersion.gitVersion: {error}"
        ) from error
    return str(version).partition("+")[0]


def merged(*, base: Mapping[str, Any], over: Mapping[str, Any], where: str = "") -> Document:
    """Return base with the values of over.

    Mappings are merged, extra arguments by their names, and further names of the API server are joined;
    anything else is replaced. Null for a mapping or a list says nothing: all lines may be commented out.
    """
    result = dict(base)
    for key, value in over.items():
        below, place = result.get(key), f"{where}.{key}"
        if key in extra_args.FIELDS:
            arguments = (extra_args.read(found, where=place) for found in (below, value))
            result[key] = extra_args.listed(extra_args.merged(*arguments))
        elif isinstance(below, (Mapping, list)) and value is None:
            continue
        elif isinstance(below, Mapping) and isinstance(value, Mapping):
            result[key] = merged(base=below, over=value, where=place)
        elif key == _NAMES and isinstance(below, list) and isinstance(value, (list, tuple)):
            result[key] = [*(name for name in below if name not in value), *value]
        else:
            result[key] = value
    return result


def _in_form_of(value: Any, *, version: str, where: str) -> Any:
    """Return the value with all extra arguments in the version's form."""
    if isinstance(value, Mapping):
        return {
            key: extra_args.written(
                extra_args.read(below, where=f"{where}.{key}"), version=version, where=f"{where}.{key}"
            )
            if key in extra_args.FIELDS
            else _in_form_of(below, version=version, where=f"{where}.{key}")
            for key, below in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_in_form_of(entry, version=version, where=where) for entry in value]
    return value


def _document(*, kind: str, version: str, built: Mapping[str, Any], over: Mapping[str, Any]) -> Document:
    # What a user gives is the option of that name: InitConfiguration is init_configuration.
    where = re.sub("(?<!^)(?=[A-Z])", "_", kind).lower()
    content = merged(base=built, over=over, where=where)
    return {
        **_in_form_of(content, version=version, where=where),
        "apiVersion": f"{_GROUP}/{version}",
        "kind": kind,
    }


def _given(**values: Any) -> Document:
    """Return the values that are there; kubeadm fills in the rest."""
    return {key: value for key, value in values.items() if value not in (None, "", [], {})}


def _duration(seconds: int) -> str:
    return f"{seconds}s"


def init_documents(
    *,
    version: str,
    kubernetes_version: str,
    pod_cidr: str | None,
    service_cidr: str | None,
    advertise_address: str | None,
    control_plane_endpoint: str | None,
    node_name: str | None,
    cri_socket: str | None,
    cgroup_driver: str,
    token: str | None,
    token_ttl: str,
    ignore_preflight_errors: Sequence[str],
    timeout: int,
    cert_sans: Sequence[str],
    detection: failure_detection.Detection | None,
    board_profile: str,
    cluster_configuration: Mapping[str, Any],
    init_configuration: Mapping[str, Any],
    kubelet_configuration: Mapping[str, Any],
    kube_proxy_configuration: Mapping[str, Any],
) -> list[Document]:
    """Return the documents for ``kubeadm init``; the four given ones go over what is built here."""
    init: Document = {
        # Without a token of the user's, kubeadm makes one up; then too it shall not live for a day.
        "bootstrapTokens": [_given(token=token, ttl=token_ttl)],
        "nodeRegistration": _given(
            name=node_name, criSocket=cri_socket, ignorePreflightErrors=list(ignore_preflight_errors)
        ),
        **_given(localAPIEndpoint=_given(advertiseAddress=advertise_address)),
    }
    cluster = _given(
        kubernetesVersion=kubernetes_version,
        controlPlaneEndpoint=control_plane_endpoint,
        networking=_given(podSubnet=pod_cidr, serviceSubnet=service_cidr),
        **failure_detection.cluster_configuration(detection),
    )
    server = {**cluster.get("apiServer", {}), **_given(certSANs=list(cert_sans))}
    if version == "v1beta4":
        init["timeouts"] = {"controlPlaneComponentHealthCheck": _duration(timeout)}
    else:
        server["timeoutForControlPlane"] = _duration(timeout)
    cluster.update(_given(apiServer=server))
    cluster = merged(base=profile.cluster_configuration(board_profile, version=version), over=cluster)
    kubelet = {
        "cgroupDriver": cgroup_driver,
        **profile.kubelet_configuration(board_profile),
        **failure_detection.in_kubelet_configuration({}, detection),
    }
    documents = [
        _document(kind="InitConfiguration", version=version, built=init, over=init_configuration),
        _document(kind="ClusterConfiguration", version=version, built=cluster, over=cluster_configuration),
        {
            **merged(base=kubelet, over=kubelet_configuration),
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
        },
    ]
    if kube_proxy_configuration:
        documents.append(
            {
                **kube_proxy_configuration,
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
            }
        )
    return documents


def join_documents(
    *,
    version: str,
    endpoint: str,
    token: str,
    ca_cert_hash: str,
    control_plane: bool,
    certificate_key: str | None,
    advertise_address: str | None,
    node_name: str | None,
    cri_socket: str | None,
    ignore_preflight_errors: Sequence[str],
    timeout: int,
    join_configuration: Mapping[str, Any],
) -> list[Document]:
    """Return the document for ``kubeadm join``; the given one goes over what is built here."""
    join: Document = {
        "discovery": {
            "bootstrapToken": {
                "apiServerEndpoint": endpoint,
                "token": token,
                "caCertHashes": [ca_cert_hash],
            },
        },
        "nodeRegistration": _given(
            name=node_name, criSocket=cri_socket, ignorePreflightErrors=list(ignore_preflight_errors)
        ),
    }
    if control_plane:
        join["controlPlane"] = {
            **_given(
                localAPIEndpoint=_given(advertiseAddress=advertise_address), certificateKey=certificate_key
            )
        }
    if version == "v1beta4":
        join["timeouts"] = {"discovery": _duration(timeout), "tlsBootstrap": _duration(timeout)}
    else:
        join["discovery"]["timeout"] = _duration(timeout)
    return [_document(kind="JoinConfiguration", version=version, built=join, over=join_configuration)]


def minimal_documents(
    *,
    version: str,
    kubernetes_version: str,
    cri_socket: str | None,
    cluster_configuration: Mapping[str, Any],
    advertise_address: str | None = None,
    node_name: str | None = None,
) -> list[Document]:
    """Return the documents for commands of kubeadm that need none, but look for what these say.

    The version is given so that kubeadm does not ask the internet for the newest one, the socket so that it
    does not refuse a node that has several, and the address so that it does not refuse one without a default
    route.
    """
    registration = _given(
        nodeRegistration=_given(criSocket=cri_socket, name=node_name),
        localAPIEndpoint=_given(advertiseAddress=advertise_address),
    )
    return [
        _document(kind="InitConfiguration", version=version, built=registration, over={}),
        _document(
            kind="ClusterConfiguration",
            version=version,
            built={"kubernetesVersion": kubernetes_version},
            over=cluster_configuration,
        ),
    ]


def dumped(*, documents: Sequence[Document]) -> str:
    """Return the documents as text for kubeadm's ``--config``."""
    return "---\n".join(json.dumps(document, indent=2, sort_keys=True) + "\n" for document in documents)


def digest(*, documents: Sequence[Document]) -> str:
    """Return what tells one set of settings from another; secrets, which differ by run, do not count."""
    public = [
        {key: value for key, value in document.items() if key not in ("bootstrapTokens", "discovery")}
        for document in documents
    ]
    return hashlib.sha256(dumped(documents=public).encode()).hexdigest()
