#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Join a node to a cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_join
short_description: Join a node to a cluster
version_added: 0.1.0
description:
  - Runs C(kubeadm join) where there is no Kubernetes yet, and waits until the kubelet has its certificate.
    The cluster's CA is pinned by its hash.
  - A node that is in the cluster with this CA is left alone. One that belongs to another cluster is refused.
  - A join that was killed or that failed is recognised by C(/etc/kubernetes/.bramble-attempt.json), or by
    what kubeadm left, and finished or undone. What is half done of a control plane, and not by this module,
    is refused.
extends_documentation_fragment: [bramble.pi.attributes]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  endpoint:
    description:
      - Address and port of the API server, such as V(192.168.1.10:6443).
      - Not needed for a node that is in the cluster already.
    type: str
  token:
    description:
      - Bootstrap token, see M(bramble.pi.kubeadm_join_info).
      - Not needed for a node that is in the cluster already.
    type: str
  ca_cert_hash:
    description: Hash of the cluster CA's public key, V(sha256:) and 64 hexadecimal digits. Only in check mode
      it may be left out, for a cluster that is not there yet.
    type: str
  control_plane:
    description: Whether the node shall be a further control plane.
    type: bool
    default: false
  certificate_key:
    description: Key of the certificates that were uploaded for further control planes.
    type: str
  advertise_address:
    description: Address at which the API server of a further control plane is reached.
    type: str
  node_name:
    description: Name of the node in the cluster. By default its host name.
    type: str
  cri_socket:
    description: Socket of the container runtime, such as V(unix:///run/containerd/containerd.sock).
      Needed where there are several.
    type: str
  skip_phases:
    description: Phases of C(kubeadm join) to leave out, such as V(preflight).
    type: list
    elements: str
    default: []
  ignore_preflight_errors:
    description: Preflight checks whose errors shall be warnings, such as V(SystemVerification).
    type: list
    elements: str
    default: []
  join_configuration:
    description: Goes over the C(JoinConfiguration) that the module builds. C(kubeletExtraArgs) can be a
      mapping or a list of C(name) and C(value), whatever the API version.
    type: dict
    default: {}
  timeout:
    description: Seconds to wait for the API server, for the kubelet's certificate, and for a run of kubeadm
      that is still going on.
    type: int
    default: 120
author:
  - bramble.pi contributors (@bramble-pi)
"""

EXAMPLES = r"""
- name: Ask the control plane how to join
  bramble.pi.kubeadm_join_info:
  delegate_to: pi-1
  register: join_info
  no_log: true

- name: Join this node
  bramble.pi.kubeadm_join:
    endpoint: "{{ join_info.endpoint }}"
    token: "{{ join_info.token }}"
    ca_cert_hash: "{{ join_info.ca_cert_hash }}"
    cri_socket: unix:///run/containerd/containerd.sock
"""

RETURN = r"""
state:
  description: What the node was before; V(absent), V(partial) or V(joined).
  returned: success
  type: str
  sample: joined
reason:
  description: What was found, in words.
  returned: success
  type: str
  sample: this node is in the cluster
ca_cert_hash:
  description: Hash of the public key of the CA of the cluster that the node is in.
  returned: when the node is in a cluster
  type: str
  sample: sha256:f9ff1529ab426b391a665cda3b1df7d9a3950da11045dd8c634e605ef835a58c
server:
  description: Address of the API server that the kubelet talks to.
  returned: when the node is in a cluster
  type: str
  sample: https://192.168.1.10:6443
api_version:
  description: Version of the configuration API that the installed kubeadm wants.
  returned: when kubeadm was run
  type: str
  sample: v1beta4
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import config, state
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

# The control plane counts a node that was reset as ready until it has missed its reports: 40 s, 50 s from
# about 1.32 on, and some more until that is seen.
_BUSY_NAME_SECONDS = 90
_BUSY_NAME_POLL = 10
_POLL = 1
_CRI_SOCKET_ANNOTATION = "kubeadm.alpha.kubernetes.io/cri-socket"


def _check_parameters(*, parameters: dict[str, Any], check_mode: bool) -> None:
    """Refuse what cannot be joined with. No message holds the value of a secret."""
    endpoint, token = parameters["endpoint"], parameters["token"]
    if parameters["ca_cert_hash"] is None and check_mode:
        return
    if not is_ca_cert_hash(parameters["ca_cert_hash"] or ""):
        raise KubeadmError(
            f"ca_cert_hash is {parameters['ca_cert_hash']!r}; wanted is sha256: and 64 hexadecimal digits, as"
            " bramble.pi.kubeadm_join_info returns it"
        )
    if endpoint and not is_endpoint(endpoint):
        raise KubeadmError(f"endpoint is {endpoint!r}; wanted is HOST:PORT, such as 192.168.1.10:6443")
    if token and not is_token(token):
        raise KubeadmError(
            "token does not have the form of a bootstrap token, six and sixteen of a-z and 0-9 with a dot"
            " between, as bramble.pi.kubeadm_join_info returns it"
        )


def _documents(*, node: Node, parameters: dict[str, Any]) -> tuple[str, list[config.Document]]:
    missing = [name for name in ("endpoint", "token") if not parameters[name]]
    if missing:
        raise KubeadmError(
            f"{' and '.join(missing)} not given, and this node has to be joined;"
            " bramble.pi.kubeadm_join_info returns both"
        )
    version = node.api_version()
    documents = config.join_documents(
        version=version,
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
                "join_configuration",
            )
        },
    )
    return version, documents


def _judge(*, node: Node, parameters: dict[str, Any]) -> state.Verdict:
    own_hash = node.ca_cert_hash()
    return state.judge_join(
        node=parameters["node_name"] or default_node_name(),
        files=node.files(),
        external_etcd=node.external_etcd(),
        attempt=node.attempt(),
        kubelet_complete=node.kubelet_complete(),
        ca_cert_hash=own_hash,
        expected_ca_cert_hash=parameters["ca_cert_hash"] or own_hash,
        control_plane=parameters["control_plane"],
    )


def _undo(*, node: Node, parameters: dict[str, Any]) -> None:
    if state.ETCD_DATA in node.files() and not node.ask_api()[0]:
        raise KubeadmError(
            "kubeadm join was cut short after this node had become a member of etcd, and the API server does"
            " not answer, so the member cannot be taken out of etcd without losing its majority. Bring the"
            " other control planes up first"
        )
    node.undo(attempt=node.attempt(), cri_socket=parameters["cri_socket"])


def _join(*, node: Node, parameters: dict[str, Any], documents: list[config.Document]) -> None:
    """Run kubeadm join; wait until the cluster has counted a node that was just reset out."""
    deadline = time.monotonic() + _BUSY_NAME_SECONDS
    while True:
        attempt = state.Attempt(
            action="join", settings=config.digest(documents=documents), kept=node.users_files()
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


def _finish(*, node: Node, parameters: dict[str, Any]) -> str | None:
    """Do what kubeadm join does after the kubelet has its certificate."""
    version = None
    if parameters["control_plane"]:
        version, documents = _documents(node=node, parameters=parameters)
        node.kubeadm(
            [
                "join",
                "phase",
                "control-plane-join",
                "mark-control-plane",
                f"--config={node.configuration_file(documents=documents)}",
            ]
        )
    if parameters["cri_socket"]:
        node.annotate(
            node_name=parameters["node_name"] or default_node_name(),
            annotation=f"{_CRI_SOCKET_ANNOTATION}={parameters['cri_socket']}",
        )
    node.remove_bootstrap_kubeconfig()
    return version


def _bring_in(*, node: Node, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    verdict = _judge(node=node, parameters=parameters)
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
        while not node.kubelet_complete():
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
        node.clear_attempt()
    result = {"changed": changed, "state": verdict.state, "reason": verdict.reason}
    if version:
        result["api_version"] = version
    if node.kubelet_complete():
        result.update(ca_cert_hash=node.ca_cert_hash(), server=node.server())
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "endpoint": {"type": "str"},
            "token": {"type": "str", "no_log": True},
            "ca_cert_hash": {"type": "str"},
            "control_plane": {"type": "bool", "default": False},
            "certificate_key": {"type": "str", "no_log": True},
            "advertise_address": {"type": "str"},
            "node_name": {"type": "str"},
            "cri_socket": {"type": "str"},
            "skip_phases": {"type": "list", "elements": "str", "default": []},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "join_configuration": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    node = Node(run=module.run_command)
    try:
        _check_parameters(parameters=module.params, check_mode=module.check_mode)
        with node.locked(timeout=module.params["timeout"]):
            result = _bring_in(node=node, parameters=module.params, check_mode=module.check_mode)
    except (KubeadmError, config.KubeadmConfigError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
