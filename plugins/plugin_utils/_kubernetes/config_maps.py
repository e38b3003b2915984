# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm's ConfigMaps, by which it remembers what nodes that join and upgrades are to have."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import encryption
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import failure_detection

_CLUSTER = (re.compile(r"kubeadm-config"), "ClusterConfiguration")
# Up to 1.23 there was one for each version: kubelet-config-1.20.
_KUBELET = (re.compile(r"kubelet-config(-1\.\d+)?"), "kubelet")

#: What is changed in the document of a ConfigMap of that name, under that key.
_Change = tuple[tuple[re.Pattern[str], str], Callable[[dict[str, Any]], dict[str, Any]]]


def with_failure_detection(config_maps: list[dict[str, Any]], detection: Any) -> list[dict[str, Any]]:
    """Return what has to be changed for a cluster that is to notice so soon that a node is lost."""
    expected = failure_detection.parse(detection)
    return _changed(
        config_maps,
        (
            (_CLUSTER, lambda document: failure_detection.in_cluster_configuration(document, expected)),
            (_KUBELET, lambda document: failure_detection.in_kubelet_configuration(document, expected)),
        ),
    )


def with_encryption(config_maps: list[dict[str, Any]], *, encrypted: bool) -> list[dict[str, Any]]:
    """Return what has to be changed for API servers that are told of keys, or not."""
    return _changed(
        config_maps,
        ((_CLUSTER, lambda document: encryption.in_cluster_configuration(document, encrypted=encrypted)),),
    )


def _changed(config_maps: list[dict[str, Any]], parts: Sequence[_Change]) -> list[dict[str, Any]]:
    changed = []
    for config_map in config_maps:
        for (pattern, key), change in parts:
            if not pattern.fullmatch(config_map["metadata"]["name"]) or key not in config_map.get("data", {}):
                continue
            before = yaml.safe_load(config_map["data"][key])
            after = change(before)
            if after != before:
                metadata = {name: config_map["metadata"][name] for name in ("name", "namespace")}
                data = {key: yaml.safe_dump(after, default_flow_style=False)}
                changed.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return changed
