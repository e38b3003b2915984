# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was decided for good when a cluster was made: its networks and its endpoint."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.kubeconfig import server_of

_RESET = "or begin again with the playbook reset"


def read_networks(*, controller_manager_manifest: str | None, admin_kubeconfig: str | None) -> dict[str, Any]:
    """Read the networks of the pods and of the services, and where the API server is reached.

    Each is None where its file is not there. The network of the pods is empty in a cluster that was
    initialised without one.
    """
    manifest = controller_manager_manifest
    return {
        "pod_cidr": None if manifest is None else _flag(manifest, "cluster-cidr"),
        # Empty is kubeadm's default.
        "service_cidr": None if manifest is None else _flag(manifest, "service-cluster-ip-range") or None,
        "api_server": server_of(admin_kubeconfig or ""),
    }


def _flag(manifest: str, name: str) -> str:
    match = re.search(rf"^\s*- [\"']?--{name}=([^\s\"']*)", manifest, re.MULTILINE)
    return match[1] if match else ""


def disagreements(
    cluster: Mapping[str, Any],
    *,
    pod_cidr: str,
    service_cidr: str,
    endpoint: str | None,
    pod_network: str,
    vip: str | None = None,
) -> Iterator[str]:
    """Say in what a cluster that is there differs from the inventory, and can never be changed.

    ``vip`` is the address that its control planes are to have together.
    """
    seen = cluster.get("pod_cidr")
    if seen == "" and pod_network != "none":
        yield (
            f"the cluster was initialised without a network of the pods; expected {pod_cidr}: set"
            f" pod_network_plugin to none if it has a network of its own, {_RESET}"
        )
    for variable, what, expected in (
        ("pod_cidr", "pods", pod_cidr),
        ("service_cidr", "services", service_cidr),
    ):
        seen = cluster.get(variable)
        if seen and not _same(seen, expected):
            yield (
                f"the network of the cluster's {what} is {seen}; expected {expected}: set"
                f" control_plane_{variable} to {seen}, {_RESET}"
            )
    # None is one that is not known here.
    if endpoint is not None:
        yield from _endpoint(cluster.get("api_server"), str(endpoint), vip=vip or "")
    if vip == "" and cluster.get("vip"):
        yield from filter(None, [uses_address(cluster.get("api_server"), cluster["vip"])])


def uses_address(server: str | None, vip: str) -> str:
    """Say why the control planes have to keep their address, if the cluster is reached at it."""
    seen = _host_and_port(server or "")
    if seen.rpartition(":")[0] != vip:
        return ""
    return (
        f"the cluster is reached at {seen}, the address that its control planes hold together, and"
        f" control_plane_vip is empty; expected {vip}: set control_plane_vip to {vip}, {_RESET}"
    )


def _endpoint(server: str | None, endpoint: str, *, vip: str) -> Iterator[str]:
    seen = _host_and_port(server or "")
    if not seen:
        return
    expected = _host_and_port(endpoint)
    if expected and seen != expected:
        variables = "control_plane_endpoint"
        remedy = f"set control_plane_endpoint to {seen if _is_name(seen) else 'an empty text'}"
        if vip and expected.rpartition(":")[0] == vip:
            variables = "control_plane_vip"
            remedy = "set control_plane_vip to an empty text" + (
                f" and control_plane_endpoint to {seen}" if _is_name(seen) else ""
            )
        yield (
            f"the cluster is reached at {seen}; expected {variables} {expected}, which cannot be"
            f" given later: {remedy}, {_RESET}"
        )
    # An address may be that of the control plane itself.
    if not expected and _is_name(seen):
        yield (
            f"the cluster is reached at {seen}; expected no endpoint, as control_plane_endpoint is empty: set"
            f" control_plane_endpoint to {seen}, {_RESET}"
        )


def _host_and_port(text: str) -> str:
    """Return host and port in one form, for the addresses of kubeconfigs and for endpoints."""
    match = re.fullmatch(r"(?:https?://)?(\[[^\]]+\]|[^:/]+)(?::(\d+))?/?", text.strip())
    return f"{match[1].lower()}:{match[2] or 6443}" if match else ""


def _is_name(host_and_port: str) -> bool:
    try:
        ipaddress.ip_address(host_and_port.rpartition(":")[0].strip("[]"))
    except ValueError:
        return True
    return False


def _same(first: str, second: str) -> bool:
    return _networks(first) == _networks(second)


def _networks(text: str) -> set[str]:
    """Return the networks of a list with commas, as a cluster with IPv4 and IPv6 has it."""
    found = set()
    for part in text.split(","):
        try:
            found.add(str(ipaddress.ip_network(part.strip(), strict=False)))
        except ValueError:
            found.add(part.strip())
    return found
