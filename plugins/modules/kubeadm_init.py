#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a node the first control plane of a cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_init
short_description: Make a node the first control plane of a cluster
version_added: 0.1.0
description:
  - Runs C(kubeadm init) where there is no Kubernetes yet, with a configuration in the version of the API
    that the installed kubeadm wants.
  - A control plane that answers is left alone, whatever the options say. One that does not answer makes
    the module wait, and then fail with the cause; it is never undone.
  - Before kubeadm runs, this is written down in C(/etc/kubernetes/.bramble-attempt.json), and taken away
    when it has come to its end. So a run that was killed, or that failed, is recognised by the next one.
    It is finished if the API server had started, and otherwise undone with C(kubeadm reset) and begun anew.
    It is not undone if the files of etcd name other nodes or workloads.
  - What is half done and not by this module is refused.
extends_documentation_fragment: [bramble.pi.attributes]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  kubernetes_version:
    description: Version of the control plane, such as V(1.36.1). By default that of the installed kubeadm.
    type: str
  pod_cidr:
    description: Network of the pods.
    type: str
  service_cidr:
    description: Network of the services. By default kubeadm's, V(10.96.0.0/12).
    type: str
  advertise_address:
    description: Address of this node at which the API server is reached. By default the one that the
      default route uses.
    type: str
  control_plane_endpoint:
    description: Stable name or address, with an optional port, for several control planes. It cannot be
      given later.
    type: str
  node_name:
    description: Name of the node in the cluster. By default its host name.
    type: str
  cri_socket:
    description: Socket of the container runtime, such as V(unix:///run/containerd/containerd.sock).
      Needed where there are several.
    type: str
  cgroup_driver:
    description: The cgroup driver of the kubelet. The container runtime has to use the same.
    type: str
    choices: [systemd, cgroupfs]
    default: systemd
  token:
    description: Bootstrap token to make, as C(kubeadm token generate) gives it. By default kubeadm makes
      one up, which is not shown.
    type: str
  token_ttl:
    description: How long that token lives, such as V(30m) or V(24h).
    type: str
    default: 30m
  skip_phases:
    description: Phases of C(kubeadm init) to leave out, such as V(addon/kube-proxy).
    type: list
    elements: str
    default: []
  ignore_preflight_errors:
    description: Preflight checks whose errors shall be warnings, such as V(NumCPU).
    type: list
    elements: str
    default: []
  cluster_configuration:
    description:
      - Goes over the C(ClusterConfiguration) that the module builds.
      - C(extraArgs) can be a mapping or a list of C(name) and C(value), whatever the API version.
    type: dict
    default: {}
  init_configuration:
    description: Goes over the C(InitConfiguration) that the module builds.
    type: dict
    default: {}
  kubelet_configuration:
    description: Goes over the C(KubeletConfiguration) that the module builds.
    type: dict
    default: {}
  kube_proxy_configuration:
    description: The C(KubeProxyConfiguration).
    type: dict
    default: {}
  timeout:
    description: Seconds to wait for the API server, and for a run of kubeadm that is still going on.
    type: int
    default: 240
author:
  - bramble.pi contributors (@bramble-pi)
"""

EXAMPLES = r"""
- name: Make this node the control plane
  bramble.pi.kubeadm_init:
    pod_cidr: 10.244.0.0/16
    advertise_address: 192.168.1.10
    cri_socket: unix:///run/containerd/containerd.sock

- name: Notice failed nodes sooner
  bramble.pi.kubeadm_init:
    pod_cidr: 10.244.0.0/16
    cluster_configuration:
      controllerManager:
        extraArgs:
          node-monitor-grace-period: 16s
"""

RETURN = r"""
state:
  description: What the node was before; V(absent), V(partial) or V(healthy).
  returned: success
  type: str
  sample: absent
reason:
  description: What was found, in words.
  returned: success
  type: str
  sample: there is no Kubernetes on this node
ca_cert_hash:
  description: Hash of the cluster CA's public key, as C(kubeadm join) takes it.
  returned: when the node is a control plane
  type: str
  sample: sha256:f9ff1529ab426b391a665cda3b1df7d9a3950da11045dd8c634e605ef835a58c
server:
  description: Address of the API server.
  returned: when the node is a control plane
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
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.join_command import is_token
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import (
    KubeadmError,
    Node,
    default_node_name,
    phases_argument,
)

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

# How many seconds before the API server was found silent may be of interest.
_LOOK_BACK = 300


def _documents(*, node: Node, parameters: dict[str, Any]) -> tuple[str, list[config.Document]]:
    version = node.api_version()
    wanted = parameters["kubernetes_version"]
    documents = config.init_documents(
        version=version,
        kubernetes_version=f"v{wanted.lstrip('v')}" if wanted else node.release(),
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
                "cluster_configuration",
                "init_configuration",
                "kubelet_configuration",
                "kube_proxy_configuration",
            )
        },
    )
    return version, documents


def _judge(*, node: Node, parameters: dict[str, Any], settings: str, timeout: int) -> state.Verdict:
    attempt = node.attempt()
    name = parameters["node_name"] or default_node_name()
    answers = uploaded = False
    if node.state() == "control_plane":
        node.need("kubeadm", "kubectl", "kubelet")
        # A run that failed has already waited; one with other settings is not waited for either.
        hopeless = attempt is not None and (attempt.failed or attempt.settings != settings)
        answers, uploaded = node.wait_for_api(timeout=0 if hopeless else timeout)
    return state.judge_init(
        node=name,
        files=node.files(),
        external_etcd=node.external_etcd(),
        attempt=attempt,
        settings=settings,
        api_answers=answers,
        uploaded=uploaded,
        in_use=() if attempt is None else node.signs_of_use(node_name=name),
    )


def _bring_up(*, node: Node, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    version: str | None = None
    documents: list[config.Document] = []
    if node.attempt() is not None:
        node.need("kubeadm", "kubectl", "kubelet")
        version, documents = _documents(node=node, parameters=parameters)
    settings = config.digest(documents=documents)
    verdict = _judge(node=node, parameters=parameters, settings=settings, timeout=parameters["timeout"])
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
        attempt = node.attempt()
        phases = list(parameters["skip_phases"])
        if verdict.step is state.Step.UNDO:
            node.undo(attempt=attempt, cri_socket=parameters["cri_socket"])
        if verdict.step is state.Step.FINISH:
            phases = [*_PHASES_BEFORE_API, *(phase for phase in phases if phase not in _PHASES_BEFORE_API)]
        else:
            attempt = state.Attempt(action="init", settings=settings, kept=node.users_files())
        node.kubeadm(
            [
                "init",
                f"--config={node.configuration_file(documents=documents)}",
                "--skip-token-print",
                *phases_argument(phases=phases),
            ],
            attempt=attempt,
        )
        node.clear_attempt()
    result = {"changed": changed, "state": verdict.state, "reason": verdict.reason}
    if version:
        result["api_version"] = version
    if node.state() == "control_plane":
        result.update(ca_cert_hash=node.ca_cert_hash(), server=node.server())
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kubernetes_version": {"type": "str"},
            "pod_cidr": {"type": "str"},
            "service_cidr": {"type": "str"},
            "advertise_address": {"type": "str"},
            "control_plane_endpoint": {"type": "str"},
            "node_name": {"type": "str"},
            "cri_socket": {"type": "str"},
            "cgroup_driver": {"type": "str", "choices": ["systemd", "cgroupfs"], "default": "systemd"},
            "token": {"type": "str", "no_log": True},
            "token_ttl": {"type": "str", "default": "30m", "no_log": False},
            "skip_phases": {"type": "list", "elements": "str", "default": []},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "cluster_configuration": {"type": "dict", "default": {}},
            "init_configuration": {"type": "dict", "default": {}},
            "kubelet_configuration": {"type": "dict", "default": {}},
            "kube_proxy_configuration": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 240},
        },
        supports_check_mode=True,
    )
    token = module.params["token"]
    if token and not is_token(token):
        module.fail_json(
            msg="token does not have the form of a bootstrap token, six and sixteen of a-z and 0-9 with a dot"
            " between; kubeadm token generate makes one"
        )
    node = Node(run=module.run_command)
    try:
        with node.locked(timeout=module.params["timeout"]):
            result = _bring_up(node=node, parameters=module.params, check_mode=module.check_mode)
    except (KubeadmError, config.KubeadmConfigError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
