# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm's ConfigMaps, by which it remembers how soon a cluster is to notice that a node is lost."""

from __future__ import annotations

import re
from typing import Any

import yaml
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection

# Up to 1.23 there was one for each version: kubelet-config-1.20.
_PARTS = (
    (re.compile(r"kubeadm-config"), "ClusterConfiguration", failure_detection.in_cluster_configuration),
    (re.compile(r"kubelet-config(-1\.\d+)?"), "kubelet", failure_detection.in_kubelet_configuration),
)


def changed_maps(config_maps: list[dict[str, Any]], detection: Any) -> list[dict[str, Any]]:
    """Return what has to be changed in kubeadm's ConfigMaps."""
    expected = failure_detection.parse(detection)
    changed = []
    for config_map in config_maps:
        for pattern, key, change in _PARTS:
            if not pattern.fullmatch(config_map["metadata"]["name"]) or key not in config_map.get("data", {}):
                continue
            before = yaml.safe_load(config_map["data"][key])
            after = change(before, expected)
            if after != before:
                metadata = {name: config_map["metadata"][name] for name in ("name", "namespace")}
                data = {key: yaml.safe_dump(after, default_flow_style=False)}
                changed.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return changed
