# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role verify, which read what kubectl prints; the documentation of each is beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._common.filters import filter_errors
from ansible_collections.bramble.pi.plugins.plugin_utils._verify import nodes as verify_nodes
from ansible_collections.bramble.pi.plugins.plugin_utils._verify import workload as verify_workload


@filter_errors()
def node_report(nodes: str, expected: Sequence[str] = ()) -> dict[str, Any]:
    """Say how the nodes are."""
    return verify_nodes.report(text=nodes, expected=expected)._asdict()


@filter_errors()
def workload_report(objects: str, schedulable: Sequence[str]) -> dict[str, Any]:
    """Say where the workload runs."""
    return verify_workload.report(text=objects, schedulable=schedulable)._asdict()


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"node_report": node_report, "workload_report": workload_report}
