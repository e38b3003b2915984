# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.doctor_report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.hosts import RACK_GROUPS
from ansible_collections.bramble.pi.plugins.plugin_utils._report import report as report_report

DOCUMENTATION = r"""
name: doctor_report
short_description: Say what is wrong with a rack
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Brings together what M(bramble.pi.doctor) said of each host, and judges what no node can see alone,
    such as a machine-id that two nodes have.
positional: _input, groups, hosts
options:
  _input:
    description: The variable C(hostvars).
    type: dict
    required: true
  groups:
    description: The variable C(groups).
    type: dict
    required: true
  hosts:
    description: The hosts that were examined, by their names in the inventory.
    type: list
    elements: str
    required: true
  results:
    description: The variable in which each host has the module's result.
    type: str
    required: true
  fail_on:
    description: From which severity on a finding counts as a failure; V(never) for none.
    type: str
    choices: [error, warning, info, never]
    default: error
  receipts:
    description: The folder with the receipts of the nodes' cards; empty to leave them out.
    type: str
    default: ''
  inventory:
    description: The inventory, as the commands that mend something name it.
    type: str
    default: my-rack
"""

EXAMPLES = r"""
- name: Look for faults
  bramble.pi.doctor:
  register: seen

- name: Show them
  ansible.builtin.debug:
    msg: "{{ (hostvars | bramble.pi.doctor_report(groups, ansible_play_hosts, results='seen')).table }}"
"""

RETURN = r"""
_value:
  description: The report.
  type: dict
  contains:
    nodes:
      description: What was seen of each host and what is wrong there, in the order of the inventory.
      type: list
      elements: dict
      sample: [{host: pi-1, state: ready, findings: []}]
    counts:
      description: How many findings there are of each severity.
      type: dict
      sample: {error: 1, warning: 0, info: 0}
    failing:
      description: How many of them count as a failure.
      type: int
      sample: 1
    table:
      description: Lines for people, errors first.
      type: list
      elements: str
      sample: ['3 nodes examined: nothing is wrong']
"""


def _receipts(*, folder: str, hosts: Sequence[str]) -> dict[str, dict[str, Any]]:
    receipts = {}
    for host in hosts:
        path = Path(folder).expanduser() / f"{host}.json"
        try:
            receipt = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(receipt, dict):
            receipts[host] = receipt
    return receipts


def _role(host: str, groups: Mapping[str, Sequence[str]]) -> str:
    if host in groups.get("control_plane", ()):
        return "control plane"
    return "worker" if host in groups.get("workers", ()) else report_report.HEAD


def doctor_report(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    hosts: Sequence[str],
    *,
    results: str,
    fail_on: str = "error",
    receipts: str = "",
    inventory: str = "my-rack",
) -> dict[str, Any]:
    """Make the report."""
    rack = [host for group in RACK_GROUPS for host in groups.get(group, ())]
    ordered = [host for host in dict.fromkeys([*rack, *hosts]) if host in hosts]
    report = report_report.judge(
        results={host: hostvars[host].get(results, {}) for host in ordered},
        roles={host: _role(host, groups) for host in ordered},
        addresses={host: str(hostvars[host].get("ansible_host", host)) for host in ordered},
        receipts=_receipts(folder=receipts, hosts=ordered) if receipts else {},
        inventory=inventory,
    )
    return {
        **report,
        "failing": report_report.failing(counts=report["counts"], fail_on=fail_on),
        "table": report_report.table(report=report),
    }


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"doctor_report": doctor_report}
