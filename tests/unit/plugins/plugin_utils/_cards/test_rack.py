# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes of a rack are to be, and their cards."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import parse_seed
from ansible_collections.bramble.pi.plugins.plugin_utils._cards import rack

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lq5CLZ0mP3n7m8yq0wEwTtQzZJ4h2v0r8bD0x9q1X you@laptop"
NODES = ["pi-1", "pi-2", "pi-3"]


def source(name: str) -> dict[str, Any]:
    return {"src": f"/srv/{'pi' if name == 'pi-2' else 'ubuntu'}.img", "checksum": ""}


def fetched(*, path: bool = True) -> list[dict[str, Any]]:
    """Return what a loop of the module os_image gives."""
    return [
        {
            "item": source(name),
            "image": {"path": f"/cache/{kind}.img.zst", "init_format": kind, "size": 1 << 30}
            if path
            else {"path": None, "init_format": None, "size": None},
        }
        for name, kind in (("pi-1", "cloudinit"), ("pi-2", "systemd"))
    ]


def hostvars(**changed: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "ansible_host": f"192.168.1.10{number}",
            rack.INPUTS: {
                "name": name,
                "hostname": name,
                "user": "pi",
                "image": source(name),
                "device": f"/dev/sd{'abc'[number]}",
                "authorized_keys": [KEY],
                **changed.get(name.replace("-", "_"), {}),
            },
        }
        for number, name in enumerate(NODES)
    }


def read(**changed: dict[str, Any]) -> dict[str, rack.RackNode]:
    return rack.read_nodes(hostvars=hostvars(**changed), names=NODES)


def cards(folder: Path, **changed: dict[str, Any]) -> list[rack.Card]:
    made = rack.cards(nodes=read(**changed), fetched=fetched(), folder=folder)
    for card in made:
        card.folder.mkdir(parents=True)
        (card.folder / "ssh_host_ed25519_key").write_text(f"the key of {card.name}\n")
        (card.folder / "ssh_host_ed25519_key.pub").write_text(f"ssh-ed25519 AAAA root@{card.name}\n")
    return made


def test_reads_the_inputs_of_all_nodes_and_each_image_once() -> None:
    nodes = read()
    assert list(nodes) == NODES
    values = nodes["pi-1"].values()
    assert values["image"] == source("pi-1")
    assert (values["authorized_keys"], values["known_as"]) == ([KEY], ["192.168.1.100", "pi-1"])
    assert json.loads(json.dumps(values)) == values
    assert rack.images(nodes) == [source("pi-1"), source("pi-2")]


def test_says_that_the_inputs_were_not_read() -> None:
    with pytest.raises(rack.CardsError, match="with tasks_from: values"):
        rack.read_nodes(hostvars={"pi-1": {}}, names=["pi-1"])


def test_a_seed_is_what_sd_card_takes(tmp_path: Path) -> None:
    document = rack.seed(cards(tmp_path)[0])
    seed = parse_seed(data=json.loads(json.dumps(document)))
    assert seed.node == "pi-1"
    assert b"the key of pi-1" in seed.files["user-data"]


def test_a_seed_is_written_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    card = cards(tmp_path)[0]
    assert rack.write_seed(card)
    path = Path(card.seed_path)
    assert json.loads(path.read_text())["node"] == "pi-1"
    path.chmod(0o644)
    assert not rack.write_seed(card)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_host_key_is_made_once_and_half_a_one_is_made_anew(tmp_path: Path) -> None:
    (card, *_others) = rack.cards(nodes=read(), fetched=fetched(), folder=tmp_path / "cache" / "cards")
    assert rack.make_host_key(card)
    key = card.host_key
    assert key.public.endswith(" root@pi-1\n")
    assert not rack.make_host_key(card)
    assert card.host_key == key
    assert stat.S_IMODE(card.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(card.folder.parent.stat().st_mode) == 0o700
    (card.folder / "ssh_host_ed25519_key.pub").unlink()
    assert rack.make_host_key(card)
    assert card.host_key.private != key.private


def test_problems_come_before_the_images_and_with_them(tmp_path: Path) -> None:
    assert rack.problems(read()) == []
    found = rack.problems(read(pi_1={"image": {"src": ""}}, pi_3={"user": "root"}))
    assert [problem[:5] for problem in found] == ["pi-1:", "pi-3:"]
    assert rack.seed_problems(cards(tmp_path / "fine")) == []
    found = rack.seed_problems(cards(tmp_path / "wrong", pi_2={"user_data": {"a": 1}}))
    assert len(found) == 1
    assert found[0].startswith(
        "pi-2: flash_user_data and flash_user_data_file are for images with cloud-init"
    )


def test_nodes_whose_image_is_not_there_yet_are_left_out(tmp_path: Path) -> None:
    assert rack.cards(nodes=read(), fetched=fetched(path=False), folder=tmp_path) == []


def test_cards_with_the_same_image_are_written_together(tmp_path: Path) -> None:
    batches = rack.batches(cards(tmp_path))
    assert [(batch["image"], [card["node"] for card in batch["cards"]]) for batch in batches] == [
        ("/cache/cloudinit.img.zst", ["pi-1", "pi-3"]),
        ("/cache/systemd.img.zst", ["pi-2"]),
    ]
    assert batches[0]["cards"][0] == {
        "node": "pi-1",
        "device": "/dev/sda",
        "seed": f"{tmp_path}/pi-1/seed.json",
    }


def test_cards_without_a_device_share_one_reader(tmp_path: Path) -> None:
    made = cards(tmp_path, pi_1={"device": ""})
    assert [card["node"] for batch in rack.batches(made) for card in batch["cards"]] == ["pi-2", "pi-3"]
    assert rack.one_reader(made) == [
        {
            "node": "pi-1",
            "image": "/cache/cloudinit.img.zst",
            "size": 1 << 30,
            "seed": f"{tmp_path}/pi-1/seed.json",
        }
    ]


WRITTEN: dict[str, Any] = {
    "node": "pi-1",
    "device": "/dev/sda",
    "state": "written",
    "image": "trixie.img",
    "bytes_written": 2_147_483_648,
    "seconds": 61.2,
    "verified": True,
}


def test_table() -> None:
    rows: list[dict[str, Any]] = [
        {**WRITTEN, "node": "pi-2", "device": "/dev/sdb", "state": "unchanged"},
        WRITTEN,
        {"node": "pi-3", "device": "/dev/sdc", "state": "failed", "error": "worn out"},
    ]
    assert rack.table(rows=rows, nodes=[*NODES, "pi-4"], check_mode=False) == [
        "NODE  DEVICE    STATE        IMAGE       WRITTEN  SECONDS  VERIFIED",
        "pi-1  /dev/sda  written      trixie.img  2.1 GB   61       yes",
        "pi-2  /dev/sdb  unchanged    trixie.img",
        "pi-3  /dev/sdc  failed                                     no",
        "pi-4  ?         not written",
    ]


def test_table_in_check_mode() -> None:
    assert rack.table(rows=[{**WRITTEN, "verified": False}], nodes=NODES[:2], check_mode=True) == [
        "NODE  DEVICE    STATE             IMAGE       WRITTEN  SECONDS  VERIFIED",
        "pi-1  /dev/sda  would be written  trixie.img",
        "pi-2  ?         would be written",
    ]


def test_failures() -> None:
    failed = {"node": "pi-3", "device": "/dev/sdc", "state": "failed", "error": "worn out"}
    assert rack.failures(rows=[WRITTEN], nodes=NODES) == ""
    assert rack.failures(rows=[WRITTEN, failed], nodes=NODES) == (
        "1 of 3 cards are not ready; the others are.\n- pi-3 (/dev/sdc): worn out"
    )


def test_names_that_ssh_looks_for(tmp_path: Path) -> None:
    variables = hostvars()
    variables["pi-2"]["ansible_port"] = 2222
    del variables["pi-3"]["ansible_host"]
    assert [
        name for node in rack.read_nodes(hostvars=variables, names=NODES).values() for name in node.known_as
    ] == ["192.168.1.100", "pi-1", "[192.168.1.101]:2222", "[pi-2]:2222", "pi-3"]
    assert rack.known_hosts(cards(tmp_path))[0] == {
        "name": "pi-1",
        "known_as": ["192.168.1.100", "pi-1"],
        "keys": ["ssh-ed25519 AAAA root@pi-1"],
    }
