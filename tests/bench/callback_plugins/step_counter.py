# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count, for each host of a run, what Ansible did there."""

from __future__ import annotations

import collections
import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: step_counter
type: aggregate
short_description: Counts module runs, controller-only tasks and skipped tasks for each host
description:
  - 'Writes a JSON file when the run ends, C({host: {modules, controller, skipped, changed}}).'
  - A module run is one task (or one item of its loop) that sends a module to the host. A delegated
    task counts for the host that it ran on.
  - A controller-only task is one whose action sends nothing to the host.
requirements:
  - set E(STEP_COUNTER_FILE) to the path of the file to write
"""

# Actions of ansible-core that never leave the controller.
CONTROLLER_ACTIONS = {
    "add_host",
    "assert",
    "debug",
    "fail",
    "group_by",
    "import_role",
    "include_role",
    "include_tasks",
    "include_vars",
    "pause",
    "set_fact",
    "set_stats",
    "validate_argument_spec",
}


class CallbackModule(CallbackBase):
    """Counts by the events that every run sends to its callbacks."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "step_counter"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self.tasks: dict[str, list[str]] = collections.defaultdict(list)

    def _count(self, result: Any, *, skipped: bool = False) -> None:
        name = result._task.action.rsplit(".", 1)[-1]
        delegated = result._result.get("_ansible_delegated_vars") or {}
        host = delegated.get("ansible_delegated_host") or result._host.get_name()
        kind = "skipped" if skipped else "controller" if name in CONTROLLER_ACTIONS else "modules"
        self.counts[host][kind] += 1
        self.tasks[host].append(f"{kind}: {result._task.get_name()}")
        if result._result.get("changed"):
            self.counts[host]["changed"] += 1

    def _count_unless_loop(self, result: Any, **kind: bool) -> None:
        # The items of a loop have been counted one by one before the loop as a whole reports.
        if result._task.loop is None or not result._result.get("results"):
            self._count(result, **kind)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._count_unless_loop(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._count_unless_loop(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._count_unless_loop(result, skipped=True)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._count(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._count(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        self._count(result, skipped=True)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        report = {
            host: {
                **{kind: self.counts[host][kind] for kind in ("modules", "controller", "skipped", "changed")},
                "tasks": self.tasks[host],
            }
            for host in sorted(self.counts)
        }
        Path(os.environ["STEP_COUNTER_FILE"]).write_text(json.dumps(report, indent=2))
