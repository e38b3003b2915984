# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is wrong with a node, by what was read there: each family of findings has a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._node.check_cluster import (
    check_backup,
    check_certificates,
    check_components,
    check_encryption,
    check_member,
    check_renewal,
    check_vip,
)
from ansible_collections.bramble.pi.plugins.module_utils._node.check_hardware import (
    check_disks,
    check_latency,
    check_memory,
    check_power,
)
from ansible_collections.bramble.pi.plugins.module_utils._node.check_pod_network import check_pod_network
from ansible_collections.bramble.pi.plugins.module_utils._node.check_storage import check_nfs
from ansible_collections.bramble.pi.plugins.module_utils._node.check_system import check_clock, check_system
from ansible_collections.bramble.pi.plugins.module_utils._node.check_units import (
    check_runtime,
    check_runtime_version,
    check_unit,
    down_units,
)
from ansible_collections.bramble.pi.plugins.module_utils._node.findings import (
    Expected,
    Finding,
    parse_time,
    ranked,
)


def check_node(
    *, node: Mapping[str, Any], expected: Expected, journals: Mapping[str, str] | None = None
) -> list[Finding]:
    """List what is wrong with a node, the worst first. ``journals`` are those of the units that are down."""
    findings = [*check_member(node, expected), *check_components(node["silent_components"])]
    down = down_units(node=node)
    for name, unit in node["units"].items():
        journal = (journals or {}).get(name, "")
        findings += check_unit(name, unit=unit, down=name in down, journal=journal, host=expected.host)
    findings += check_runtime(node, host=expected.host)
    findings += check_runtime_version(node, host=expected.host)
    findings += check_disks(node["disks"])
    findings += check_nfs(node["nfs"])
    findings += check_memory(
        node["memory"], control_plane=expected.control_plane or node["kubernetes"]["state"] == "control_plane"
    )
    findings += check_system(node, expected)
    findings += check_pod_network(node, pod_network=expected.pod_network)
    findings += check_clock(node, expected)
    findings += check_certificates(
        node["certificates"],
        now=expected.now or parse_time(node["clock"]["utc"]),
        days=expected.certificate_days,
    )
    if node["kubernetes"]["state"] == "control_plane":
        findings += check_vip(node.get("vip"), expected)
        findings += check_encryption(node.get("encryption"), expected)
        findings += check_renewal(node.get("renewal"))
        findings += check_backup(
            node.get("backup"),
            now=expected.now or parse_time(node["clock"]["utc"]),
            days=expected.backup_days,
        )
    findings += check_power(node["throttled"], node["temperature"])
    findings += check_latency(node["fsync"])
    return ranked(findings)
