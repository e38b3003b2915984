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
    what kubeadm left, and finished or undone. What is incomplete of a control plane, and not by this module,
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
  encryption_configuration:
    description:
      - The keys by which the API servers of the cluster encrypt secrets, for a further control plane; see
        M(bramble.pi.kubeadm_join_info).
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
  system_reserved:
    description:
      - What the kubelet keeps from pods for the system, by its flag C(--system-reserved). It counts when the
        node joins.
      - "V(auto) is a part of the board's memory and cores, V(none) nothing. Else C(cpu), C(memory) or both,
        such as C({cpu: 100m, memory: 400Mi})."
      - The C(kubeletExtraArgs) of O(join_configuration) go over it.
    type: raw
    default: none
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
  description: Version of the API that the configuration for the installed kubeadm was written in.
  returned: when kubeadm was run
  type: str
  sample: v1beta4
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.join import bring_in, check_parameters
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "endpoint": {"type": "str"},
            "token": {"type": "str", "no_log": True},
            "ca_cert_hash": {"type": "str"},
            "control_plane": {"type": "bool", "default": False},
            "certificate_key": {"type": "str", "no_log": True},
            "encryption_configuration": {"type": "str", "no_log": True},
            "advertise_address": {"type": "str"},
            "node_name": {"type": "str"},
            "cri_socket": {"type": "str"},
            "skip_phases": {"type": "list", "elements": "str", "default": []},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "join_configuration": {"type": "dict", "default": {}},
            "system_reserved": {"type": "raw", "default": "none"},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    node = Node(run=module.run_command)
    with module_errors(module):
        check_parameters(parameters=parameters, check_mode=module.check_mode)
        with node.locked(timeout=parameters["timeout"]):
            result = bring_in(node=node, parameters=parameters, check_mode=module.check_mode)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
