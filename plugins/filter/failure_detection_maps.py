# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.failure_detection_maps."""

from __future__ import annotations

import re
from typing import Any, Callable

import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection

DOCUMENTATION = r"""
name: failure_detection_maps
short_description: Have kubeadm remember how soon a cluster is to notice that a node is lost
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Takes the ConfigMaps of the namespace kube-system, and returns those of kubeadm that have to be changed,
    with nothing but what has to be changed in them.
  - kubeadm gives them to nodes that join, and reads them when it upgrades.
options:
  _input:
    description: The ConfigMaps, as C(kubectl get configmaps --output json) gives its items.
    type: list
    elements: dict
    required: true
  detection:
    description: V(default), V(demo), or a mapping, as for P(bramble.pi.failure_detection#filter).
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show what kubeadm has to be told
  ansible.builtin.debug:
    msg: "{{ (found.stdout | from_json)['items'] | bramble.pi.failure_detection_maps('demo') }}"
"""

RETURN = r"""
_value:
  description: The ConfigMaps to apply.
  type: list
  elements: dict
  sample:
    - apiVersion: v1
      kind: ConfigMap
      metadata: {name: kubelet-config, namespace: kube-system}
      data: {kubelet: "kind: KubeletConfiguration\n..."}
"""

# Up to 1.23 there was one for each version: kubelet-config-1.20.
_PARTS = (
    (re.compile(r"kubeadm-config"), "ClusterConfiguration", failure_detection.in_cluster_configuration),
    (re.compile(r"kubelet-config(-1\.\d+)?"), "kubelet", failure_detection.in_kubelet_configuration),
)


def failure_detection_maps(config_maps: list[dict[str, Any]], detection: Any) -> list[dict[str, Any]]:
    """Return what has to be changed in kubeadm's ConfigMaps."""
    try:
        wanted = failure_detection.parse(detection)
    except failure_detection.FailureDetectionError as error:
        raise AnsibleFilterError(str(error)) from error
    changed = []
    for config_map in config_maps:
        for pattern, key, change in _PARTS:
            if not pattern.fullmatch(config_map["metadata"]["name"]) or key not in config_map.get("data", {}):
                continue
            before = yaml.safe_load(config_map["data"][key])
            after = change(before, wanted)
            if after != before:
                metadata = {name: config_map["metadata"][name] for name in ("name", "namespace")}
                data = {key: yaml.safe_dump(after, default_flow_style=False)}
                changed.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return changed


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"failure_detection_maps": failure_detection_maps}
