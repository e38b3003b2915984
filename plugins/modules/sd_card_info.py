#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.sd_card_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sd_card_info
short_description: List the SD cards that an image may be written to
version_added: '0.1.0'
description:
  - Lists the disks of the machine that it runs on, usually the controller, and decides for each whether it is
    a card that may be overwritten.
  - A candidate is a whole disk that is removable or on USB or MMC, holds nothing that is mounted, no swap in
    use and no part of an LVM, RAID or encrypted volume, is not write-protected, and is neither too small nor
    too large. For all others it says what speaks against them and how to fix it.
  - Can wait until a card is put in.
  - Nothing is written.
notes:
  - On Linux it needs lsblk of util-linux 2.33 or later, on macOS diskutil.
  - As root it also sees whether a program or a container has a device open for itself.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details:
      - Nothing is changed.
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  minimum_size:
    description: Size of the image in bytes. Smaller cards are refused.
    type: int
    default: 0
  maximum_size:
    description: Size in bytes. What is larger is taken for another disk and refused.
    type: int
    default: 257000000000
  allow_loop:
    description: Take loop devices, or attached disk images on macOS, for cards. For tests.
    type: bool
    default: false
  allow_fixed:
    description:
      - Paths or serial numbers of disks that may be overwritten though they are neither removable nor on USB
        or MMC.
    type: list
    elements: str
    default: []
  devices:
    description:
      - Paths of devices, or links to them, to look at. All others are passed over.
      - All disks, if it is empty.
    type: list
    elements: path
    default: []
  known:
    description:
      - The cards that were there before, as RV(devices[].id) or as paths. They become new only when they were
        taken out.
      - The cards that are there at the start, if it is not given.
    type: list
    elements: str
  timeout:
    description: Seconds to wait for a card that is not among O(known). V(0) lists what is there and ends.
    type: int
    default: 0
  stall_timeout:
    description: After how many seconds without an answer, those of O(timeout) aside, a disk counts as hung.
    type: float
    default: 60
seealso:
  - module: bramble.pi.sd_card
"""

EXAMPLES = r"""
- name: List the cards that a 4 GB image may be written to
  bramble.pi.sd_card_info:
    minimum_size: 4000000000
  delegate_to: localhost
  register: sd_cards

- name: Wait five minutes for the next card
  bramble.pi.sd_card_info:
    known: "{{ sd_cards.devices | map(attribute='id') }}"
    timeout: 300
  delegate_to: localhost
"""

RETURN = r"""
devices:
  description: The disks, in the order of their names.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The device.
      type: str
      sample: /dev/sdb
    id:
      description:
        - What tells this card from the next one in the same slot. Where the kernel does not number cards
          (Linux before 5.15, macOS) it is the path.
      type: str
      sample: /dev/sdb#42
    model:
      description: Vendor and model of the card or its reader.
      type: str
      sample: Generic STORAGE DEVICE
    serial:
      description: Serial number.
      type: str
      sample: '000000001532'
    size:
      description: Size in bytes; V(0) if no card is in the reader.
      type: int
      sample: 31914983424
    transport:
      description: How it is attached.
      type: str
      sample: usb
    description:
      description: Path, model, size and transport in words.
      type: str
      sample: /dev/sdb (Generic STORAGE DEVICE, 31.9 GB, usb)
    candidate:
      description: Whether it may be written.
      type: bool
      sample: true
    refusals:
      description: What speaks against it.
      type: list
      elements: dict
      sample: []
      contains:
        reason:
          description: A sentence.
          type: str
          sample: '/dev/sdb (Generic STORAGE DEVICE, 31.9 GB, usb) is write-protected.'
        variable:
          description: The variable of the role that would allow it, V(none) if none does.
          type: str
          sample: flash_max_size
        remedy:
          description: How to fix it.
          type: str
          sample: If it is the card, unmount it ('umount /dev/sdb1') and run this again.
candidates:
  description: Paths of the devices that may be written.
  returned: success
  type: list
  elements: str
  sample: [/dev/sdb]
inserted:
  description:
    - Paths of the cards that are not among O(known), candidates or not.
    - Empty if none came in time.
  returned: success
  type: list
  elements: str
  sample: [/dev/sdb]
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.child_process import ChildProcess
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.block_devices import (
    BlockDevice,
    BlockDeviceError,
    describe,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.find_devices import list_devices
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.refusals import (
    MAXIMUM_SIZE,
    is_card,
    refusals,
)

#: Seconds between two looks. A desktop needs about one to mount a card that is put in.
_INTERVAL = 1.5


def _list(module: AnsibleModule) -> list[BlockDevice]:
    def run(command: list[str]) -> tuple[int, str, str]:
        code, output, errors = module.run_command(command, handle_exceptions=False)
        return code, output, errors

    devices = list_devices(run=run, paths=module.params["devices"])
    return sorted(devices, key=lambda device: device.path)


def _describe(device: BlockDevice, options: dict[str, Any]) -> dict[str, Any]:
    against = refusals(
        device=device,
        minimum_size=options["minimum_size"],
        maximum_size=options["maximum_size"],
        allow_loop=options["allow_loop"],
        allow_fixed=options["allow_fixed"],
    )
    return {
        "path": device.path,
        "id": device.id,
        "model": " ".join(filter(None, (device.vendor, device.model))),
        "serial": device.serial,
        "size": device.size,
        "transport": device.transport,
        "description": describe(device),
        "candidate": not against,
        "refusals": [refusal._asdict() for refusal in against],
    }


def _look(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    end = time.monotonic() + options["timeout"]
    devices = _list(module)
    known = options["known"]
    known = {device.id for device in devices if device.size} if known is None else set(known)
    before = None
    while True:
        cards = [device for device in devices if is_card(device=device, allow_loop=options["allow_loop"])]
        # What was taken out is new when it comes back.
        known &= {name for card in cards for name in (card.id, card.path)}
        new = [card for card in cards if known.isdisjoint((card.id, card.path))]
        # A card that is put in is looked at twice: it may be mounted by then.
        if time.monotonic() >= end or (new and new == before):
            break
        before = new
        time.sleep(_INTERVAL)
        devices = _list(module)
    described = [_describe(device, options) for device in devices]
    return {
        "changed": False,
        "devices": described,
        "candidates": [device["path"] for device in described if device["candidate"]],
        "inserted": [card.path for card in new],
    }


def _look_in_child_process(module: AnsibleModule) -> dict[str, Any]:
    """Look in a process of its own, as a card that hangs would keep this one."""

    def look(_alive: int) -> dict[str, Any]:
        try:
            return _look(module)
        except BlockDeviceError as error:
            return {"problem": str(error)}

    stall_timeout = module.params["stall_timeout"]
    child = ChildProcess(look)
    try:
        result: dict[str, Any] = child.result(timeout=module.params["timeout"] + stall_timeout)
    except TimeoutError as error:
        raise BlockDeviceError(
            f"looking at the disks did not come back for {stall_timeout:g} s: a card or its reader hangs; "
            f"take it out, or name those to look at in 'devices' (flash_readers of the role flash)"
        ) from error
    finally:
        child.close()
    if "problem" in result:
        raise BlockDeviceError(result["problem"])
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "minimum_size": {"type": "int", "default": 0},
            "maximum_size": {"type": "int", "default": MAXIMUM_SIZE},
            "allow_loop": {"type": "bool", "default": False},
            "allow_fixed": {"type": "list", "elements": "str", "default": []},
            "devices": {"type": "list", "elements": "path", "default": []},
            "known": {"type": "list", "elements": "str"},
            "timeout": {"type": "int", "default": 0},
            "stall_timeout": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )

    with module_errors(module):
        result = _look_in_child_process(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
