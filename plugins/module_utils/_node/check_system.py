# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings of the operating system: kernel, swap, clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._node.findings import (
    CLOCK_SECONDS,
    ERROR,
    WARNING,
    Expected,
    Finding,
    finding,
    parse_time,
)

CONTROLLERS = ("cpuset", "memory")
PAGE_SIZE = 4096


def check_clock(node: Mapping[str, Any], expected: Expected) -> Iterator[Finding]:
    """Say whether the clock is not synchronised, or is another than the controller's."""
    utc = parse_time(node["clock"]["utc"])
    if expected.time_sync and not node["clock"]["synchronized"]:
        yield finding(
            "clock",
            ERROR,
            evidence=f"not synchronised; it says {utc:%Y-%m-%d %H:%M} UTC",
            expected="synchronised",
        )
    off = (utc - expected.now).total_seconds() if expected.now else 0
    if abs(off) > CLOCK_SECONDS:
        yield finding(
            "clock",
            ERROR,
            evidence=f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the controller's clock",
            expected=f"within {CLOCK_SECONDS} s",
        )


def _switched_on_by(swap: Mapping[str, Any]) -> str:
    culprits = swap.get("switched_on_by")
    return f", switched on by {' or '.join(culprits)}" if culprits else ""


def check_system(node: Mapping[str, Any], expected: Expected) -> Iterator[Finding]:
    """Say what of the running system keeps Kubernetes from working."""
    missing = [name for name in CONTROLLERS if name not in node["cgroup"]["controllers"]]
    if missing:
        yield finding(
            "cgroup",
            ERROR,
            evidence=f"{' and '.join(missing)} missing; there are"
            f" {' '.join(node['cgroup']['controllers']) or 'none'} (cgroup v{node['cgroup']['version']})",
            expected=" and ".join(CONTROLLERS),
            host=expected.host,
        )
    if node["cmdline"]["error"]:
        yield finding(
            "cmdline",
            WARNING,
            evidence=node["cmdline"]["error"],
            expected="one line that can be read",
            remedy="correct the line by hand, or set os_prep_kernel_cmdline_path to another file",
        )
    if node["cmdline"]["pending"]:
        yield finding(
            "cmdline",
            WARNING,
            evidence=f"/proc/cmdline lacks {' '.join(node['cmdline']['pending'])}",
            expected=f"all that {node['cmdline']['path']} says",
        )
    if node["reboot"]:
        yield finding(
            "reboot",
            WARNING,
            evidence="; ".join(node["reboot"]),
            expected="a system that runs what is installed",
            host=expected.host,
        )
    if expected.swap == "off" and node["swap"]["active"]:
        yield finding(
            "swap",
            ERROR,
            evidence=f"swap is on: {', '.join(node['swap']['active'])}{_switched_on_by(node['swap'])}",
            expected="no swap (os_prep_swap)",
            host=expected.host,
        )
    if node["page_size"] > PAGE_SIZE:
        yield finding(
            "page_size",
            WARNING,
            evidence=f"{node['page_size'] // 1024} KiB pages",
            expected=f"{PAGE_SIZE // 1024} KiB",
        )
