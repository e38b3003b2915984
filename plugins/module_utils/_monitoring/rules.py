# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alerts that there are: of each finding of the doctor one, and of what only a server can see.

``alerts()`` has them all; docs/monitoring.md has them as a table, which a test compares.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._node.findings import (
    CLOCK_SECONDS,
    ERROR,
    INFO,
    KINDS,
    WARNING,
)

#: Found by comparing nodes, which no node can by itself: the doctor tells of them.
ONLY_DOCTOR = ("machine_id", "hostname", "vip_holder")
_DOWN = "unreachable"
_NODE = "{{ $labels.node }}"
#: What a finding is about, where there is more than one thing on a node that it could be about.
_ABOUT = "".join(
    f"{{{{ with $labels.{label} }}}} {{{{ . }}}}{{{{ end }}}}" for label in ("path", "unit", "to")
)
#: How long after its time an examination may come, in seconds: it may take two minutes.
_LATE = 180


class Alert(NamedTuple):
    """An alert: when it is raised, and how to fix what it tells."""

    name: str
    #: A query; its own series have the severity, if none is given here.
    query: str
    severity: str | None
    #: What is wrong, as the table has it.
    when: str
    remedy: str

    @property
    def summary(self) -> str:
        """Return the template of the first line of a message."""
        # The cluster as a whole is no node.
        return f"{{{{ if $labels.node }}}}{_NODE}{_ABOUT}: {{{{ end }}}}{self.when}"


class _Labels(dict[str, str]):
    """What stands in a remedy in braces, filled in by Prometheus with the label of that name."""

    def __missing__(self, name: str) -> str:
        return f"{{{{ $labels.{name} }}}}"


def alert_name(check: str) -> str:
    """Return the name of the alert for a kind of finding."""
    return "Bramble" + "".join(word.capitalize() for word in check.split("_"))


def finding_alerts() -> list[Alert]:
    """Return the alerts for findings, in the order of ``KINDS``."""
    return [
        Alert(
            alert_name(check),
            'up{job="node"} == 0'
            if check == _DOWN
            else f'bramble_finding{{check="{check}",severity!="{INFO}"}} == 1',
            ERROR if check == _DOWN else None,
            kind.when,
            kind.remedy,
        )
        for check, kind in KINDS.items()
        if check not in ONLY_DOCTOR and set(kind.severities) != {INFO}
    ]


def server_alerts(*, examine_interval: int) -> list[Alert]:
    """Return the alerts for what a node does not find by itself; seconds from one examination to the next."""
    old = 2 * examine_interval + _LATE
    return [
        Alert(
            "BrambleNotExamined",
            # Both times are the node's own. After a boot there is none yet.
            f"node_time_seconds - bramble_examined_seconds > {old}"
            ' or up{job="node"} == 1 unless on (node) bramble_examined_seconds',
            ERROR,
            "the node is not examined any more: its timer is stopped, or the examination fails or hangs",
            "sudo systemctl restart bramble-monitoring.timer; what it said: journalctl -u bramble-monitoring",
        ),
        Alert(
            "BrambleClockOff",
            f"abs(node_time_seconds - timestamp(node_time_seconds)) > {CLOCK_SECONDS}",
            ERROR,
            f"the clock is more than {CLOCK_SECONDS} s off that of the monitoring host",
            KINDS["clock"].remedy,
        ),
        Alert(
            "BrambleApiServerDown",
            'up{job="apiserver"} == 0',
            ERROR,
            "the API server of a control plane does not answer the monitoring host",
            KINDS["control_plane_pod"].remedy,
        ),
        Alert(
            "BrambleKubeletDown",
            'up{job="kubelet"} == 0',
            ERROR,
            "the kubelet of a node does not answer the monitoring host",
            KINDS["kubelet"].remedy,
        ),
        Alert(
            "BrambleEtcdDown",
            'up{job="etcd"} == 0',
            ERROR,
            "etcd of a control plane does not answer",
            KINDS["control_plane_pod"].remedy,
        ),
        Alert(
            "BrambleEtcdNoLeader",
            "etcd_server_has_leader == 0",
            ERROR,
            "a member of etcd has no leader: most of the others do not answer it",
            "see that the other control planes are on, and reach each other at port 2380",
        ),
        Alert(
            "BrambleEtcdNoQuorum",
            '(count(up{job="etcd"} == 1) or vector(0)) * 2 <= count(up{job="etcd"})',
            ERROR,
            "half of etcd's members or more do not answer, so that the cluster takes no changes",
            "switch on the control planes that are down; if they are lost, docs/recovery.md",
        ),
        Alert(
            "BrambleEtcdSlow",
            "histogram_quantile(0.99, rate(etcd_disk_wal_fsync_duration_seconds_bucket[15m])) > 0.1",
            WARNING,
            "etcd's own writes take more than 0.1 s at the 99th percentile",
            KINDS["slow_disk"].remedy,
        ),
    ]


def alerts(*, examine_interval: int) -> list[Alert]:
    """Return all alerts."""
    return [*finding_alerts(), *server_alerts(examine_interval=examine_interval)]


def remedy(alert: Alert) -> str:
    """Return the template of the remedy: host and node are known by the label node."""
    # A cluster has its nodes in lower case.
    known = _Labels(host=_NODE, node="{{ $labels.node | toLower }}")
    return alert.remedy.format_map(known)


def rules(*, examine_interval: int, after: int) -> str:
    """Return the file of rules: each alert is raised when its fault has stood for ``after`` seconds."""
    found: list[dict[str, Any]] = [
        {
            "alert": alert.name,
            "expr": alert.query,
            "for": f"{after}s",
            **({"labels": {"severity": alert.severity}} if alert.severity else {}),
            "annotations": {"summary": alert.summary, "remedy": remedy(alert)},
        }
        for alert in alerts(examine_interval=examine_interval)
    ]
    # JSON is YAML, and nodes need no library for it.
    return json.dumps({"groups": [{"name": "bramble", "rules": found}]}, indent=2) + "\n"
