# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said of a node's health from the text of its files and commands."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import unit_properties

SYSTEMCTL_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "Result",
    "ExecMainStatus",
    "InactiveEnterTimestamp",
)

_LOSING_SUPPORT = re.compile(r'^kubelet_cri_losing_support\{[^}]*version="([0-9.]+)"[^}]*\} 1$', re.MULTILINE)


def throttled(*, vcgencmd: str, sysfs: str) -> int | None:
    """Return the firmware's bits from ``vcgencmd get_throttled`` or the kernel's file; None without both.

    https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
    """
    match = re.fullmatch(r"\s*throttled=0x([0-9a-fA-F]{1,8})\s*", vcgencmd) or re.fullmatch(
        r"\s*(?:0x)?([0-9a-fA-F]{1,8})\s*", sysfs
    )
    return int(match[1], 16) if match else None


def temperature(*, text: str) -> float | None:
    """Return the degrees Celsius of a thermal zone, which has thousandths of them."""
    match = re.fullmatch(r"\s*(-?[0-9]{1,9})\s*", text, re.ASCII)
    return round(int(match[1]) / 1000, 1) if match else None


def memory(*, meminfo: str) -> dict[str, int | None]:
    """Return the bytes of memory that there are, and that programs can still have."""
    values = dict(re.findall(r"^(MemTotal|MemAvailable):\s+([0-9]+) kB$", meminfo, re.MULTILINE | re.ASCII))
    return {
        name: int(values[key]) * 1024 if key in values else None
        for name, key in (("total", "MemTotal"), ("available", "MemAvailable"))
    }


def uptime(*, text: str) -> int | None:
    """Return the seconds since boot."""
    match = re.match(r"([0-9]+)\.[0-9]+ ", text, re.ASCII)
    return int(match[1]) if match else None


def units(*, text: str) -> dict[str, dict[str, str]]:
    """Return the properties of each unit in what ``systemctl show`` printed, by the unit's name."""
    return {name.removesuffix(".service"): values for name, values in unit_properties(text=text).items()}


def is_active(unit: dict[str, str]) -> bool:
    """Tell whether a unit runs."""
    return unit.get("ActiveState") in ("active", "reloading")


def latency(*, seconds: Sequence[float]) -> dict[str, Any] | None:
    """Return how many synchronous writes were measured, and their median and 99th percentile in ms."""
    if not seconds:
        return None
    ranked = sorted(seconds)

    def percentile(part: float) -> float:
        return round(ranked[max(0, math.ceil(part * len(ranked)) - 1)] * 1000, 2)

    return {"writes": len(ranked), "p50_ms": percentile(0.5), "p99_ms": percentile(0.99)}


def membership(*, code: int, output: str, errors: str) -> dict[str, Any]:
    """Say how a node is to its cluster, from what the API server answered to ``kubectl get --raw``."""
    member: dict[str, Any] = dict.fromkeys(("address", "kubelet", "runtime"))
    if code != 0:
        lines = [line.strip() for line in errors.splitlines() if line.strip()]
        message = lines[-1] if lines else "no answer within the time"
        return {**member, "state": "missing" if "(NotFound)" in message else "silent", "message": message}
    try:
        status = json.loads(output)["status"]
        conditions = {each["type"]: each for each in status.get("conditions", [])}
        addresses = {each["type"]: each["address"] for each in status.get("addresses", [])}
        info = status.get("nodeInfo", {})
    except (ValueError, KeyError, TypeError, AttributeError):
        return {**member, "state": "silent", "message": "its answer is not that of an API server"}
    ready = conditions.get("Ready", {})
    return {
        "address": addresses.get("InternalIP"),
        "kubelet": info.get("kubeletVersion"),
        "runtime": info.get("containerRuntimeVersion"),
        "state": "ready" if ready.get("status") == "True" else "not ready",
        "message": ready.get("message") or "it has not reported yet",
    }


def unserved_from(*, metrics: str) -> str | None:
    """Read out of a kubelet's metrics from which Kubernetes on its runtime is not served any more.

    Kubelets have that metric from 1.34 on, and only if there is such a version.
    """
    found = _LOSING_SUPPORT.search(metrics)
    return found[1] if found else None
