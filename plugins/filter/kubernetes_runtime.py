# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.kubernetes_runtime."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import compatibility

DOCUMENTATION = r"""
name: kubernetes_runtime
short_description: Choose the container runtime for a Kubernetes version
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns the runtime that kubelet is to use, or fails if the one asked for cannot serve that version.
positional: _input, runtime
options:
  _input:
    description: Kubernetes version, such as V("1.36") or V("1.36.1").
    type: str
    required: true
  runtime:
    description: The runtime asked for; V(auto) takes V(dockershim) up to 1.23 and V(containerd) from 1.24 on.
    type: str
    choices: [auto, containerd, cri_dockerd, dockershim]
    default: auto
"""

EXAMPLES = r"""
- name: Show the runtime that fits
  ansible.builtin.debug:
    msg: "{{ '1.36' | bramble.pi.kubernetes_runtime }}" # containerd
"""

RETURN = r"""
_value:
  description: One of V(containerd), V(cri_dockerd), V(dockershim).
  type: str
  sample: containerd
"""


def kubernetes_runtime(version: object, runtime: str = "auto") -> str:
    """Choose or check the runtime."""
    try:
        return compatibility.kubernetes_runtime(version=compatibility.parse_version(version), runtime=runtime)
    except compatibility.CompatibilityError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"kubernetes_runtime": kubernetes_runtime}
