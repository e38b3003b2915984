# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the workload that proves a cluster runs, from what kubectl prints of its pods and its service."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_NAME = "verify"


class WorkloadError(BrambleError):
    """The workload cannot be read."""


class WorkloadReport(NamedTuple):
    """What is said of the workload."""

    #: The nodes with pods of it.
    nodes: list[str]
    #: The address of its service in the cluster.
    address: str
    #: What is wrong with it, a sentence for each.
    problems: list[str]


def _is_pod(item: Mapping[str, Any]) -> bool:
    return bool(item["kind"] == "Pod" and item["metadata"].get("labels", {}).get("app") == _NAME)


def report(*, text: str, schedulable: Sequence[str]) -> WorkloadReport:
    """Read what C(kubectl get pods,service -o json) printed; the nodes are those that take any pod."""
    try:
        items = json.loads(text)["items"]
        address = next(item["spec"]["clusterIP"] for item in items if item["kind"] == "Service")
        pods = [item for item in items if _is_pod(item)]
    except (ValueError, KeyError, TypeError, StopIteration):
        raise WorkloadError(
            "expected what `kubectl get pods,service -o json` prints, with the service of the workload"
        ) from None
    nodes = sorted({pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")})
    problems = []
    if len(nodes) < min(2, len(schedulable)):
        problems.append(
            f"all pods of the workload are on {', '.join(nodes) or 'no node'}; expected at least two of "
            f"{', '.join(schedulable)}: look for taints with kubectl describe nodes"
        )
    return WorkloadReport(nodes=nodes, address=str(address), problems=problems)
