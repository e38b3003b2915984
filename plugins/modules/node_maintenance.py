#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.node_maintenance``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_maintenance
short_description: Take a node of a running cluster out of use, and give it back
version_added: '0.1.0'
description:
  - Runs on a control plane. With O(state=drained) it cordons the node and has its pods go elsewhere, by
    C(kubectl drain). With O(state=available) it waits until the node and the pods that belong there are
    Ready, and then lets pods be scheduled on it again.
  - Which pods cannot go is found out before anything is touched, and each is named with what it would
    take. A budget that only now allows no pod to go is waited for.
  - A node that is not Ready is cordoned and not drained, as nobody there would end its pods. Nor is the only
    node of a cluster, whose pods can go nowhere and are started again there.
  - A node is refused while another one is not back, that is, was Ready before a run drained it and is not
    now.
  - A node that its user has cordoned stays cordoned. What was so before is written on the Node, as the
    annotation C(bramble.pi/maintenance), so that this holds after a run that was killed as well.
  - A control plane is refused while etcd would lose its majority without it. One or two control planes lose
    it whenever one of them is away; these are not refused.
  - A node that the cluster does not know, as somebody has deleted it there, is left as it is.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details:
      - Tells what would become of each pod, and fails where one cannot go.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  node:
    description: The name of the node in the cluster, such as V(pi-2).
    type: str
    required: true
  state:
    description: Whether it is to be without pods that could be elsewhere, or in use again.
    type: str
    choices: [drained, available]
    required: true
  timeout:
    description:
      - How long to wait until the pods are gone, or until the node is back, in seconds. If they are not gone
        by then, the node takes pods again as before, and the module fails.
    type: int
    default: 300
  delete_bare_pods:
    description: Whether pods without a controller, which nobody makes again, may be deleted.
    type: bool
    default: false
  delete_emptydir_data:
    description: Whether the data in pods' emptyDir volumes may be lost.
    type: bool
    default: false
  drain:
    description:
      - Whether pods are to go elsewhere. If not, the node is neither cordoned nor drained, and those of its
        pods that were Ready are waited for with O(state=available), as where its kubelet alone is restarted.
    type: bool
    default: true
  boot_id:
    description:
      - What C(/proc/sys/kernel/random/boot_id) of the node says now. With O(state=available), what its
        kubelet told before that boot does not count, nor do containers that ran before it.
    type: str
    default: ''
  work:
    description:
      - What is due on the node, such as a role, which is noted on the Node. With O(state=available), a node
        that another work has begun to change is not waited for, as that may be what brings it back.
    type: str
    default: ''
  kubelet_started:
    description:
      - What C(systemctl show --property=ExecMainStartTimestamp kubelet) prints on the node, with C(TZ=UTC).
        With O(state=available), what its kubelet told before that does not count.
    type: str
    default: ''
  kubeconfig:
    description: The kubeconfig to use, on this host.
    type: path
    default: /etc/kubernetes/admin.conf
seealso:
  - name: Safely Drain a Node
    description: What Kubernetes says of draining and of PodDisruptionBudgets.
    link: https://kubernetes.io/docs/tasks/administer-cluster/safely-drain-node/
"""

EXAMPLES = r"""
- name: Drain the node
  bramble.pi.node_maintenance:
    node: pi-2
    state: drained
  delegate_to: pi-1

- name: Show what would become of its pods
  bramble.pi.node_maintenance:
    node: pi-2
    state: drained
  delegate_to: pi-1
  check_mode: true

- name: Give the node back
  bramble.pi.node_maintenance:
    node: pi-2
    state: available
    boot_id: "{{ boot_id.content | b64decode | trim }}"
  delegate_to: pi-1
"""

RETURN = r"""
in_use:
  description:
    - That the node, which was not drained, takes pods as before. Where it is missing the module failed before
      it knew, as where the API server went away, and the node may be cordoned.
  returned: failure, and where the cluster does not know the node, with O(state=drained)
  type: bool
  sample: true
left:
  description: Whether the node is not back and stays cordoned, as another O(work) is to bring it back.
  returned: success, with O(state=available)
  type: bool
  sample: false
known:
  description: Whether the cluster knows the node.
  returned: success, with O(state=drained)
  type: bool
  sample: true
pods:
  description: What becomes of each pod of the node.
  returned: success, with O(state=drained)
  type: list
  elements: dict
  contains:
    pod:
      description: Its namespace and name.
      returned: success
      type: str
      sample: default/web-5d8f7c9b6-x2x7p
    action:
      description: Whether it V(goes) or V(stays); in check mode it may be that it V(waits) for its budget.
      returned: success
      type: str
      sample: goes
    reason:
      description: Why.
      returned: success
      type: str
      sample: Deployment web makes it elsewhere
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.drain import Consent
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.maintenance import (
    Maintenance,
    MaintenanceError,
    Restart,
    started,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["drained", "available"], "required": True},
            "timeout": {"type": "int", "default": 300},
            "delete_bare_pods": {"type": "bool", "default": False},
            "delete_emptydir_data": {"type": "bool", "default": False},
            "drain": {"type": "bool", "default": True},
            "work": {"type": "str", "default": ""},
            "boot_id": {"type": "str", "default": ""},
            "kubelet_started": {"type": "str", "default": ""},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
        },
        supports_check_mode=True,
    )
    given = module.params
    maintenance = Maintenance(
        run=module.run_command,
        node=given["node"],
        kubeconfig=given["kubeconfig"],
        timeout=given["timeout"],
        consent=Consent(bare_pods=given["delete_bare_pods"], emptydir_data=given["delete_emptydir_data"]),
        drains=given["drain"],
        work=given["work"],
        restart=Restart(boot_id=given["boot_id"], kubelet_started=started(given["kubelet_started"])),
    )
    with module_errors(module):
        if given["state"] == "available":
            changed = maintenance.end(check_mode=module.check_mode)
            if changed is None:
                module.warn(
                    f"{given['node']} is not back and stays cordoned, as another role has begun to work on it"
                    "; expected that one to bring it back"
                )
            module.exit_json(changed=bool(changed), left=changed is None)
        try:
            begun = maintenance.begin(check_mode=module.check_mode)
        except MaintenanceError as error:
            # After any other error nobody knows.
            module.fail_json(msg=str(error), in_use=True)
    if begun is None:
        module.exit_json(changed=False, known=False, in_use=True, pods=[])
        return
    changed, verdicts = begun
    pods = [{"pod": each.pod, "action": each.action.value, "reason": each.reason} for each in verdicts]
    module.exit_json(changed=changed, known=True, pods=pods)


if __name__ == "__main__":
    main()
