# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens when a node of a cluster is lost, put together from what is seen from outside of it.

All times are seconds of one clock, that of the node that watches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.failure_detection import Expectation

#: How long a service has to answer without a failure to be back, in seconds.
STEADY = 5.0


class Row(NamedTuple):
    """One line of the timeline."""

    event: str
    #: What to expect, in words.
    expected: str
    #: Seconds after the loss; None for what did not happen.
    seconds: float | None


def _ready(item: Mapping[str, Any]) -> bool:
    conditions = item.get("status", {}).get("conditions") or []
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


class Timeline:
    """Takes in one observation after the other."""

    def __init__(self, *, node: str, replicas: int) -> None:
        self._node = node
        self._replicas = replicas
        self._pods: dict[str, Mapping[str, Any]] = {}
        self._heard: float | None = None
        self._failed: float | None = None
        self._answers_since: float | None = None
        #: When the node stopped answering, was marked, had its pods evicted, and was replaced.
        self.lost: float | None = None
        self.not_ready: float | None = None
        self.evicted: float | None = None
        self.replaced: float | None = None
        #: The names of its pods at the loss.
        self.victims: frozenset[str] = frozenset()

    def see_node(self, at: float, node: Mapping[str, Any], *, heartbeat: bool) -> None:
        """Take in the node as the API has it, and whether it has just reported itself."""
        if not _ready(node):
            if self.lost is not None and self.not_ready is None:
                self.not_ready = at
        elif heartbeat:
            self.see_heartbeat(at)

    def see_heartbeat(self, at: float) -> None:
        """Take in that the node has given a sign of life to the API."""
        if self.not_ready is None:
            self._heard = at

    def see_pod(self, at: float, pod: Mapping[str, Any], *, gone: bool = False) -> None:
        """Take in a pod of the demonstration as the API has it."""
        name = pod["metadata"]["name"]
        if gone:
            self._pods.pop(name, None)
        else:
            self._pods[name] = pod
        if self.lost is None:
            return
        given_up = gone or "deletionTimestamp" in pod["metadata"]
        if name in self.victims and given_up and self.evicted is None:
            self.evicted = at
        if self.evicted is not None and self.replaced is None and self._running_elsewhere() >= self._replicas:
            self.replaced = at

    def see_node_answers(self, at: float, answers: bool) -> None:
        """Take in whether the node itself, its kubelet, has answered."""
        if not answers and self.lost is None:
            self.lost = at
            self.victims = frozenset(self.on_node())

    def see_service_answers(self, at: float, answers: bool) -> None:
        """Take in whether a request that began then was answered."""
        if not answers:
            self._answers_since = None
            if self.lost is not None and at >= self.lost:
                self._failed = at
        elif self._answers_since is None:
            self._answers_since = at

    def on_node(self) -> list[str]:
        """Return the names of the pods that are on the node."""
        return sorted(
            name for name, pod in self._pods.items() if pod.get("spec", {}).get("nodeName") == self._node
        )

    def _running_elsewhere(self) -> int:
        return sum(
            _ready(pod)
            and "deletionTimestamp" not in pod["metadata"]
            and pod.get("spec", {}).get("nodeName") != self._node
            for pod in self._pods.values()
        )

    def settled(self, now: float) -> bool:
        """Tell whether all that was to happen has happened."""
        steady = self._answers_since is not None and now - self._answers_since >= STEADY
        return self.replaced is not None and self.not_ready is not None and steady

    def rows(self, expectation: Expectation) -> list[Row]:
        """Return the timeline, with what to expect beside what was measured."""

        def after(at: float | None) -> float | None:
            return None if at is None or self.lost is None else round(at - self.lost, 1)

        not_ready, evicted = ("{} to {} s".format(*span) for span in expectation)
        # One that never failed was never away.
        back = self._answers_since if self._failed is not None else self.lost
        return [
            Row("last sign of life of the node", "", after(self._heard)),
            Row("the node is lost", "", after(self.lost)),
            Row("the node is NotReady", not_ready, after(self.not_ready)),
            Row(
                "all requests are answered again", f"not after {expectation.not_ready[1] + 1} s", after(back)
            ),
            Row("its pods are given up", evicted, after(self.evicted)),
            Row("all pods run on other nodes", f"{evicted} and the start of a pod", after(self.replaced)),
        ]


def table(rows: Sequence[Row]) -> list[str]:
    """Return the timeline as lines of text, the first of which names the columns."""
    cells = [("EVENT", "EXPECTED", "MEASURED")]
    cells += [
        (row.event, row.expected, "not seen" if row.seconds is None else f"{row.seconds:6.1f} s")
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]
