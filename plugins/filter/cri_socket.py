# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.cri_socket."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import compatibility

DOCUMENTATION = r"""
name: cri_socket
short_description: Find the socket of the container runtime for a Kubernetes version
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns the socket by which kubelet and kubeadm reach the runtime, in the form that kubeadm wants.
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
- name: Show where the runtime listens
  ansible.builtin.debug:
    msg: "{{ '1.36' | bramble.pi.cri_socket('cri_dockerd') }}" # unix:///var/run/cri-dockerd.sock
"""

RETURN = r"""
_value:
  description: The socket.
  type: str
  sample: unix:///run/containerd/containerd.sock
"""


def cri_socket(version: object, runtime: str = "auto") -> str:
    """Find the socket."""
    try:
        parsed = compatibility.parse_version(version)
        return RUNTIMES[compatibility.kubernetes_runtime(version=parsed, runtime=runtime)].socket
    except compatibility.CompatibilityError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"cri_socket": cri_socket}
