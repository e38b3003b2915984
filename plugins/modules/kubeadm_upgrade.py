#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.kubeadm_upgrade``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_upgrade
short_description: Bring a node of a cluster to another version of Kubernetes by kubeadm
version_added: '0.1.0'
description:
  - Decides from what the node runs. On the first control plane whose cluster is older it runs
    C(kubeadm upgrade apply), on the other control planes, and on workers whose kubelet is older,
    C(kubeadm upgrade node). Then it waits until the control plane of the node answers.
  - kubeadm of that version has to be installed before, kubelet and kubectl after it, by
    M(bramble.pi.kube_packages).
  - A node that runs the version, or a newer one, is left alone.
  - Before kubeadm runs, this is written down in C(/var/lib/kubelet/.bramble-upgrade.json), and taken away
    when it has come to its end. So a run that was killed is gone on with, even where all versions are the
    new ones.
  - There is no way back to an older version; see M(bramble.pi.cluster_restore).
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment: [bramble.pi.attributes]
attributes:
  check_mode:
    support: full
    details:
      - Tells what is left to do on the node; the new kubeadm need not be installed.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  version:
    description: The version to come to, with its patch, such as V("1.36.1"), at most one minor newer than
      what runs. By default that of the installed kubeadm, so that a run is finished that was killed.
    type: raw
  node_name:
    description: Name of the node in the cluster, such as V(pi-2).
    type: str
    required: true
  control_plane:
    description: Whether the node is a control plane.
    type: bool
    default: false
  ignore_preflight_errors:
    description: Preflight checks whose errors shall be warnings, such as V(CreateJob).
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait for the API server, for a run of kubeadm that is still going on, and for the
      control plane to answer afterwards.
    type: int
    default: 240
seealso:
  - module: bramble.pi.kube_packages
  - module: bramble.pi.node_maintenance
"""

EXAMPLES = r"""
- name: Show what is left to do on the node
  bramble.pi.kubeadm_upgrade:
    version: "1.37.0"
    node_name: pi-1
    control_plane: true
  check_mode: true

- name: Upgrade the control plane of the node
  bramble.pi.kubeadm_upgrade:
    version: "1.37.0"
    node_name: pi-1
    control_plane: true
"""

RETURN = r"""
version:
  description: The version that the node is brought to.
  returned: success
  type: str
  sample: 1.37.0
action:
  description: What kubeadm had to do before the module ran, V(apply), V(node) or nothing.
  returned: success
  type: str
  sample: apply
kubelet_due:
  description: Whether kubelet, its package or the one that runs, is older.
  returned: success
  type: bool
  sample: true
due:
  description: Whether either is so.
  returned: success
  type: bool
  sample: true
reason:
  description: What was found, in words.
  returned: success
  type: str
  sample: the cluster's configuration says 1.36.2
running:
  description: The versions that the node runs. What is not known is null.
  returned: success
  type: dict
  sample:
    cluster: 1.37.0
    static_pods: {kube-apiserver: 1.37.0, kube-controller-manager: 1.37.0, kube-scheduler: 1.37.0}
    kubelet: 1.36.2
    kubelet_package: 1.36.2
    kubeadm: 1.37.0
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.upgrade import bring_to


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "raw"},
            "node_name": {"type": "str", "required": True},
            "control_plane": {"type": "bool", "default": False},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 240},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    node = Node(run=module.run_command)
    with module_errors(module), node.locked(timeout=parameters["timeout"]):
        result = bring_to(node=node, parameters=parameters, check_mode=module.check_mode)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
