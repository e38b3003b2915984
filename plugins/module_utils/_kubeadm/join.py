# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Joins a node to a cluster, from whatever an earlier run has left there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.files import write_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import (
    config,
    node_files,
    reservation,
    state,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.join_command import (
    is_ca_cert_hash,
    is_endpoint,
    is_token,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import (
    KubeadmError,
    Node,
    default_node_name,
    is_busy_name,
    phases_argument,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.reset import undo
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import compatibility

# The control plane counts a node that was reset as ready until it has missed its reports: 40 s, 50 s from
# 1.32 on, and some more until that is seen.
_BUSY_NAME_SECONDS = 90
_BUSY_NAME_POLL = 10
_POLL = 1
_CRI_SOCKET_ANNOTATION = "kubeadm.alpha.kubernetes.io/cri-socket"


def check_parameters(*, parameters: Mapping[str, Any], check_mode: bool) -> None:
    """Refuse what cannot be joined with. No message holds the value of a secret."""
    endpoint, token = parameters["endpoint"], parameters["token"]
    reservation.check_reservation(parameters["system_reserved"])
    if parameters["ca_cert_hash"] is None and check_mode:
        return
    if not is_ca_cert_hash(parameters["ca_cert_hash"] or ""):
        raise KubeadmError(
            f"ca_cert_hash is {parameters['ca_cert_hash']!r}; expected sha256: and 64 hexadecimal digits,"
            " as bramble.pi.kubeadm_join_info returns it"
        )
    if endpoint and not is_endpoint(endpoint):
        raise KubeadmError(f"endpoint is {endpoint!r}; expected HOST:PORT, such as 192.168.1.10:6443")
    if token and not is_token(token):
        raise KubeadmError(
            "token does not have the form of a bootstrap token, six and sixteen of a-z and 0-9 with a dot"
            " between, as bramble.pi.kubeadm_join_info returns it"
        )


def _documents(*, node: Node, parameters: Mapping[str, Any]) -> tuple[str, list[config.Document]]:
    missing = [name for name in ("endpoint", "token") if not parameters[name]]
    if missing:
        raise KubeadmError(
            f"{' and '.join(missing)} not given, and this node has to be joined;"
            " bramble.pi.kubeadm_join_info returns both"
        )
    version = node.api_version()
    documents = config.join_documents(
        version=version,
        join_configuration=node.with_reservation(
            parameters["system_reserved"], over=parameters["join_configuration"]
        ),
        **{
            name: parameters[name]
            for name in (
                "endpoint",
                "token",
                "ca_cert_hash",
                "control_plane",
                "certificate_key",
                "advertise_address",
                "node_name",
                "cri_socket",
                "ignore_preflight_errors",
                "timeout",
            )
        },
    )
    return version, documents


def _verdict(*, node: Node, parameters: Mapping[str, Any]) -> state.Verdict:
    own_hash = node_files.cluster_ca_hash()
    return state.decide_join(
        node=parameters["node_name"] or default_node_name(),
        files=node_files.present(),
        external_etcd=node_files.external_etcd(),
        attempt=node_files.read_attempt(),
        kubelet_complete=node_files.kubelet_complete(),
        ca_cert_hash=own_hash,
        expected_ca_cert_hash=parameters["ca_cert_hash"] or own_hash,
        control_plane=parameters["control_plane"],
    )


def _undo(*, node: Node, parameters: Mapping[str, Any]) -> None:
    if state.ETCD_DATA in node_files.present() and not node.ask_api()[0]:
        raise KubeadmError(
            "kubeadm join was interrupted after this node had become a member of etcd, and the API server"
            " does not answer, so the member cannot be taken out of etcd without losing its majority. Bring"
            " the other control planes up first"
        )
    undo(node=node, attempt=node_files.read_attempt(), cri_socket=parameters["cri_socket"])


def _join(*, node: Node, parameters: Mapping[str, Any], documents: list[config.Document]) -> None:
    """Run kubeadm join; wait until the cluster has counted a node that was just reset out."""
    deadline = time.monotonic() + _BUSY_NAME_SECONDS
    while True:
        if parameters["encryption_configuration"]:
            # After an undo, which empties the folder.
            write_text(state.ENCRYPTION, parameters["encryption_configuration"], mode=0o600)
        attempt = state.Attempt(
            action="join", settings=config.digest(documents=documents), kept=node_files.users_files()
        )
        try:
            node.kubeadm(
                [
                    "join",
                    f"--config={node.configuration_file(documents=documents)}",
                    *phases_argument(phases=parameters["skip_phases"]),
                ],
                attempt=attempt,
            )
            return
        except KubeadmError as error:
            if not is_busy_name(str(error)) or time.monotonic() > deadline:
                raise
        _undo(node=node, parameters=parameters)
        time.sleep(_BUSY_NAME_POLL)


def _finish(*, node: Node, parameters: Mapping[str, Any]) -> str | None:
    """Do what kubeadm join does after the kubelet has its certificate."""
    version = None
    if parameters["control_plane"]:
        version, documents = _documents(node=node, parameters=parameters)
        release = compatibility.parse_version(node.release().lstrip("v").partition("-")[0])
        # Adding the member again does nothing where it is one; what counts is that it gets its vote.
        etcd = ["etcd"] if compatibility.promotes_etcd_after_kubelet(release) else []
        for phase in (*etcd, "mark-control-plane"):
            node.kubeadm(
                [
                    "join",
                    "phase",
                    "control-plane-join",
                    phase,
                    f"--config={node.configuration_file(documents=documents)}",
                ]
            )
    if parameters["cri_socket"]:
        node.annotate(
            node_name=parameters["node_name"] or default_node_name(),
            annotation=f"{_CRI_SOCKET_ANNOTATION}={parameters['cri_socket']}",
        )
    node_files.remove_bootstrap_kubeconfig()
    return version


def bring_in(*, node: Node, parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring the node into the cluster, and return the module's result."""
    verdict = _verdict(node=node, parameters=parameters)
    if verdict.step is state.Step.REFUSE:
        raise KubeadmError(verdict.reason)
    changed = verdict.step is not state.Step.NOTHING
    version = None
    if changed and not check_mode:
        node.need("kubeadm", "kubectl", "kubelet")
        if verdict.step is state.Step.FINISH:
            version = _finish(node=node, parameters=parameters)
        else:
            version, documents = _documents(node=node, parameters=parameters)
            if verdict.step is state.Step.UNDO:
                _undo(node=node, parameters=parameters)
            _join(node=node, parameters=parameters, documents=documents)
        begun = time.time()
        deadline = time.monotonic() + parameters["timeout"]
        while not node_files.kubelet_complete():
            if time.monotonic() > deadline:
                raise KubeadmError(
                    node.explanation(
                        command="kubeadm join",
                        output="error: the kubelet has no client certificate from the cluster"
                        f" after {parameters['timeout']} s",
                        begun=begun,
                    )
                )
            time.sleep(_POLL)
        node_files.clear_attempt()
    result = {"changed": changed, "state": verdict.state, "reason": verdict.reason}
    if version:
        result["api_version"] = version
    if node_files.kubelet_complete():
        result.update(ca_cert_hash=node_files.cluster_ca_hash(), server=node_files.server())
    return result
