# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role flash decides about the cards of a rack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.filter.card_batches import card_batches
from ansible_collections.bramble.pi.plugins.filter.card_names import card_names
from ansible_collections.bramble.pi.plugins.filter.card_problems import card_problems
from ansible_collections.bramble.pi.plugins.filter.card_rows import card_rows
from ansible_collections.bramble.pi.plugins.filter.card_seed import card_seed
from ansible_collections.bramble.pi.plugins.filter.card_table import card_table
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import parse_seed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lq5CLZ0mP3n7m8yq0wEwTtQzZJ4h2v0r8bD0x9q1X you@laptop"
NODES = ["pi-1", "pi-2", "pi-3"]
IMAGES = {
    name: {"path": f"/cache/{kind}.img.zst", "init_format": kind, "size": 1 << 30}
    for name, kind in zip(NODES, ("cloudinit", "systemd", "cloudinit"))
}


@pytest.fixture
def cards_dir(tmp_path: Path) -> str:
    for name in NODES:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "ssh_host_ed25519_key").write_text(f"the key of {name}\n")
        (folder / "ssh_host_ed25519_key.pub").write_text(f"ssh-ed25519 AAAA root@{name}\n")
    return str(tmp_path)


def hostvars(**changed: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "ansible_host": f"192.168.1.10{number}",
            "flash_node": {
                "name": name,
                "hostname": name,
                "user": "pi",
                "image": "/srv/pi.img",
                "device": f"/dev/sd{'abc'[number]}",
                "authorized_keys": [KEY],
                **changed.get(name.replace("-", "_"), {}),
            },
        }
        for number, name in enumerate(NODES)
    }


def test_a_seed_is_what_sd_card_takes(cards_dir: str) -> None:
    document = card_seed(hostvars()["pi-1"]["flash_node"], IMAGES["pi-1"], cards_dir)
    seed = parse_seed(data=json.loads(json.dumps(document)))
    assert seed.node == "pi-1"
    assert b"the key of pi-1" in seed.files["user-data"]


def test_problems_come_before_the_images_and_with_them(cards_dir: str) -> None:
    assert card_problems(hostvars(), NODES) == []
    found = card_problems(hostvars(pi_1={"image": ""}, pi_3={"user": "root"}), NODES)
    assert [problem[:5] for problem in found] == ["pi-1:", "pi-3:"]
    assert card_problems(hostvars(), NODES, IMAGES, cards_dir) == []
    found = card_problems(hostvars(pi_2={"user_data": {"a": 1}}), NODES, IMAGES, cards_dir)
    assert len(found) == 1
    assert found[0].startswith(
        "pi-2: flash_user_data and flash_user_data_file are for images with cloud-init"
    )


def test_cards_with_the_same_image_are_written_together(cards_dir: str) -> None:
    batches = card_batches(hostvars(), NODES, IMAGES, cards_dir)
    assert [(batch["image"], [card["node"] for card in batch["cards"]]) for batch in batches] == [
        ("/cache/cloudinit.img.zst", ["pi-1", "pi-3"]),
        ("/cache/systemd.img.zst", ["pi-2"]),
    ]
    assert batches[0]["cards"][0] == {
        "node": "pi-1",
        "device": "/dev/sda",
        "seed": f"{cards_dir}/pi-1/seed.json",
    }
    (batch,) = card_batches(hostvars(), ["pi-2"], IMAGES, cards_dir, "/dev/sdx")
    assert batch["cards"][0]["device"] == "/dev/sdx"


WRITTEN: dict[str, Any] = {
    "node": "pi-1",
    "device": "/dev/sda",
    "state": "written",
    "image": "trixie.img",
    "bytes_written": 2_147_483_648,
    "seconds": 61.2,
    "verified": True,
}


def test_rows_also_of_cards_that_were_refused() -> None:
    results: list[dict[str, Any]] = [
        {"cards": [WRITTEN], "item": {}},
        {"msg": "No card was touched.", "item": {"cards": [{"node": "pi-2", "device": "/dev/sdb"}]}},
    ]
    assert [(row["node"], row["state"]) for row in card_rows(results)] == [
        ("pi-1", "written"),
        ("pi-2", "failed"),
    ]
    assert card_rows(results)[1]["error"] == "No card was touched."


def test_table() -> None:
    rows: list[dict[str, Any]] = [
        {**WRITTEN, "node": "pi-2", "device": "/dev/sdb", "state": "unchanged"},
        WRITTEN,
        {"node": "pi-3", "device": "/dev/sdc", "state": "failed", "error": "worn out"},
    ]
    assert card_table(rows, [*NODES, "pi-4"]) == [
        "NODE  DEVICE    STATE        IMAGE       WRITTEN  SECONDS  VERIFIED",
        "pi-1  /dev/sda  written      trixie.img  2.1 GB   61       yes",
        "pi-2  /dev/sdb  unchanged    trixie.img",
        "pi-3  /dev/sdc  failed                                     no",
        "pi-4  ?         not written",
    ]


def test_table_in_check_mode() -> None:
    assert card_table([{**WRITTEN, "verified": False}], NODES[:2], True) == [
        "NODE  DEVICE    STATE             IMAGE       WRITTEN  SECONDS  VERIFIED",
        "pi-1  /dev/sda  would be written  trixie.img",
        "pi-2  ?         would be written",
    ]


def test_names_that_ssh_looks_for() -> None:
    variables = hostvars()
    variables["pi-2"]["ansible_port"] = 2222
    del variables["pi-3"]["ansible_host"]
    rows = [{"node": name} for name in NODES]
    assert card_names(rows, variables) == [
        ["pi-1", "192.168.1.100"],
        ["pi-1", "pi-1"],
        ["pi-2", "[192.168.1.101]:2222"],
        ["pi-2", "[pi-2]:2222"],
        ["pi-3", "pi-3"],
    ]
