#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.pod_routes``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pod_routes
short_description: Connect the pods of nodes on one switch by plain routes
version_added: '0.1.0'
description:
  - Gives a node what its pods need to reach those of the other nodes without a daemon. That is a CNI
    configuration (bridge, host-local and portmap), a route to each other node's share of the pod network,
    and rules that let the pods' packets through and give them the node's address where they leave the
    pod network.
  - A systemd unit puts routes and rules back at every boot.
  - The nodes have to be on one switch, because each is the others' gateway.
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
  state:
    description: Whether the node shall have them, or nothing of them.
    type: str
    choices: [present, absent]
    default: present
  node:
    description: Name of this node in the cluster, such as V(pi-2). Required for O(state=present).
    type: str
  cluster_cidr:
    description: Network of all pods, such as V(10.244.0.0/16). Required for O(state=present).
    type: str
  nodes:
    description: All nodes of the cluster, this one among them. Required for O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the node, such as V(pi-1).
        type: str
        required: true
      pod_cidr:
        description: The node's share of the pod network, such as V(10.244.0.0/24).
        type: str
        required: true
      address:
        description: Address of the node, such as V(192.168.1.11).
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Connect the pods of two nodes
  bramble.pi.pod_routes:
    node: "{{ inventory_hostname }}"
    cluster_cidr: 10.244.0.0/16
    nodes:
      - name: pi-1
        pod_cidr: 10.244.0.0/24
        address: 192.168.1.11
      - name: pi-2
        pod_cidr: 10.244.1.0/24
        address: 192.168.1.12

- name: Take routes, rules and the unit away
  bramble.pi.pod_routes:
    state: absent
"""

RETURN = r"""
routes:
  description: The routes that the node has to have, by destination.
  returned: success
  type: dict
  sample: {10.244.1.0/24: 192.168.1.12}
changes:
  description: What was put right (in check mode, what would be), one sentence each.
  returned: success
  type: list
  elements: str
  sample: [write /etc/cni/net.d/10-bramble.conflist, 'add the route to 10.244.1.0/24 via 192.168.1.12']
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import pod_routes

_MODES = {pod_routes.CONFLIST: 0o644, pod_routes.SCRIPT: 0o755, pod_routes.UNIT: 0o644}


def _printed_rules(module: AnsibleModule) -> dict[tuple[str, str], str]:
    """Return what the kernel has in the chains concerned; a chain that is not there prints nothing."""
    chains = [(table, chain) for table, pair in pod_routes.JUMPS.items() for chain in pair]
    return {
        (table, chain): module.run_command(["iptables", "-w", "-t", table, "-S", chain])[1]
        for table, chain in chains
    }


def _routes(module: AnsibleModule) -> dict[str, str]:
    command = ["ip", "-4", "route", "show", "proto", pod_routes.ROUTE_PROTOCOL]
    return pod_routes.parse_routes(module.run_command(command, check_rc=True)[1])


def _unit_is_on(module: AnsibleModule) -> bool:
    """Return whether the unit runs now and at each boot."""
    commands = (["systemctl", verb, "--quiet", pod_routes.UNIT_NAME] for verb in ("is-enabled", "is-active"))
    return all(module.run_command(command)[0] == 0 for command in commands)


def _diff(before: dict[str, str | None], after: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"before_header": path, "after_header": path, "before": before[path] or "", "after": text}
        for path, text in after.items()
        if before[path] != text
    ]


def _missing(module: AnsibleModule, plan: pod_routes.Plan) -> list[str]:
    """Compare what the kernel and systemd have with the plan."""
    routes = _routes(module)
    changes = [
        f"add the route to {cidr} via {address}"
        for cidr, address in plan.routes.items()
        if routes.get(cidr) != address
    ]
    changes += [f"remove the route to {cidr}" for cidr in routes if cidr not in plan.routes]
    rules = pod_routes.missing_rules(plan=plan, printed=_printed_rules(module))
    changes += [f"add the rule {rule}" for rule in rules]
    if not _unit_is_on(module):
        changes.append(f"enable and start {pod_routes.UNIT_NAME}")
    return changes


def _apply(module: AnsibleModule, plan: pod_routes.Plan) -> None:
    # Not through systemd, so that what iptables and ip say of a fault is at hand.
    code, _output, error = module.run_command([pod_routes.SCRIPT, "start"])
    if code != 0:
        raise pod_routes.PodNetworkError(
            f"{pod_routes.SCRIPT} failed: {error.strip()}. The nodes have to reach each other "
            f"({', '.join(plan.routes.values())}) without a router in between; where they do not, set "
            "pod_network_plugin: flannel"
        )
    module.run_command(["systemctl", "daemon-reload"], check_rc=True)
    module.run_command(["systemctl", "enable", "--now", pod_routes.UNIT_NAME], check_rc=True)


def present(module: AnsibleModule) -> dict[str, Any]:
    """Put CNI configuration, routes and rules in place."""
    plan = pod_routes.make_plan(
        node=module.params["node"],
        nodes=[pod_routes.Node(**node) for node in module.params["nodes"]],
        cluster_cidr=module.params["cluster_cidr"],
    )
    wanted = {
        pod_routes.CONFLIST: pod_routes.conflist(plan),
        pod_routes.SCRIPT: pod_routes.script(plan),
        pod_routes.UNIT: pod_routes.unit(),
    }
    before = {path: read_text(path) for path in wanted}
    stale = [path for path in wanted if before[path] != wanted[path]]
    changes = [f"write {path}" for path in stale] + _missing(module, plan)
    if changes and not module.check_mode:
        for path in stale:
            write_text(path, wanted[path], mode=_MODES[path])
        _apply(module, plan)
    return {
        "changed": bool(changes),
        "changes": changes,
        "routes": plan.routes,
        "diff": _diff(before, wanted),
    }


def absent(module: AnsibleModule) -> dict[str, Any]:
    """Take everything away again."""
    before = {path: read_text(path) for path in _MODES}
    there = [path for path, text in before.items() if text is not None]
    if there and not module.check_mode:
        if pod_routes.UNIT in there:
            module.run_command(["systemctl", "disable", "--now", pod_routes.UNIT_NAME], check_rc=True)
        if pod_routes.SCRIPT in there:
            module.run_command([pod_routes.SCRIPT, "stop"], check_rc=True)
        for path in there:
            os.unlink(path)
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)
    return {
        "changed": bool(there),
        "changes": [f"remove {path}" for path in there],
        "routes": {},
        "diff": _diff(before, dict.fromkeys(there, "")),
    }


def main() -> None:
    """Run the module."""
    node = {
        "name": {"type": "str", "required": True},
        "pod_cidr": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "node": {"type": "str"},
            "cluster_cidr": {"type": "str"},
            "nodes": {"type": "list", "elements": "dict", "options": node},
        },
        required_if=[("state", "present", ("node", "cluster_cidr", "nodes"))],
        supports_check_mode=True,
    )
    try:
        result = present(module) if module.params["state"] == "present" else absent(module)
    except pod_routes.PodNetworkError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
