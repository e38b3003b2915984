#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.failure_detection``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: failure_detection
short_description: Set how soon a running cluster notices that a node is lost
version_added: '0.1.0'
description:
  - Sets how often the kubelet of a node reports, or how long the control plane on it waits for reports and
    leaves pods on nodes that are lost.
  - The manifests of the static pods are changed one after the other. Each is waited for until it runs with
    its new flags and answers; one that does not is put back, and the module fails.
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
  component:
    description: What to change, the V(kubelet) of the node or the V(control_plane) on it.
    type: str
    choices: [kubelet, control_plane]
    required: true
  detection:
    description:
      - V(default) for what Kubernetes does by itself, V(demo) for a service that is back within half a
        minute.
      - Or all of C(node_monitor_period), C(node_monitor_grace_period), C(node_status_update_frequency) and
        C(eviction), in seconds.
    type: raw
    required: true
  only_sooner:
    description: Whether to leave a kubelet alone that reports as often as that, or more often.
    type: bool
    default: false
  timeout:
    description: How long to wait for each part to answer again, in seconds.
    type: int
    default: 180
"""

EXAMPLES = r"""
- name: Configure the kubelet to report more often
  bramble.pi.failure_detection:
    component: kubelet
    detection: demo

- name: Take a node for lost after 41 seconds, and its pods away after a minute more
  bramble.pi.failure_detection:
    component: control_plane
    detection:
      node_monitor_period: 5
      node_monitor_grace_period: 41
      node_status_update_frequency: 8
      eviction: 60
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [change /etc/kubernetes/manifests/kube-apiserver.yaml]
restart_required:
  description: Whether the kubelet would be restarted, as nothing is changed in check mode.
  returned: success, for the kubelet
  type: bool
  sample: true
expected:
  description: What to expect when a node is lost, in words.
  returned: success, for the control plane
  type: str
  sample: A node that is lost is NotReady after 10 to 16 s
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.apply_failure_detection import (
    LEAST_TIMEOUT,
    FailureDetection,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "component": {"type": "str", "choices": ["kubelet", "control_plane"], "required": True},
            "detection": {"type": "raw", "required": True},
            "only_sooner": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": LEAST_TIMEOUT},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    changes = Changes(check_mode=module.check_mode)
    result: dict[str, Any] = {}
    with module_errors(module, result=changes.result):
        work = FailureDetection(
            detection=failure_detection.parse(module.params["detection"]),
            run=module.run_command,
            changes=changes,
            timeout=module.params["timeout"],
        )
        if module.params["component"] == "kubelet":
            work.kubelet(only_sooner=module.params["only_sooner"])
            result["restart_required"] = module.check_mode and bool(changes)
        else:
            result["expected"] = work.control_plane()
    module.exit_json(**changes.result(), **result)


if __name__ == "__main__":
    main()
