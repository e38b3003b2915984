#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.monitoring_day``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_day
short_description: Ask Prometheus how the nodes were in the last day
version_added: '0.1.0'
description:
  - Runs on the host of Prometheus, and asks it how warm the nodes were, which were away, which were slowed
    down or had too little voltage, and which alerts were firing.
  - A day is 288 steps of five minutes. The value of a step is the highest within it, and there is none where
    nothing is known.
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
  url:
    description: Where Prometheus listens, as seen from its host.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Ask how the nodes were
  bramble.pi.monitoring_day:
    url: http://127.0.0.1:9090
  register: seen

- name: Show who was away
  ansible.builtin.debug:
    msg: "{{ seen.nodes | dict2items | selectattr('value.away') | map(attribute='key') }}"
"""

RETURN = r"""
start:
  description: When the day began, in seconds since 1970.
  returned: success
  type: int
  sample: 1796000100
step:
  description: How long a step is, in seconds.
  returned: success
  type: int
  sample: 300
nodes:
  description:
    - How each node was, by its name.
    - A list of two numbers is a time; it begins with the first of these steps, and ends before the last.
  returned: success
  type: dict
  contains:
    temperature:
      description: The processor's temperature in each step, in degrees Celsius; null where none is known.
      returned: success
      type: list
      elements: float
      sample: [48.3, null, 49.1]
    away:
      description: When the node did not answer.
      returned: success
      type: list
      elements: list
      sample: [[12, 14]]
    unwatched:
      description: When nobody asked it, as Prometheus did not run or did not know it.
      returned: success
      type: list
      elements: list
      sample: [[0, 3]]
    throttled:
      description: When the firmware reported a reason to slow down, by that reason.
      returned: success
      type: dict
      sample: {undervoltage: [[100, 101]]}
alerts:
  description: The alerts that were firing.
  returned: success
  type: list
  elements: dict
  contains:
    alert:
      description: Its name.
      returned: success
      type: str
      sample: NodeDown
    severity:
      description: How bad it is.
      returned: success
      type: str
      sample: error
    node:
      description: The node's name; empty for what is of no node.
      returned: success
      type: str
      sample: pi-2
    firing:
      description: When it was firing.
      returned: success
      type: list
      elements: list
      sample: [[13, 14]]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._monitoring.ask import ask_for_the_day


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"url": {"type": "str", "required": True}}, supports_check_mode=True)
    found: dict[str, Any] = {}
    with module_errors(module):
        found = ask_for_the_day(module.params["url"])
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
