# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module beside stand-ins for a board's own tools, which Debian does not package."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.plugins.module_utils._boot.test_eeprom import BOOTCONF, OTP_DUMP
from tests.unit.python_server import run_python

REPOSITORY = Path(__file__).parents[4]
#: Prints the configuration of the EEPROM or of an update that waits for a reboot, and takes another one.
RPI_EEPROM_CONFIG = """\
#!/bin/sh
case "$1" in
    "") cat {board}/bootconf ;;
    --apply) cp "$2" {board}/boot/pieeprom.upd ;;
    *) cat "$1" ;;
esac
"""
PROGRAM = """
import ansible_collections.bramble.pi.plugins.modules.eeprom as module
module._MODEL, module._KEPT, module.PARTITIONS = "{board}/model", "{board}/kept", ("{board}/boot",)
module.find_config_txt = lambda exists: "{board}/boot/config.txt"
module.main()
"""


class Board:
    """A folder with what a board has."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder = folder
        self.upd = folder / "boot/pieeprom.upd"
        (folder / "boot").mkdir()
        (folder / "bin").mkdir()
        (folder / "model").write_text(f"{model}\0")
        (folder / "bootconf").write_text(BOOTCONF)
        (folder / "boot/config.txt").write_text("[all]\narm_64bit=1\n")
        self.tool("rpi-eeprom-config", RPI_EEPROM_CONFIG.replace("{board}", str(folder)))
        self.otp(OTP_DUMP)

    def tool(self, name: str, text: str) -> None:
        (self.folder / "bin" / name).write_text(text)
        (self.folder / "bin" / name).chmod(0o755)

    def otp(self, dump: str) -> None:
        self.tool("vcgencmd", f"#!/bin/sh\ncat <<'END'\n{dump}END\n")

    def reboot(self) -> None:
        """Do what the bootloader does with an update."""
        self.upd.rename(self.folder / "bootconf")

    def run(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        (self.folder / "program.py").write_text(PROGRAM.replace("{board}", str(self.folder)))
        done = run_python(
            [self.folder / "program.py"],
            text=json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check}}),
            environment={
                **os.environ,
                "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
                "PYTHONPATH": str(REPOSITORY / ".collections"),
            },
        )
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path, "Raspberry Pi 4 Model B Rev 1.5")


def test_check_apply_check_apply(board: Board) -> None:
    checked = board.run(check=True)
    assert (checked["changed"], checked["reboot_required"]) == (True, True)
    assert not board.upd.exists()
    applied = board.run()
    assert applied["changed"]
    assert applied["boot_order"] == "SD card, network, begin again"
    assert "BOOT_ORDER=0xf21\n" in board.upd.read_text()
    assert (board.folder / "kept").read_text() == BOOTCONF
    # Until the reboot the update waits, and is not made again.
    for check in (True, False):
        waiting = board.run(check=check)
        assert (waiting["changed"], waiting["reboot_required"]) == (False, True)
    board.reboot()
    for check in (True, False):
        again = board.run(check=check)
        assert (again["changed"], again["reboot_required"]) == (False, False)
    board.run(settings={"BOOT_ORDER": "0xf12"})
    assert (board.folder / "kept").read_text() == BOOTCONF, "what the board came with"


def test_a_pi_3_is_changed_for_good_only_if_told_so(tmp_path: Path) -> None:
    board = Board(tmp_path, "Raspberry Pi 3 Model B Rev 1.2")
    config = board.folder / "boot/config.txt"
    refused = board.run()
    assert refused["failed"]
    assert "cannot be undone" in refused["msg"]
    assert "netboot_boards_otp" in refused["msg"]
    assert board.run(otp=True, check=True)["changed"]
    assert "program_usb_boot_mode" not in config.read_text()
    applied = board.run(otp=True)
    assert applied["changed"]
    assert applied["reboot_required"]
    assert "cannot be undone" in json.dumps(applied["warnings"])
    assert "program_usb_boot_mode=1" in config.read_text().splitlines()
    assert not board.run(otp=True)["changed"]
    board.otp(OTP_DUMP.replace("17:1020000a", "17:3020000a"))
    assert not board.run()["reboot_required"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": {"BOOT_ORDER": 0xF21}}, ("BOOT_ORDER is the number 3873", "put it in quotes")),
        ({"settings": {"NET_INSTALL_ENABLED": True}}, ("value is the boolean true", "put it in quotes")),
        ({"settings": {"NET_INSTALL_ENABLED": None}}, ("value is missing for NET_INSTALL_ENABLED",)),
        ({"settings": {"BOOT_ORDER": "0xf28"}}, ("'0xf28'", "read from the right")),
        ({"settings": {"boot_order": "0xf21"}}, ("'boot_order'", "capitals")),
    ],
)
def test_refusals(board: Board, options: dict[str, Any], words: tuple[str, ...]) -> None:
    message = board.run(**options)["msg"]
    for word in words:
        assert word in message
    assert not board.upd.exists()


def test_a_missing_tool_names_its_package(board: Board) -> None:
    (board.folder / "bin/rpi-eeprom-config").unlink()
    assert "apt install rpi-eeprom" in board.run()["msg"]


def test_other_boards(tmp_path: Path) -> None:
    assert "expected one that boots over the network" in Board(tmp_path, "Raspberry Pi Zero 2 W").run()["msg"]
