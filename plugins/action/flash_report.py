# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a table of what became of the cards of a rack."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.bramble.pi.plugins.plugin_utils._cards import rack


class ActionModule(ActionBase):
    """What the controller does, which is all of it."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Make the table."""
        super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(
            argument_spec={
                "nodes": {"type": "list", "elements": "str", "required": True},
                "cards": {"type": "list", "elements": "dict", "required": True},
            }
        )
        rows, nodes = arguments["cards"], arguments["nodes"]
        return {
            "changed": False,
            "table": rack.table(rows=rows, nodes=nodes, check_mode=bool(self._task.check_mode)),
            "failures": rack.failures(rows=rows, nodes=nodes),
        }
