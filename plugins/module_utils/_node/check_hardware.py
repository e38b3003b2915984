# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings of disks, memory, power supply and cooling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._node.findings import (
    CONTROL_PLANE_MEMORY,
    DISK_ERROR,
    DISK_WARNING,
    ERROR,
    HOT,
    INFO,
    INODES_ERROR,
    INODES_WARNING,
    MEBIBYTE,
    MEMORY_ERROR,
    MEMORY_WARNING,
    SLOW_DISK_MS,
    WARNING,
    Finding,
    finding,
)


def check_disks(disks: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Say which file systems are read-only or full."""
    for disk in disks:
        path = disk["path"]
        if disk["read_only"]:
            yield finding(
                "read_only",
                ERROR,
                evidence=f"{path} is mounted read-only",
                expected="read and write",
                path=path,
            )
        for check, size, free, error, warning, unit in (
            ("disk", disk["size"], disk["available"], DISK_ERROR, DISK_WARNING, "space"),
            ("inodes", disk["inodes"], disk["inodes_available"], INODES_ERROR, INODES_WARNING, "inodes"),
        ):
            # Some file systems, such as btrfs, count no inodes.
            percent = 100 * free / size if size else 100
            if percent < warning:
                amount = f"{free // MEBIBYTE} MiB" if check == "disk" else str(free)
                yield finding(
                    check,
                    ERROR if percent < error else WARNING,
                    evidence=f"{path} has {percent:.0f} % of its {unit} free ({amount})",
                    expected=f"{warning} % or more",
                    path=path,
                )


def check_memory(memory: Mapping[str, int | None], *, control_plane: bool) -> Iterator[Finding]:
    """Say whether there is too little memory."""
    available, total = memory["available"], memory["total"]
    if available is not None and available < MEMORY_WARNING:
        yield finding(
            "memory",
            ERROR if available < MEMORY_ERROR else WARNING,
            evidence=f"{available // MEBIBYTE} MiB are available",
            expected=f"{MEMORY_WARNING // MEBIBYTE} MiB or more",
        )
    if control_plane and total is not None and total < CONTROL_PLANE_MEMORY:
        yield finding(
            "memory",
            WARNING,
            evidence=f"the control plane has {total // 1000000} MB of memory",
            expected="1700 MB, as kubeadm asks for",
        )


def check_power(bits: int | None, degrees: float | None) -> Iterator[Finding]:
    """Say whether power supply or cooling are too weak, by the firmware's bits and the temperature."""
    if bits is not None:
        seen = f"get_throttled says {bits:#x}"
        if bits & 0x10001:
            now = bool(bits & 0x1)
            yield finding(
                "undervoltage",
                ERROR if now else WARNING,
                evidence=f"the voltage {'is' if now else 'was once since boot'} below 4.63 V ({seen})",
                expected="throttled=0x0",
            )
        if bits & 0xE000E:
            now = bool(bits & 0xE)
            yield finding(
                "throttled",
                WARNING if now else INFO,
                evidence=f"the processor {'is' if now else 'was once since boot'} slowed down ({seen})",
                expected="throttled=0x0",
            )
    if degrees is not None and degrees >= HOT:
        yield finding("temperature", WARNING, evidence=f"{degrees} degrees", expected=f"below {HOT} degrees")


def check_latency(fsync: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Say whether synchronous writes, as etcd makes them, are slow."""
    if fsync and fsync["p99_ms"] > SLOW_DISK_MS:
        yield finding(
            "slow_disk",
            WARNING,
            evidence=f"{fsync['writes']} synchronous writes in {fsync['path']}: median {fsync['p50_ms']} ms,"
            f" 99th percentile {fsync['p99_ms']} ms",
            expected=f"{SLOW_DISK_MS} ms or less",
        )
