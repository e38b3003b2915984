# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a board's boot ROM is told: the configuration in the EEPROM of a Pi 4 and 5, the bits of a Pi 3.

https://www.raspberrypi.com/documentation/computers/raspberry-pi.html#raspberry-pi-bootloader-configuration
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.bramble.pi.plugins.module_utils._boot.config_txt import edit_config_txt
from ansible_collections.bramble.pi.plugins.module_utils._boot.config_txt_settings import (
    ConfigTxtError,
    Setting,
    parse_settings,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.values import text_problem

#: The bit of row 17 of the one-time memory for booting by USB and network; others stand for other modes.
#: https://www.raspberrypi.com/documentation/computers/raspberry-pi.html#otp-register-and-bit-definitions
_OTP_BIT = 29
_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_DIGITS = re.compile(r"0x[0-9a-f]{1,8}", re.IGNORECASE)
#: What each digit of BOOT_ORDER stands for, read from the right.
_MODES = {
    "0": "SD card detection", "1": "SD card", "2": "network", "3": "USB device mode", "4": "USB disk",
    "5": "USB disk (BCM)", "6": "NVMe", "7": "HTTP", "e": "stop", "f": "begin again",
}  # fmt: skip


class EepromError(BrambleError):
    """Something that is not done; the message gives what was seen, what is expected and how to fix it."""


def boot_rom(*, model: str) -> str:
    """Tell what a board boots by: ``eeprom``, ``otp`` (set once), or ``ready`` as it left the factory.

    ``model`` is that of /proc/device-tree/model.
    """
    name = model.rstrip("\0").strip()
    if re.search(r"Raspberry Pi (4|400|5|500|Compute Module (4S?|5))\b", name):
        return "eeprom"
    if "Raspberry Pi 3 Model B Plus" in name:
        return "ready"
    if re.search(r"Raspberry Pi (3 Model B|Compute Module 3)\b", name):
        return "otp"
    raise EepromError(
        f"this board is {name or 'no Raspberry Pi'!r}; expected one that boots over the network: a Pi 3B, "
        "3B+, 4 or 5"
    )


def otp_is_set(*, otp_dump: str) -> bool:
    """Tell by C(vcgencmd otp_dump) whether a Pi 3 boots over the network."""
    row = re.search(r"^17:([0-9a-f]{8})$", otp_dump, re.MULTILINE)
    if row is None:
        raise EepromError(
            f"vcgencmd otp_dump has no row 17, but {otp_dump[:60]!r}; expected one such as 17:3020000a: "
            "run it as root"
        )
    return bool(int(row.group(1), 16) >> _OTP_BIT & 1)


def boot_order(*, value: str) -> str:
    """Say in words what a BOOT_ORDER tries, first to last."""
    digits = value[2:].lower()
    unknown = [digit for digit in digits if digit not in _MODES]
    if _DIGITS.fullmatch(value) is None or unknown:
        raise EepromError(
            f"BOOT_ORDER is {value!r}; expected digits of "
            f"{', '.join(f'{key} ({mode})' for key, mode in _MODES.items())}, read from the right, such as "
            "'0xf12' for the network, then the SD card, then again"
        )
    return ", ".join(_MODES[digit] for digit in reversed(digits))


def edit(*, text: str, settings: Mapping[str, str | int]) -> str:
    """Return the bootloader's configuration with these settings for all boards; all other lines stay."""
    for name, value in settings.items():
        if _NAME.fullmatch(name) is None:
            raise EepromError(f"'settings' has {name!r}; expected a name such as 'BOOT_ORDER', in capitals")
        if name == "BOOT_ORDER":
            problem = text_problem(value)
            if problem:
                raise EepromError(f"BOOT_ORDER {problem}, as in '0xf21'")
            boot_order(value=str(value))
    try:
        desired: list[Setting] = parse_settings(
            data=[{"section": "all", "setting": name, "value": value} for name, value in settings.items()]
        )
        return edit_config_txt(text=text, settings=desired)
    except ConfigTxtError as error:
        raise EepromError(str(error)) from error
