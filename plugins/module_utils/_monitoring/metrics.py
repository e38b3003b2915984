# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node tells Prometheus of itself: what the doctor finds there, as text in the exposition format.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._backup.status import time_of
from ansible_collections.bramble.pi.plugins.module_utils._node.findings import Finding, parse_time

#: Each metric, with what it says; docs/monitoring.md has them as a table, which a test compares.
METRICS = {
    "bramble_finding": "1 for each thing that the doctor finds on the node, by path or unit",
    "bramble_temperature_celsius": "temperature of the processor",
    "bramble_throttled": "1 if the firmware says so, by reason, now or once since_boot",
    "bramble_fsync_seconds": "duration of a synchronous write beside etcd's data, measured once a day",
    "bramble_certificate_expires_seconds": "when a certificate of Kubernetes expires, in seconds since 1970",
    "bramble_backup_proved_seconds": "when the last backup was proved, in seconds since 1970",
    "bramble_node_ready": "1 if the cluster says that the node is Ready",
    "bramble_examined_seconds": "when the node was examined last, in seconds since 1970",
    "bramble_examine_duration_seconds": "how long that took",
}
#: The firmware's bits for now; the same 16 bits further on are for once since boot.
#: https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
THROTTLED = {
    "undervoltage": 0x1,
    "frequency_capped": 0x2,
    "throttled": 0x4,
    "soft_temperature_limit": 0x8,
}
_SINCE_BOOT = 16

#: A value of a metric with its labels.
_Sample = tuple[str, Mapping[str, str], float]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    # Python writes the shortest text that is this number.
    return f"{name}{{{inside}}} {value!r}\n" if inside else f"{name} {value!r}\n"


def _findings(findings: Iterable[Finding]) -> Iterator[_Sample]:
    for each in findings:
        yield "bramble_finding", {"check": each.check, "severity": each.severity, **each.labels}, 1


def _throttled(bits: int | None) -> Iterator[_Sample]:
    if bits is None:
        return
    for reason, bit in THROTTLED.items():
        yield "bramble_throttled", {"reason": reason, "when": "now"}, int(bool(bits & bit))
        since_boot = int(bool(bits & (bit << _SINCE_BOOT)))
        yield "bramble_throttled", {"reason": reason, "when": "since_boot"}, since_boot


def _numbers(node: Mapping[str, Any]) -> Iterator[_Sample]:
    if node["temperature"] is not None:
        yield "bramble_temperature_celsius", {}, node["temperature"]
    yield from _throttled(node["throttled"])
    if node["fsync"]:
        for quantile, key in (("0.5", "p50_ms"), ("0.99", "p99_ms")):
            yield "bramble_fsync_seconds", {"quantile": quantile}, round(node["fsync"][key] / 1000, 6)
    for certificate in node["certificates"]:
        if not certificate.get("error"):
            expires = parse_time(certificate["expires"]).timestamp()
            yield "bramble_certificate_expires_seconds", {"path": certificate["path"]}, expires
    proved = time_of(node["backup"], "proved")
    if proved is not None:
        yield "bramble_backup_proved_seconds", {}, proved.timestamp()
    if node["member"] and node["member"]["state"] in ("ready", "not ready"):
        yield "bramble_node_ready", {}, int(node["member"]["state"] == "ready")


def exposition(
    *, node: Mapping[str, Any], findings: Iterable[Finding], examined: float, duration: float
) -> str:
    """Return the text; of findings with the same labels it has one."""
    lines: dict[str, list[str]] = {name: [] for name in METRICS}
    own: list[_Sample] = [
        ("bramble_examined_seconds", {}, examined),
        ("bramble_examine_duration_seconds", {}, round(duration, 3)),
    ]
    for name, labels, value in [*_findings(findings), *_numbers(node), *own]:
        lines[name].append(_line(name, labels, value))
    return "".join(
        f"# HELP {name} {METRICS[name]}\n# TYPE {name} gauge\n" + "".join(dict.fromkeys(found))
        for name, found in lines.items()
        if found
    )
