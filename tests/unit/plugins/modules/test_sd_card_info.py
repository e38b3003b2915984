# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself, in a process of its own and on real devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import loop_devices
from tests.unit.loop_card import LoopCard, needs_throttle, wait_until_free
from tests.unit.python_server import run_python

REPOSITORY = Path(__file__).parents[4]
MODULE = REPOSITORY / "plugins/modules/sd_card_info.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".collections")}
MIB = 2**20


def start(**options: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert process.stdin
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
    process.stdin.close()
    return process


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    with process:
        assert process.stdout
        result: dict[str, Any] = json.load(process.stdout)
    return result


def run(**options: Any) -> dict[str, Any]:
    text = json.dumps({"ANSIBLE_MODULE_ARGS": options})
    result: dict[str, Any] = json.loads(run_python([MODULE], text=text, environment=ENVIRONMENT).stdout)
    return result


class Slot:
    """A loop device that takes image files for cards."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "card.img"
        with self.image.open("wb") as file:
            file.truncate(64 * MIB)
        self.path = loop_devices.attach(self.image)
        #: Holds what keeps the number while the slot is empty.
        self._empty = ExitStack()

    def insert(self) -> None:
        with self._empty:
            loop_devices.attach_again(self.path, self.image)

    def remove(self) -> None:
        self._empty.enter_context(loop_devices.numbers_kept())
        loop_devices.detach(self.path)

    def close(self) -> None:
        with self._empty:
            if subprocess.run(["losetup", self.path], capture_output=True, check=False).returncode == 0:
                loop_devices.detach(self.path)


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[Slot]:
    slot = Slot(tmp_path)
    yield slot
    slot.close()


def test_all_disks_are_listed(slot: Slot) -> None:
    result = run()
    devices = {device["path"]: device for device in result["devices"]}
    assert list(devices) == sorted(devices)
    assert not result["changed"]
    assert slot.path not in result["candidates"]
    (refusal,) = devices[slot.path]["refusals"]
    assert refusal["variable"] == "flash_allow_loop"
    assert slot.path in refusal["reason"]


@pytest.mark.parametrize("check", [True, False])
def test_a_candidate(slot: Slot, check: bool) -> None:
    result = run(devices=[slot.path], allow_loop=True, _ansible_check_mode=check)
    (device,) = result["devices"]
    assert device["candidate"]
    assert device["size"] == 64 * MIB
    assert device["description"] == f"{slot.path} (no model, 67.1 MB)"
    assert device["id"].startswith(slot.path)
    assert result["candidates"] == [slot.path]
    assert result["inserted"] == [], "it was there before"


def test_limits(slot: Slot) -> None:
    for option, value in (("minimum_size", 65 * MIB), ("maximum_size", 63 * MIB)):
        result = run(devices=[slot.path], allow_loop=True, **{option: value})
        assert result["candidates"] == []
        assert not result["devices"][0]["candidate"]


def test_known_cards_are_not_new(slot: Slot) -> None:
    options: dict[str, Any] = {"devices": [slot.path], "allow_loop": True}
    (device,) = run(**options)["devices"]
    assert run(known=[], **options)["inserted"] == [slot.path]
    for known in (device["id"], device["path"]):
        assert run(known=[known], **options)["inserted"] == []
    # Taken out and put back between two runs: the path is the same, the kernel's number is not.
    slot.remove()
    slot.insert()
    assert run(known=[device["id"]], timeout=30, **options)["inserted"] == [slot.path]


@pytest.mark.alone
def test_waiting_ends_in_time(slot: Slot) -> None:
    before = time.monotonic()
    result = run(devices=[slot.path], allow_loop=True, timeout=1)
    assert time.monotonic() - before < 10
    assert result["inserted"] == []
    assert result["candidates"] == [slot.path]


def test_a_card_that_is_exchanged(slot: Slot) -> None:
    process = start(devices=[slot.path], allow_loop=True, known=[slot.path], timeout=60)
    time.sleep(2)
    assert process.poll() is None, "the card that was there before does not count"
    slot.remove()
    time.sleep(2)
    assert process.poll() is None, "nor does an empty slot"
    slot.insert()
    result = finish(process)
    assert result["inserted"] == [slot.path]
    assert result["candidates"] == [slot.path]


def test_a_new_card_that_may_not_be_written_is_named_at_once(slot: Slot) -> None:
    slot.remove()
    # It is new also if this machine is so busy that it is there at the first look.
    process = start(devices=[slot.path], allow_loop=True, maximum_size=MIB, known=[], timeout=60)
    time.sleep(1)
    slot.insert()
    result = finish(process)
    assert result["inserted"] == [slot.path]
    assert result["candidates"] == []
    (device,) = result["devices"]
    assert "is larger" in device["refusals"][0]["reason"]


def test_a_missing_command_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, MODULE],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {}}),
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "PATH": str(tmp_path)},
        check=False,
    )
    assert "no command lsblk; install the package util-linux" in json.loads(done.stdout)["msg"]


@pytest.mark.alone
@needs_throttle
def test_a_card_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    card = LoopCard(tmp_path / "hung.img", 64 * MIB)
    card.throttle(read=1)
    began = time.monotonic()
    result = run(devices=[card.device], allow_loop=True, stall_timeout=2)
    assert time.monotonic() - began < 15
    assert "did not come back for 2 s: a card or its reader hangs; take it out" in result["msg"]
    card.throttle()
    wait_until_free(card)
    card.detach()
