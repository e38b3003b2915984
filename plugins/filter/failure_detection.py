# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.failure_detection."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import (
    failure_detection as kubernetes_failure_detection,
)

DOCUMENTATION = r"""
name: failure_detection
short_description: Say how soon a cluster is to notice that a node is lost
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns what kubeadm and the kubelets are told.
options:
  _input:
    description: V(default), V(demo), or a mapping of node_monitor_period, node_monitor_grace_period,
      node_status_update_frequency and eviction, in seconds.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show what a demonstration takes
  ansible.builtin.debug:
    msg: "{{ 'demo' | bramble.pi.failure_detection }}"
"""

RETURN = r"""
_value:
  description: Parts of the ClusterConfiguration and the KubeletConfiguration; empty for what Kubernetes does
    by itself.
  type: dict
  sample:
    cluster_configuration:
      controllerManager: {extraArgs: {node-monitor-grace-period: 12s, node-monitor-period: 2s}}
      apiServer:
        extraArgs:
          default-not-ready-toleration-seconds: '3'
          default-unreachable-toleration-seconds: '3'
    kubelet_configuration: {nodeStatusUpdateFrequency: 2s, nodeStatusReportFrequency: 2s}
"""


def failure_detection(value: Any) -> dict[str, Any]:
    """Read the setting."""
    try:
        detection = kubernetes_failure_detection.parse(value)
    except kubernetes_failure_detection.FailureDetectionError as error:
        raise AnsibleFilterError(str(error)) from error
    return {
        "cluster_configuration": kubernetes_failure_detection.in_cluster_configuration({}, detection),
        "kubelet_configuration": kubernetes_failure_detection.in_kubelet_configuration({}, detection),
    }


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"failure_detection": failure_detection}
