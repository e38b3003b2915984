# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._boot.eeprom import (
    EepromError,
    boot_order,
    boot_rom,
    edit,
    otp_is_set,
)
from hypothesis import given
from hypothesis import strategies as st

#: As rpi-eeprom-config prints it on a Pi 4.
BOOTCONF = """\
[all]
BOOT_UART=0
WAKE_ON_GPIO=1
POWER_OFF_ON_HALT=0

[pi4]
# Only for this board
NETCONSOLE=6665@169.254.1.1/,6666@/
[all]
BOOT_ORDER=0xf41
"""
OTP_DUMP = "08:00000000\n09:00000000\n16:00280000\n17:1020000a\n18:1020000a\n28:6a1b9c04\n"


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("Raspberry Pi 3 Model B Rev 1.2", "otp"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "ready"),
        ("Raspberry Pi 4 Model B Rev 1.5\0", "eeprom"),
        ("Raspberry Pi 400 Rev 1.0", "eeprom"),
        ("Raspberry Pi 5 Model B Rev 1.0", "eeprom"),
        ("Raspberry Pi 500 Rev 1.0", "eeprom"),
        ("Raspberry Pi Compute Module 4 Rev 1.1", "eeprom"),
        ("Raspberry Pi Compute Module 4S Rev 1.0", "eeprom"),
        ("Raspberry Pi Compute Module 5 Rev 1.0", "eeprom"),
        ("Raspberry Pi Compute Module 5 Lite Rev 1.0", "eeprom"),
        ("Raspberry Pi Compute Module 3 Plus Rev 1.0", "otp"),
    ],
)
def test_boards(model: str, kind: str) -> None:
    assert boot_rom(model=model) == kind


@pytest.mark.parametrize("model", ["", "Raspberry Pi Zero 2 W Rev 1.0", "linux,dummy-virt"])
def test_boards_that_do_not_boot_over_the_network(model: str) -> None:
    with pytest.raises(EepromError, match="expected one that boots over the network"):
        boot_rom(model=model)


@pytest.mark.parametrize(
    ("row", "is_set"),
    [
        ("1020000a", False),
        ("00000000", False),
        ("d020000a", False),
        ("3020000a", True),
        # Other bits are set too, such as that of the GPIO boot mode.
        ("3028000a", True),
        ("3030000a", True),
        ("20000000", True),
    ],
)
def test_one_time_memory(row: str, is_set: bool) -> None:
    assert otp_is_set(otp_dump=OTP_DUMP.replace("17:1020000a", f"17:{row}")) == is_set


def test_one_time_memory_that_is_not_shown() -> None:
    with pytest.raises(EepromError, match="no row 17"):
        otp_is_set(otp_dump="VCHI initialization failed")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("0xf21", "SD card, network, begin again"),
        ("0xf12", "network, SD card, begin again"),
        ("0xf461", "SD card, NVMe, USB disk, begin again"),
        ("0x2", "network"),
    ],
)
def test_boot_order(value: str, words: str) -> None:
    assert boot_order(value=value) == words


@pytest.mark.parametrize("value", ["f21", "0x", "0xf28", "network", "0xf21 ", ""])
def test_boot_orders_that_are_none(value: str) -> None:
    with pytest.raises(EepromError, match="read from the right"):
        boot_order(value=value)


def test_edit() -> None:
    edited = edit(text=BOOTCONF, settings={"BOOT_ORDER": "0xf21", "TFTP_PREFIX": "0"})
    assert edited == BOOTCONF.replace("0xf41", "0xf21") + "TFTP_PREFIX=0\n"
    assert edit(text=edited, settings={"BOOT_ORDER": "0xf21", "TFTP_PREFIX": "0"}) == edited


def test_settings_that_are_refused() -> None:
    with pytest.raises(EepromError, match="in capitals"):
        edit(text=BOOTCONF, settings={"boot_order": "0xf21"})


@given(
    lines=st.lists(
        st.sampled_from([*BOOTCONF.splitlines(), "[pi5]", "TFTP_PREFIX=1", "# note"]), max_size=12
    ),
    order=st.sampled_from(["0xf21", "0xf12", "0x2"]),
)
def test_a_second_edit_changes_nothing(lines: list[str], order: str) -> None:
    settings = {"BOOT_ORDER": order, "TFTP_PREFIX": "0"}
    once = edit(text="".join(f"{line}\n" for line in lines), settings=settings)
    assert edit(text=once, settings=settings) == once
    assert {line for line in lines if line.startswith("#")} <= set(once.splitlines())
