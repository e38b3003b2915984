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
    that the installed kubeadm asks for, or the newest known here for a newer one.
  - A control plane that answers is left alone, whatever the options say. One that does not answer makes
    the module wait, and then fail with the cause; it is never undone.
  - Before kubeadm runs, this is written down in C(/etc/kubernetes/.bramble-attempt.json), and taken away
    when it has come to its end. So a run that was killed, or that failed, is recognised by the next one.
    It is finished if the API server had started, and otherwise undone with C(kubeadm reset) and begun again.
    It is not undone if the files of etcd name other nodes or workloads.
  - What is incomplete and not by this module is refused.
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
  cert_sans:
    description: Names and addresses of the API server in its certificate, beside those that kubeadm puts in.
    type: list
    elements: str
    default: []
  failure_detection:
    description: How soon the cluster is to notice that a node is lost, as the option C(detection) of
      M(bramble.pi.failure_detection) says it.
    type: raw
    default: default
  profile:
    description:
      - V(small) is for boards with 1 GB of memory. etcd keeps fewer writes in memory, one pod answers for
        the cluster's DNS instead of two, a node takes 40 pods and keeps shorter logs of them; from
        Kubernetes 1.31 on the programs of the control plane collect their garbage earlier (C(GOGC)).
      - It counts when the cluster is initialised. What is given by the options below goes over it.
    type: str
    choices: [default, small]
    default: default
  cluster_configuration:
    description:
      - Goes over the C(ClusterConfiguration) that the module builds.
      - C(extraArgs) can be a mapping or a list of C(name) and C(value), whatever the API version. They are
        merged by name with those of O(failure_detection), and C(certSANs) with O(cert_sans).
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
  system_reserved:
    description:
      - What the kubelet keeps from pods for the system, by its flag C(--system-reserved). It counts when the
        node is initialised.
      - "V(auto) is a part of the board's memory and cores, V(none) nothing. Else C(cpu), C(memory) or both,
        such as C({cpu: 100m, memory: 400Mi})."
      - The C(kubeletExtraArgs) of O(init_configuration) go over it.
    type: raw
    default: none
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
    failure_detection: demo
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
nodes:
  description: Labels and taints of the cluster's nodes, by their names, and the annotations by which
    M(bramble.pi.node_labels) knows its own.
  returned: when the node is a control plane that answers
  type: dict
  sample:
    pi-2: {labels: {kubernetes.io/arch: arm64}, annotations: {}, taints: [], version: "1234"}
api_version:
  description: Version of the API that the configuration for the installed kubeadm was written in.
  returned: when kubeadm was run
  type: str
  sample: v1beta4
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.init import bring_up, check_parameters
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.profile import DEFAULT, PROFILES


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
            "cert_sans": {"type": "list", "elements": "str", "default": []},
            "failure_detection": {"type": "raw", "default": "default"},
            "profile": {"type": "str", "choices": list(PROFILES), "default": DEFAULT},
            "cluster_configuration": {"type": "dict", "default": {}},
            "init_configuration": {"type": "dict", "default": {}},
            "kubelet_configuration": {"type": "dict", "default": {}},
            "system_reserved": {"type": "raw", "default": "none"},
            "kube_proxy_configuration": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 240},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    node = Node(run=module.run_command)
    with module_errors(module):
        check_parameters(parameters=parameters)
        with node.locked(timeout=parameters["timeout"]):
            result = bring_up(node=node, parameters=parameters, check_mode=module.check_mode)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
