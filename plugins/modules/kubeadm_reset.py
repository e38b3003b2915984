#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove Kubernetes from a node, with all that kubeadm reset leaves behind."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_reset
short_description: Remove Kubernetes from a node, with all that kubeadm reset leaves behind
version_added: 0.1.0
description:
  - Runs C(kubeadm reset), and then removes what it leaves behind. On a control plane this removes the data
    of the cluster.
  - The packet filter rules of kube-proxy, of the CNI plugins and of flannel are removed one by one, from
    both backends of iptables and from nftables; all others are left alone.
  - Packages, images and the settings of the container runtime stay.
extends_documentation_fragment: [bramble.pi.attributes]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  cri_socket:
    description: Socket of the container runtime, such as V(unix:///run/containerd/containerd.sock), for a
      node whose kubelet was not given one yet; else the kubelet's own counts. By default kubeadm looks for
      one.
    type: str
  clean_up:
    description: Whether to remove what C(kubeadm reset) leaves behind.
    type: bool
    default: true
  cni_configurations:
    description: Files in C(/etc/cni/net.d) to remove, as patterns of the shell. Others there are left alone.
    type: list
    elements: str
    default: ['*flannel*', '*bramble*']
  kubeconfigs:
    description: Kubeconfigs of users to remove. Those in which there is more than kubeadm writes for this
      cluster are left alone, and so are, with a warning, links that a user has put there and what is no
      regular file.
    type: list
    elements: path
    default: [/root/.kube/config]
  timeout:
    description: Seconds to wait for a run of kubeadm that is still going on.
    type: int
    default: 240
author:
  - bramble.pi contributors (@bramble-pi)
"""

EXAMPLES = r"""
- name: Remove Kubernetes from this node
  bramble.pi.kubeadm_reset:
    kubeconfigs: [/root/.kube/config, /home/pi/.kube/config]
"""

RETURN = r"""
removed:
  description: What was removed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [kubeadm's files and containers, /etc/cni/net.d/10-flannel.conflist, link cni0]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.reset import reset_node


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "cri_socket": {"type": "str"},
            "clean_up": {"type": "bool", "default": True},
            "cni_configurations": {"type": "list", "elements": "str", "default": ["*flannel*", "*bramble*"]},
            "kubeconfigs": {"type": "list", "elements": "path", "default": ["/root/.kube/config"]},
            "timeout": {"type": "int", "default": 240},
        },
        supports_check_mode=True,
    )
    node = Node(run=module.run_command)
    changes = Changes(check_mode=module.check_mode)
    parameters = module.params
    with module_errors(module), node.locked(timeout=parameters["timeout"]):
        reset_node(
            node=node,
            changes=changes,
            warn=module.warn,
            cri_socket=parameters["cri_socket"],
            clean_up=parameters["clean_up"],
            cni_configurations=parameters["cni_configurations"],
            kubeconfigs=parameters["kubeconfigs"],
        )
    module.exit_json(changed=bool(changes), removed=changes.sentences)


if __name__ == "__main__":
    main()
