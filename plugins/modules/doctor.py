#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.doctor``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: doctor
short_description: Show what is wrong with a node, and how to fix it
version_added: '0.1.0'
description:
  - Looks at what makes clusters of Raspberry Pis fail - power, heat, card, memory, clock, kernel, container
    runtime, kubelet, certificates - and names each fault with what was seen, what is expected and how to fix
    it.
  - Works before and after a node is part of a cluster; of a cluster it asks how it sees the node.
  - Changes nothing. With O(fsync) it writes to a file without a name, which is gone when the module ends,
    however it ends; not in check mode.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  name:
    description: The node's name in the inventory, for the commands that fix something, such as V(pi-2).
    type: str
  swap:
    description: Whether swap is to be V(off), or V(keep) if it is allowed.
    type: str
    choices: ['off', keep]
    default: 'off'
  time_sync:
    description: Whether the clock has to be synchronised.
    type: bool
    default: true
  pod_network:
    description: How pods reach each other, such as V(flannel), which needs vxlan.
    type: str
    default: flannel
  control_plane:
    description: Whether the node is, or is to be, a control plane, which needs more memory.
    type: bool
    default: false
  encrypt_secrets:
    description: Whether the cluster is to encrypt secrets in etcd, see M(bramble.pi.secrets_encryption).
    type: bool
    default: false
  certificate_days:
    description: How many days before its end a certificate is reported.
    type: int
    default: 30
  backup_days:
    description: How many days old the last proved backup of a control plane may be.
    type: int
    default: 2
  sandbox_image:
    description: The image that containerd was told to make pods' sandboxes of; without it any will do.
    type: str
  cni_bin_dir:
    description: The folder in which containerd was told to look for CNI plugins.
    type: path
    default: /opt/cni/bin
  controller_time:
    description: The controller's time in seconds since 1970; the node's clock is compared with it.
    type: float
  fsync:
    description:
      - Whether to measure how quickly the disk keeps what is written, beside etcd's data.
      - At most 200 writes of 2300 bytes, as etcd makes them, in at most 5 seconds.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Examine the node
  bramble.pi.doctor:
  register: doctor

- name: Fail on a weak power supply
  ansible.builtin.assert:
    that: doctor.findings | selectattr('check', 'equalto', 'undervoltage') | length == 0

- name: Measure the card of a control plane
  bramble.pi.doctor:
    control_plane: true
    fsync: true
"""

RETURN = r"""
findings:
  description: What is wrong, the worst first.
  returned: success
  type: list
  elements: dict
  contains:
    check:
      description: The sort of fault; docs/doctor.md lists all.
      type: str
      returned: always
      sample: swap
    severity:
      description: V(error), V(warning) or V(info).
      type: str
      returned: always
      sample: error
    evidence:
      description: The value seen.
      type: str
      returned: always
      sample: 'swap is on: /var/swap'
    expected:
      description: The value expected.
      type: str
      returned: always
      sample: no swap (os_prep_swap)
    remedy:
      description: The command or variable that fixes it.
      type: str
      returned: always
      sample: ansible-playbook -i INVENTORY bramble.pi.site --tags os_prep --limit pi-2
    labels:
      description: What tells it from others of its sort, such as C(path) or C(unit); mostly empty.
      type: dict
      returned: always
      sample: {path: /var}
node:
  description:
    - What was seen - the facts of M(bramble.pi.node_facts) and, beside them, C(model), C(uptime),
      C(temperature), C(throttled), C(page_size), C(memory), C(disks), C(certificates), C(units), C(cmdline),
      C(member) (how the cluster sees it), C(silent_components) (of a control plane), C(vip) (the address
      that the control planes hold together, whether keepalived runs, and whether this one has it), C(runtime)
      (whether it serves kubelet), C(kubelet_flags) (those that some minor does not know), C(encryption)
      (by which keys its API server encrypts secrets, without the keys), C(backup) (how the last backup went),
      C(renewal) (how the last renewal of certificates went) and C(fsync).
  returned: success
  type: dict
  sample: {hostname: pi-2, temperature: 48.3, throttled: 0}
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._node.examination import OPTIONS, examination


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "controller_time": {"type": "float"},
            "fsync": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    moment = module.params["controller_time"]
    with module_errors(module):
        node, findings = examination(
            module,
            options=module.params,
            measure_disk=module.params["fsync"] and not module.check_mode,
            now=None if moment is None else datetime.fromtimestamp(moment, timezone.utc),
        )
    module.exit_json(changed=False, findings=[each._asdict() for each in findings], node=node)


if __name__ == "__main__":
    main()
