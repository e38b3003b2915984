# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings of what pods reach each other by; the role os_prep tells them before there is a pod."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._node.findings import ERROR, Finding, finding

#: Where runtimes look for the pod network; they take the first file by name.
CNI_FOLDER = "/etc/cni/net.d"
#: What each pod network has there.
_OWN = {"flannel": "10-flannel.conflist", "routed": "10-bramble.conflist"}
#: Plugins that come with CNI itself, which podman and containerd have files of.
_STANDARD_PLUGINS = frozenset(
    [
        "bandwidth",
        "bridge",
        "dhcp",
        "firewall",
        "host-local",
        "loopback",
        "macvlan",
        "portmap",
        "ptp",
        "sbr",
        "static",
        "tuning",
        "vlan",
    ]
)
#: Plugins that call the pod network's own: Multus, and whatever names flannel beside itself.
_CALLS_OTHERS = ("multus",)


def _foreign(configurations: list[Mapping[str, Any]], *, pod_network: str) -> list[str]:
    """Return the files by which pods would get another network, in the order in which they count."""
    own = _OWN[pod_network]
    return [
        each["file"]
        for each in configurations
        if each["file"] < own
        and pod_network not in each["types"]
        and not any(plugin.startswith(_CALLS_OTHERS) for plugin in each["types"])
    ]


def other_pod_network(node: Mapping[str, Any], *, pod_network: str) -> str | None:
    """Say by which files a node has another pod network and none of this one.

    A second pod network beside the first would cut off the pods that run.
    """
    configurations = node.get("cni", [])
    if pod_network not in _OWN or any(each["file"] == _OWN[pod_network] for each in configurations):
        return None
    foreign = _foreign(configurations, pod_network=pod_network)
    files = [
        each["file"]
        for each in configurations
        if each["file"] in foreign or not set(each["types"]) <= _STANDARD_PLUGINS
    ]
    if not files:
        return None
    return (
        f"the node is part of a cluster whose pods have the network of {' and '.join(files)} in {CNI_FOLDER};"
        f" expected that of pod_network_plugin {pod_network}, which would be a second one: set"
        " pod_network_plugin to none to keep the first, or remove these files if they are left over"
    )


def check_pod_network(node: Mapping[str, Any], *, pod_network: str) -> Iterator[Finding]:
    """Say what keeps the pods of a node from those of the others."""
    if pod_network == "flannel" and node.get("vxlan") is False:
        yield finding(
            "vxlan",
            ERROR,
            evidence=f"kernel {node['kernel']} has no module vxlan",
            expected="vxlan, for flannel",
        )
    if pod_network not in _OWN:
        return
    foreign = _foreign(node.get("cni", []), pod_network=pod_network)
    if foreign:
        yield finding(
            "cni",
            ERROR,
            evidence=f"{' and '.join(foreign)} in {CNI_FOLDER} comes before {_OWN[pod_network]} by name",
            expected=f"{_OWN[pod_network]} first, for pod_network_plugin {pod_network}",
            files=" ".join(f"{CNI_FOLDER}/{file}" for file in foreign),
        )
