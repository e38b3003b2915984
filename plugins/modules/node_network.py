#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.node_network``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_network
short_description: Configure a node's static address, and revert it if the node cannot be reached there
version_added: '0.1.0'
description:
  - Sets IPv4 address, gateway, resolvers and search domains of an interface, through whatever manages it now.
  - Finds out what that is by what runs, not by which files lie about, and says so.
  - An interface that two managers claim is refused, with their names.
  - Only what concerns IPv4 is changed; the rest of a configuration (IPv6, MTU ...) stays.
  - An address that another machine on the link has is refused.
  - A change is tried first. The node makes it alone, detached from the connection that asked for it.
  - It takes the change back unless the controller has come back over the new path, with the same host key,
    within O(confirm_timeout), and the gateway answers on the link. A node that was switched off in between
    reverts it at its next boot.
  - cloud-init, where there is one, is told to leave the network alone.
notes:
  - The new address is entered into the known_hosts file that has the node's key, for the runs to come.
  - A node that is part of a Kubernetes cluster is not moved to another address.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  interface:
    description: The interface, such as V(eth0).
    type: str
    default: eth0
  address:
    description: The address with its prefix, such as V(192.168.1.11/24).
    type: str
    required: true
  gateway:
    description: The default gateway. Empty for none.
    type: str
    default: ""
  resolvers:
    description:
      - The name servers' addresses.
      - With an empty list the manager gets none. Resolvers that are kept apart from it are left alone.
    type: list
    elements: str
    default: []
  search:
    description: The search domains.
    type: list
    elements: str
    default: []
  manager:
    description:
      - What manages the interface.
      - V(auto) finds it. Anything else says which of several is to keep it, or which is to get an interface
        that nothing has configured yet.
    type: str
    choices: [auto, ifupdown, netplan, networkmanager, dhcpcd, networkd]
    default: auto
  confirm_timeout:
    description: Seconds that the controller has to come back, before the node takes the change back.
    type: int
    default: 90
  step:
    description:
      - What is done by the action plugin of the same name, which runs the module several times.
      - V(try) begins; V(confirm) and V(report) belong to what O(trial) names.
    type: str
    choices: [try, confirm, report]
    default: try
  trial:
    description: Identifier of a change that is being tried.
    type: str
"""

EXAMPLES = r"""
- name: Give the node its address
  bramble.pi.node_network:
    address: 192.168.1.11/24
    gateway: 192.168.1.1
    resolvers: [192.168.1.1, 8.8.8.8]
    search: [rack.example.org]

- name: Give the head its inner address
  bramble.pi.node_network:
    interface: eth0
    address: 10.0.0.1/24
"""

RETURN = r"""
manager:
  description: What manages the interface.
  returned: success
  type: str
  sample: netplan
why:
  description: How that is known.
  returned: success
  type: str
  sample: 'systemd-networkd: configured by /run/systemd/network/10-netplan-eth0.network'
resolver_keeper:
  description: What keeps the resolvers, if it is not the manager.
  returned: success
  type: str
  sample: openresolv
before:
  description: What the interface had.
  returned: success
  type: dict
  contains:
    addresses:
      description: Its addresses.
      returned: success
      type: list
      elements: str
      sample: [192.168.1.137/24]
    gateways:
      description: The default gateways that it has routes to.
      returned: success
      type: list
      elements: str
      sample: [192.168.1.1]
files:
  description: The files that were changed.
  returned: success
  type: list
  elements: str
  sample: [/etc/netplan/90-bramble.yaml, /etc/netplan/50-cloud-init.yaml]
reach_at:
  description: The address at which the node is reached from now on, if it is another one than before.
  returned: when the address was changed that the controller reaches the node by
  type: str
  sample: 192.168.1.11
trial:
  description: Identifier of the change, while it is being tried.
  returned: when the action plugin has to confirm
  type: str
  sample: 8d2c1f0e6b5a4d3c
state:
  description: What has become of a trial, for the action plugin.
  returned: with O(step=confirm) or O(step=report)
  type: str
  sample: confirmed
reason:
  description: Why it was not confirmed.
  returned: with O(step=confirm) or O(step=report)
  type: str
  sample: the gateway 192.168.1.254 does not answer on eth0
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node_files import kubernetes_state
from ansible_collections.bramble.pi.plugins.module_utils._network import detect, static_address, trial
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node


def _try(module: AnsibleModule, node: Node) -> dict[str, Any]:
    """Begin a change, unless there is nothing to do or this is check mode."""
    plan = static_address.make_plan(
        node=node,
        settings=trial.settings_of(node, module.params),
        manager=module.params["manager"],
        kubernetes=kubernetes_state(),
    )
    result = static_address.result(node=node, plan=plan)
    for warning in plan.warnings:
        module.warn(warning)
    if module.check_mode:
        return result
    trial.check_none(node)
    earlier = trial.read_record()
    if earlier is not None:
        module.warn(f"an earlier change of the network was reverted: {earlier}")
    if plan.changed:
        timeout = module.params["confirm_timeout"]
        result.update(static_address.start(node=node, plan=plan, parameters=module.params, timeout=timeout))
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "default": "eth0"},
            "address": {"type": "str", "required": True},
            "gateway": {"type": "str", "default": ""},
            "resolvers": {"type": "list", "elements": "str", "default": []},
            "search": {"type": "list", "elements": "str", "default": []},
            "manager": {"type": "str", "choices": ["auto", *detect.MANAGERS], "default": "auto"},
            "confirm_timeout": {"type": "int", "default": 90},
            "step": {"type": "str", "choices": ["try", "confirm", "report"], "default": "try"},
            "trial": {"type": "str"},
        },
        required_if=[("step", "confirm", ("trial",)), ("step", "report", ("trial",))],
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C"}
    node = Node(run=module.run_command, has=lambda program: module.get_bin_path(program) is not None)
    with module_errors(module, remedy="expected to read and change the node's configuration as root"):
        if module.params["step"] == "confirm":
            result = trial.confirm(node, module.params["trial"])
        elif module.params["step"] == "report":
            result = trial.report(module.params["trial"])
        else:
            result = _try(module, node)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
