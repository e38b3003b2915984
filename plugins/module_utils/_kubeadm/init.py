# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a node the first control plane of a cluster, from whatever an earlier run has left there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import (
    components,
    config,
    diagnosis,
    node_files,
    profile,
    reservation,
    state,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.join_command import is_token
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import (
    KubeadmError,
    Node,
    default_node_name,
    phases_argument,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.reset import undo
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection, node_labels

# The phases up to the moment when the API server answers; those after it can be run again at any time.
_PHASES_BEFORE_API = (
    "preflight",
    "certs",
    "kubeconfig",
    "kubelet-start",
    "control-plane",
    "etcd",
    "wait-control-plane",
)

_POLL = 2

# How many seconds before the API server was found silent may be of interest.
_LOOK_BACK = 300


def _documents(*, node: Node, parameters: Mapping[str, Any]) -> tuple[str, list[config.Document]]:
    version = node.api_version()
    desired = parameters["kubernetes_version"]
    documents = config.init_documents(
        version=version,
        kubernetes_version=f"v{desired.lstrip('v')}" if desired else node.release(),
        detection=failure_detection.parse(parameters["failure_detection"]),
        board_profile=parameters["profile"],
        init_configuration=node.with_reservation(
            parameters["system_reserved"], over=parameters["init_configuration"]
        ),
        **{
            name: parameters[name]
            for name in (
                "pod_cidr",
                "service_cidr",
                "advertise_address",
                "control_plane_endpoint",
                "node_name",
                "cri_socket",
                "cgroup_driver",
                "token",
                "token_ttl",
                "ignore_preflight_errors",
                "timeout",
                "cert_sans",
                "cluster_configuration",
                "kubelet_configuration",
                "kube_proxy_configuration",
            )
        },
    )
    return version, documents


def _verdict(*, node: Node, parameters: Mapping[str, Any], settings: str, timeout: int) -> state.Verdict:
    attempt = node_files.read_attempt()
    name = parameters["node_name"] or default_node_name()
    answers = uploaded = False
    if node_files.has_control_plane():
        node.need("kubeadm", "kubectl", "kubelet")
        # A run that failed has already waited; one with other settings is not waited for either.
        hopeless = attempt is not None and (attempt.failed or attempt.settings != settings)
        answers, uploaded = node.wait_for_api(timeout=0 if hopeless else timeout)
    return state.decide_init(
        node=name,
        files=node_files.present(),
        external_etcd=node_files.external_etcd(),
        attempt=attempt,
        settings=settings,
        api_answers=answers,
        uploaded=uploaded,
        in_use=() if attempt is None else node_files.signs_of_use(node_name=name),
    )


def check_parameters(*, parameters: Mapping[str, Any]) -> None:
    """Refuse what kubeadm would not take. No message holds the value of a secret."""
    if parameters["token"] and not is_token(parameters["token"]):
        raise KubeadmError(
            "token does not have the form of a bootstrap token, six and sixteen of a-z and 0-9 with a dot"
            " between; kubeadm token generate makes one"
        )
    failure_detection.parse(parameters["failure_detection"])
    reservation.check_reservation(parameters["system_reserved"])


def _wait_for_components(*, attempt: state.Attempt | None, timeout: int) -> None:
    """Wait until all programs of the control plane answer; kubeadm itself waits for the API server alone."""
    deadline = time.monotonic() + timeout
    while silent := components.silent():
        logs = components.last_words(programs=silent)
        if any(diagnosis.is_hopeless(log=log) for log in logs.values()) or time.monotonic() > deadline:
            if attempt:
                node_files.write_attempt(replace(attempt, failed=True, crashed=True))
            raise KubeadmError(
                "kubeadm init came to its end, but the control plane does not run:\n"
                f"{diagnosis.crashed(silent=silent, logs=logs)}\n"
                "Correct what it was told with control_plane_cluster_configuration (extraArgs) and run the"
                " playbook again: other settings are applied from the beginning while it is not in use"
            )
        time.sleep(_POLL)


def bring_up(*, node: Node, parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring the node to a control plane that answers, and return the module's result."""
    version: str | None = None
    documents: list[config.Document] = []
    if node_files.read_attempt() is not None:
        node.need("kubeadm", "kubectl", "kubelet")
        version, documents = _documents(node=node, parameters=parameters)
    settings = config.digest(documents=documents)
    verdict = _verdict(node=node, parameters=parameters, settings=settings, timeout=parameters["timeout"])
    if verdict.step is state.Step.REFUSE:
        if verdict.state == "unreachable":
            raise KubeadmError(
                node.explanation(
                    command="The check of the API server",
                    output=verdict.reason,
                    begun=time.time() - parameters["timeout"] - _LOOK_BACK,
                )
            )
        raise KubeadmError(verdict.reason)

    changed = verdict.step is not state.Step.NOTHING
    if changed and not check_mode:
        node.need("kubeadm", "kubectl", "kubelet")
        if version is None:
            version, documents = _documents(node=node, parameters=parameters)
            settings = config.digest(documents=documents)
        attempt = node_files.read_attempt()
        phases = list(parameters["skip_phases"])
        if verdict.step is state.Step.UNDO:
            undo(node=node, attempt=attempt, cri_socket=parameters["cri_socket"])
        if verdict.step is state.Step.FINISH:
            phases = [*_PHASES_BEFORE_API, *(phase for phase in phases if phase not in _PHASES_BEFORE_API)]
        else:
            attempt = state.Attempt(action="init", settings=settings, kept=node_files.users_files())
        node.kubeadm(
            [
                "init",
                f"--config={node.configuration_file(documents=documents)}",
                "--skip-token-print",
                *phases_argument(phases=phases),
            ],
            attempt=attempt,
        )
        _wait_for_components(attempt=attempt, timeout=parameters["timeout"])
        if parameters["profile"] == profile.SMALL:
            node.run_one_coredns()
        node_files.clear_attempt()
    result = {"changed": changed, "state": verdict.state, "reason": verdict.reason}
    if version:
        result["api_version"] = version
    if node_files.has_control_plane():
        result.update(ca_cert_hash=node_files.cluster_ca_hash(), server=node_files.server())
        nodes = node.ask_nodes()
        if nodes:
            result["nodes"] = node_labels.seen_nodes(nodes)
    return result
