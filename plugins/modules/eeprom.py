#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.eeprom``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: eeprom
short_description: Configure a Raspberry Pi to boot over the network
version_added: '0.1.0'
description:
  - On a Pi 4 or 5, or a Compute Module of these, edits the configuration in the EEPROM through
    C(rpi-eeprom-config). It counts after a reboot.
  - On a Pi 3B, which has no EEPROM, sets the bit in its one-time memory by which it boots over the network,
    if O(otp=true). A Pi 3B+ does so as it left the factory.
  - The configuration that was there before is kept in C(/var/lib/bramble/bootconf.before).
notes:
  - Runs on the board, started from a card, as root. Needs the package rpi-eeprom (Pi 4 and 5), or vcgencmd
    (Pi 3B).
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  settings:
    description:
      - Settings of the bootloader, for boards with an EEPROM.
      - C(BOOT_ORDER) is read from the right, 1 is the SD card, 2 the network, 4 a USB disk, f begins again.
      - C(TFTP_PREFIX) is 0 for the folder named by the serial number, which the collection's trees have.
    type: dict
    default:
      BOOT_ORDER: '0xf21'
      TFTP_PREFIX: '0'
  otp:
    description:
      - Whether to set the bit in the one-time memory of a Pi 3B.
      - This cannot be undone. The board boots from a card as before, if there is one.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Boot boards from their card, or else over the network
  bramble.pi.eeprom:
  become: true

- name: Boot boards over the network first
  bramble.pi.eeprom:
    settings:
      BOOT_ORDER: "0xf12"
      TFTP_PREFIX: "0"
  become: true

- name: Enable network boot on a Pi 3B, permanently
  bramble.pi.eeprom:
    otp: true
  become: true
"""

RETURN = r"""
model:
  description: The board.
  returned: success
  type: str
  sample: Raspberry Pi 4 Model B Rev 1.5
config:
  description: The configuration of the bootloader as it is to be; empty for a Pi 3.
  returned: success
  type: str
  sample: "[all]\nBOOT_ORDER=0xf21\nTFTP_PREFIX=0\n"
boot_order:
  description: What the board tries, first to last; empty for a Pi 3.
  returned: success
  type: str
  sample: SD card, network, begin again
reboot_required:
  description: Whether the board has to be rebooted for it to count.
  returned: success
  type: bool
  sample: true
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._boot import eeprom as boot_eeprom
from ansible_collections.bramble.pi.plugins.module_utils._boot.config_txt import (
    edit_config_txt,
    find_config_txt,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.config_txt_settings import (
    parse_settings,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.layout import PARTITIONS
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text

_MODEL = "/proc/device-tree/model"
_KEPT = "/var/lib/bramble/bootconf.before"
#: An update that the next boot takes.
_PENDING = "pieeprom.upd"
_OTP = "program_usb_boot_mode"


class Rom:
    """Reads and writes what a board boots by."""

    def __init__(self, module: AnsibleModule, changes: Changes) -> None:
        self._module = module
        self._changes = changes
        self.reboot_required = False
        self.config = ""

    def _run(self, command: str, package: str, *arguments: str) -> str:
        path = self._module.get_bin_path(command)
        if path is None:
            raise boot_eeprom.EepromError(
                f"there is no {command}; expected the package {package}: apt install {package}"
            )
        return output_of(self._module.run_command, [path, *arguments])

    def eeprom(self) -> None:
        """Have the settings in the EEPROM."""
        pending = next(
            (path for folder in PARTITIONS if os.path.exists(path := f"{folder}/{_PENDING}")), None
        )
        before = self._run("rpi-eeprom-config", "rpi-eeprom", *([pending] if pending else []))
        self.config = boot_eeprom.edit(text=before, settings=self._module.params["settings"])
        self.reboot_required = pending is not None or self.config != before
        if self.config == before:
            return
        what = "the EEPROM"
        self._changes.show(what, before, self.config)
        if not self._changes.note(f"write {what}"):
            return
        # The first one is what the board came with.
        if read_text(_KEPT) is None:
            write_text(_KEPT, before)
        with tempfile.NamedTemporaryFile("w", prefix="bramble-", suffix=".conf", encoding="utf-8") as file:
            file.write(self.config)
            file.flush()
            self._run("rpi-eeprom-config", "rpi-eeprom", "--apply", file.name)

    def otp(self) -> None:
        """Have the one-time bit set, or asked for at the next boot."""
        if boot_eeprom.otp_is_set(otp_dump=self._run("vcgencmd", "raspi-utils", "otp_dump")):
            return
        if not self._module.params["otp"]:
            raise boot_eeprom.EepromError(
                "the one-time memory of this Pi 3B does not have the bit for booting over the network; "
                "expected bit 29, as in 17:3020000a of vcgencmd otp_dump. Setting it cannot be undone: set "
                "otp to true (netboot_boards_otp) to have it set at the next boot"
            )
        path = find_config_txt(exists=os.path.exists)
        before = read_text(path) or ""
        after = edit_config_txt(
            text=before, settings=parse_settings(data=[{"section": "all", "setting": _OTP, "value": "1"}])
        )
        self.reboot_required = True
        if self._changes.write(path, after):
            self._module.warn("the bit that the next boot sets in the one-time memory cannot be undone")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "default": {"BOOT_ORDER": "0xf21", "TFTP_PREFIX": "0"}},
            "otp": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    changes = Changes(check_mode=module.check_mode)
    rom = Rom(module, changes)
    model = (read_text(_MODEL) or "").rstrip("\0")
    order = str(module.params["settings"].get("BOOT_ORDER", ""))
    with module_errors(module):
        kind = boot_eeprom.boot_rom(model=model)
        if kind == "eeprom":
            rom.eeprom()
        elif kind == "otp":
            rom.otp()
    module.exit_json(
        changed=bool(changes),
        model=model,
        config=rom.config,
        boot_order=boot_eeprom.boot_order(value=order) if rom.config and order else "",
        reboot_required=rom.reboot_required,
        diff=changes.diffs,
    )


if __name__ == "__main__":
    main()
