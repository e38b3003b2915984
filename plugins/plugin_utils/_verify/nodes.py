# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the nodes of a cluster are, from what kubectl prints of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

try:
    import jmespath
except ImportError:
    HAS_JMESPATH = False
else:
    HAS_JMESPATH = True


class NodesError(BrambleError):
    """The nodes cannot be read."""


class NodeReport(NamedTuple):
    """What is said of the nodes."""

    #: Lines for people, the first of which names the columns.
    table: list[str]
    #: What keeps nodes from being ready, a sentence for each.
    problems: list[str]
    #: The architectures of the nodes by their labels, which pods choose by.
    architectures: list[str]
    #: The nodes that take any pod.
    schedulable: list[str]


_QUERY = (
    "items[].{name: metadata.name, labels: metadata.labels || `{}`, taints: spec.taints || `[]`,"
    " version: status.nodeInfo.kubeletVersion, runtime: status.nodeInfo.containerRuntimeVersion,"
    " cordoned: spec.unschedulable,"
    " address: status.addresses[?type=='InternalIP'].address | [0],"
    " ready: status.conditions[?type=='Ready'] | [0]}"
)
_ROLE = "node-role.kubernetes.io/"
_ARCHITECTURE = "kubernetes.io/arch"
# Up to 1.23 control planes are labelled master as well.
_OLD_ROLES = {"master": "control-plane"}


def _role(labels: Sequence[str]) -> str:
    names = {label[len(_ROLE) :] for label in labels if label.startswith(_ROLE)}
    return ",".join(sorted({_OLD_ROLES.get(name, name) for name in names})) or "worker"


def _problem(node: dict[str, Any]) -> str | None:
    ready = node["ready"] or {"status": "Unknown", "message": "it has not reported yet"}
    if ready["status"] == "True":
        return None
    return f"{node['name']} is not Ready: {ready.get('message') or ready.get('reason') or 'no reason given'}"


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def report(*, text: str, expected: Sequence[str]) -> NodeReport:
    """Read what C(kubectl get nodes -o json) printed, and compare it with the names that have to be there."""
    if not HAS_JMESPATH:
        raise NodesError("jmespath is missing on the controller: run pip install -r requirements.txt")
    try:
        found = jmespath.search(_QUERY, json.loads(text))
    except json.JSONDecodeError:
        found = None
    if found is None:
        raise NodesError("expected what `kubectl get nodes -o json` prints, which has a list named items")
    found.sort(key=lambda node: node["name"])
    names = {node["name"] for node in found}
    missing = [name for name in expected if name not in names]
    rows = [["NODE", "ROLE", "VERSION", "RUNTIME", "READY", "ADDRESS"]]
    rows += [
        [
            node["name"],
            _role(list(node["labels"])),
            node["version"] or "?",
            node["runtime"] or "?",
            ("no" if _problem(node) else "yes") + (", cordoned" if node["cordoned"] else ""),
            node["address"] or "?",
        ]
        for node in found
    ]
    rows += [[name, "-", "-", "-", "missing", "-"] for name in missing]
    problems = [f"{name} is not in the cluster: run site.yml for it (--limit {name})" for name in missing]
    problems += [problem for problem in map(_problem, found) if problem]
    return NodeReport(
        table=_lines(rows),
        problems=problems,
        architectures=sorted(
            {node["labels"][_ARCHITECTURE] for node in found if _ARCHITECTURE in node["labels"]}
        ),
        schedulable=[node["name"] for node in found if not node["taints"] and not node["cordoned"]],
    )
