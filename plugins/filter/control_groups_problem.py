# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.control_groups_problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import control_groups

DOCUMENTATION = r"""
name: control_groups_problem
short_description: Say which control groups a node lacks that the kubelet needs
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns a sentence with what was seen, what is expected and what fixes it, or nothing if none is missing.
positional: _input, edited, tokens
options:
  _input:
    description: What M(bramble.pi.node_facts#module) says of the control groups.
    type: dict
    required: true
  edited:
    description: The result of M(bramble.pi.kernel_cmdline#module), also if it was skipped.
    type: dict
    required: true
  tokens:
    description: The tokens that it was to put into the kernel command line.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Check that the control groups can be used
  ansible.builtin.assert:
    that: problem | length == 0
    fail_msg: "{{ problem }}"
  vars:
    problem: >-
      {{ ansible_facts['bramble']['cgroup']
         | bramble.pi.control_groups_problem(edited, ['cgroup_enable=memory']) }}
"""

RETURN = r"""
_value:
  description: The sentence; empty if none is missing.
  type: str
  sample: ''
"""


def control_groups_problem(
    cgroup: Mapping[str, Any], edited: Mapping[str, Any], tokens: Sequence[str]
) -> str:
    """Say which are missing."""
    return control_groups.problem(cgroup=cgroup, edited=edited, tokens=tokens)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"control_groups_problem": control_groups_problem}
