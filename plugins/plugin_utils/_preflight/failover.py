# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the worker that the playbook failover is to lose."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import failover
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import Finding, Rack


def check_failover(rack: Rack) -> Iterator[Finding]:
    """Check the worker, if one is named. The rack may be without it; only the demonstration is not."""
    node = rack.cluster_value("failover_node")
    if node is not None:
        method = rack.cluster_value("failover_method")
        yield from (
            Finding(text, warning=True)
            for text in failover.problems(node=node, method=method, groups=rack.groups)
        )
