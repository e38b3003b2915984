# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One examination of a node, as the doctor and the monitoring have it: what was read, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Commands
from ansible_collections.bramble.pi.plugins.module_utils._node.check_node import check_node
from ansible_collections.bramble.pi.plugins.module_utils._node.check_units import down_units
from ansible_collections.bramble.pi.plugins.module_utils._node.examine import WISHES, examine, journals
from ansible_collections.bramble.pi.plugins.module_utils._node.findings import Expected, Finding

#: What is asked of a node, as options of a module.
OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str"},
    "swap": {"type": "str", "choices": ["off", "keep"], "default": "off"},
    "time_sync": {"type": "bool", "default": True},
    "pod_network": {"type": "str", "default": "flannel"},
    "control_plane": {"type": "bool", "default": False},
    "encrypt_secrets": {"type": "bool", "default": False, "no_log": False},
    "certificate_days": {"type": "int", "default": 30},
    "backup_days": {"type": "int", "default": 2},
    "sandbox_image": {"type": "str"},
    "cni_bin_dir": {"type": "path", "default": "/opt/cni/bin"},
}


def examination(
    module: Commands,
    *,
    options: Mapping[str, Any],
    measure_disk: bool,
    now: datetime | None = None,
    fsync: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[Finding]]:
    """Examine the node; ``fsync`` is what an earlier measurement of the disk gave, if it is not measured."""
    wishes = replace(WISHES, sandbox_image=options["sandbox_image"], cni_bin_dir=options["cni_bin_dir"])
    node = examine(module, measure_disk=measure_disk, wishes=wishes)
    if not measure_disk:
        node["fsync"] = fsync
    findings = check_node(
        node=node,
        expected=Expected(
            host=options["name"] or node["hostname"],
            swap=options["swap"],
            time_sync=options["time_sync"],
            pod_network=options["pod_network"],
            certificate_days=options["certificate_days"],
            backup_days=options["backup_days"],
            control_plane=options["control_plane"],
            encrypt_secrets=options["encrypt_secrets"],
            now=now,
        ),
        # The journal is long to search on a card, so only that of what is down is read.
        journals=journals(module, units=down_units(node=node)),
    )
    return node, findings
