# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make host keys and seeds for the cards of a rack, on the controller alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.bramble.pi.plugins.plugin_utils._cards import rack


class ActionModule(ActionBase):
    """What the controller does, which is all of it."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Make keys and seeds, unless something speaks against one of them; say how the cards are written."""
        super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(
            argument_spec={
                "nodes": {"type": "list", "elements": "str", "required": True},
                "images": {"type": "list", "elements": "dict", "required": True},
                "cards_dir": {"type": "path", "required": True},
            }
        )
        try:
            return self._make(task_vars or {}, arguments)
        except rack.CardsError as error:
            raise AnsibleActionFail(str(error)) from error
        except OSError as error:
            raise AnsibleActionFail(
                f"{error.filename or arguments['cards_dir']}: {error.strerror}; expected a folder with "
                "room that you may write to: set flash_cache_dir to one"
            ) from error

    @staticmethod
    def _make(variables: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
        # All of it also in check mode: it holds no node's state, and what would be written to a card cannot
        # be told without it.
        made = rack.cards(
            nodes=rack.read_nodes(hostvars=variables["hostvars"], names=arguments["nodes"]),
            fetched=arguments["images"],
            folder=Path(arguments["cards_dir"]),
        )
        changed = [rack.make_host_key(card) for card in made]
        problems = rack.seed_problems(made)
        if not problems:
            changed += [rack.write_seed(card) for card in made]
        return {
            "changed": any(changed),
            "problems": problems,
            "batches": rack.batches(made),
            "one_reader": rack.one_reader(made),
            "known_hosts": rack.known_hosts(made),
        }
