# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions by which the role flash plans; tests/cards runs the whole of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.bramble.pi.plugins.action import flash_nodes, flash_report, flash_seeds
from ansible_collections.bramble.pi.plugins.plugin_utils._cards import rack

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lq5CLZ0mP3n7m8yq0wEwTtQzZJ4h2v0r8bD0x9q1X you@laptop"
IMAGE = {"src": "/srv/pi.img", "checksum": ""}
HOSTVARS = {
    "pi-1": {
        "ansible_host": "10.0.0.11",
        rack.INPUTS: {
            "name": "pi-1",
            "hostname": "pi-1",
            "user": "pi",
            "image": IMAGE,
            "device": "/dev/sda",
            "authorized_keys": [KEY],
            "wifi_ssid": "home",
            "wifi_psk": "correct horse battery",
            "wifi_country": "DE",
        },
    }
}


def run(action: Any, *, hostvars: Any = None, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    task = SimpleNamespace(args=arguments, async_val=0, check_mode=check_mode, diff=False, action="flash")
    connection = SimpleNamespace(transport="local", _shell=SimpleNamespace(tmpdir=None))
    result: dict[str, Any] = action.ActionModule(task, connection, None, None, None, None).run(
        task_vars={"hostvars": HOSTVARS if hostvars is None else hostvars}
    )
    return result


def test_nodes_are_read_and_checked() -> None:
    result = run(flash_nodes, nodes=["pi-1"])
    assert (result["changed"], result["problems"], result["images"]) == (False, [], [IMAGE])
    assert result["nodes"]["pi-1"]["known_as"] == ["10.0.0.11", "pi-1"]
    with pytest.raises(AnsibleActionFail, match="pi-9 has no inputs of the role flash"):
        run(flash_nodes, hostvars={"pi-9": {}}, nodes=["pi-9"])


@pytest.mark.parametrize("check_mode", [False, True])
def test_seeds_are_made_once_and_nothing_secret_is_told(tmp_path: Path, check_mode: bool) -> None:
    image = {"path": "/cache/pi.img.zst", "init_format": "cloudinit", "size": 1 << 30}
    arguments = {
        "nodes": ["pi-1"],
        "images": [{"item": IMAGE, "image": image}],
        "cards_dir": str(tmp_path / "cards"),
    }
    result = run(flash_seeds, check_mode=check_mode, **arguments)
    assert (result["changed"], result["problems"]) == (True, [])
    (batch,) = result["batches"]
    seed = Path(batch["cards"][0]["seed"]).read_text()
    assert "correct horse battery" in seed
    assert "PRIVATE KEY" in seed
    assert "correct horse battery" not in json.dumps(result)
    assert "PRIVATE KEY" not in json.dumps(result)
    assert [host["known_as"] for host in result["known_hosts"]] == [["10.0.0.11", "pi-1"]]
    assert run(flash_seeds, check_mode=check_mode, **arguments) == {**result, "changed": False}


def test_says_which_folder_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    image = {"path": "/cache/pi.img.zst", "init_format": "cloudinit", "size": 1 << 30}
    with pytest.raises(AnsibleActionFail, match="set flash_cache_dir to one"):
        run(
            flash_seeds,
            nodes=["pi-1"],
            images=[{"item": IMAGE, "image": image}],
            cards_dir=str(tmp_path / "file"),
        )


def test_the_report_says_in_check_mode_what_would_be() -> None:
    cards = [{"node": "pi-1", "device": "/dev/sda", "state": "written", "image": "pi.img"}]
    result = run(flash_report, check_mode=True, nodes=["pi-1"], cards=cards)
    assert result["table"][1].split("  ") == ["pi-1", "/dev/sda", "would be written", "pi.img"]
    assert result["failures"] == ""
