# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action sd_card adds to what the module says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.action.sd_card import ActionModule

CARDS = [
    {"node": "pi-1", "device": "/dev/sda", "seed": "/seeds/pi-1.json"},
    {"node": "pi-2", "device": "/dev/sdb", "seed": "/seeds/pi-2.json"},
]


def run(result: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    task = SimpleNamespace(args={"cards": CARDS}, async_val=0, check_mode=False, diff=False, action="sd_card")
    connection = SimpleNamespace(transport="ssh", _shell=SimpleNamespace(tmpdir=None))
    action = ActionModule(task, connection, None, None, None, None)
    monkeypatch.setattr(action, "_execute_module", lambda **_arguments: result)
    return action.run(task_vars={})


def test_tells_of_each_card_also_where_the_module_refused_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run({"failed": True, "msg": "No card was touched."}, monkeypatch)
    assert result["cards"] == [
        {"node": "pi-1", "device": "/dev/sda", "state": "failed", "error": "No card was touched."},
        {"node": "pi-2", "device": "/dev/sdb", "state": "failed", "error": "No card was touched."},
    ]


def test_leaves_what_the_module_says_of_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"failed": True, "msg": "1 of 2 cards failed", "cards": [{"node": "pi-1", "state": "written"}]}
    assert run(dict(said), monkeypatch) == said
