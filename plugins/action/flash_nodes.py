# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and check what the nodes of a rack are to be, on the controller alone."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.bramble.pi.plugins.plugin_utils._cards import rack


class ActionModule(ActionBase):
    """What the controller does, which is all of it."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read the nodes."""
        super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(
            argument_spec={"nodes": {"type": "list", "elements": "str", "required": True}}
        )
        try:
            problems = rack.input_problems(hostvars=(task_vars or {})["hostvars"], names=arguments["nodes"])
            if problems:
                return {
                    "changed": False,
                    "nodes": {},
                    "images": [],
                    "image_names": [],
                    "problems": problems,
                }
            nodes = rack.read_nodes(hostvars=(task_vars or {})["hostvars"], names=arguments["nodes"])
            images = rack.images(nodes)
            return {
                "changed": False,
                "nodes": {
                    name: {**node.values(), "image_number": images.index(dict(node.image))}
                    for name, node in nodes.items()
                },
                "images": images,
                "image_names": rack.image_names(nodes),
                "problems": rack.problems(nodes),
            }
        except rack.CardsError as error:
            raise AnsibleActionFail(str(error)) from error
