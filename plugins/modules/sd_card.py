#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.sd_card``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sd_card
short_description: Write an image to SD cards, each with the identity of its node
version_added: '0.1.0'
description:
  - Writes one image to any number of cards at once, in about the time of one, and gives each card what its
    node's seed document says.
  - All that is written is read back from the card and compared.
  - The partition table comes last, so a card that was interrupted at any point has none. It does not boot,
    and the next run writes it again.
  - A card that carries the image and the seed already is left alone. One that carries the image of this node
    with another seed only gets the new seed.
  - Everything is checked before the first card is touched, the image, the devices and the seeds. If anything
    speaks against one of the cards, none of them is written.
  - A card that fails while it is written, or that hangs, does not stop the others.
notes:
  - Runs where the cards are, so usually delegated to the controller, as root.
  - While it runs, it shows how far each card is, on the standard error output, as bars on a terminal and
    otherwise as a line now and then.
  - The receipt on the boot partition, C(bramble-receipt.json), says what a card carries. It holds no secret.
  - A card that is interrupted while it only gets a new seed has no partition table either, and is written
    whole by the next run.
  - Needs mtools. An image that is not in the cache of M(bramble.pi.os_image) is put into the temporary folder
    as that module would, which needs zstd and room.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - With RV(cards[].state=written) again whenever O(force=true).
options:
  image:
    description:
      - The image, as M(bramble.pi.os_image) returns its path, or any image file, raw or packed as zip, gzip,
        xz or zstd.
    type: path
    required: true
  cards:
    description: The cards and what they are to be.
    type: list
    elements: dict
    required: true
    suboptions:
      node:
        description: The name of the node that the card is for.
        type: str
        required: true
      device:
        description: The device or a link to it, for example V(/dev/sdb) or V(/dev/disk/by-id/usb-reader-0:0).
        type: path
        required: true
      id:
        description:
          - What tells the card from others, as RV(cards[].identity) or M(bramble.pi.sd_card_info) gave it. A
            card with another one is not touched.
          - Pass this and O(cards[].serial) from a run in check mode to the one that writes, so that what the
            user agreed to is what is overwritten.
        type: str
      serial:
        description: The serial number of the device, in the same way; empty for one that has none.
        type: str
      seed:
        description: The file with the seed document, which says what the node finds on its boot partition.
        type: path
        required: true
  force:
    description: Write every card, also those that carry the image already.
    type: bool
    default: false
  skip_zeros:
    description:
      - Do not write what is zeros in the image where the card has zeros already, as reading it back proves.
      - A card that has other data in most of those places gets all of the image, which is quicker then.
      - With V(false), all of the image is written to every card.
    type: bool
    default: true
  stall_timeout:
    description: After how many seconds without an answer a card counts as hung and is given up.
    type: float
    default: 60
  max_size:
    description: The largest device that is taken for a card, in bytes.
    type: int
    default: 257000000000
  allow_fixed:
    description:
      - Paths or serial numbers of devices that may be written though they are neither removable nor on USB or
        an MMC slot.
    type: list
    elements: str
    default: []
  allow_loop:
    description: Whether loop devices count as cards, which is for tests.
    type: bool
    default: false
  progress_path:
    description:
      - A file that is there already, to which a line of JSON is added several times a second, with node,
        device, phase, bytes done and in total, bytes a second and seconds left of each card.
      - Set by the module's own action plugin where the module runs on the controller.
    type: path
  collection_version:
    description: What the receipt says that the card was written with. Set by the module's own action plugin.
    type: str
    default: unknown
seealso:
  - module: bramble.pi.os_image
  - module: bramble.pi.boot_files
"""

EXAMPLES = r"""
- name: Write the cards of two nodes at once
  bramble.pi.sd_card:
    image: "{{ os_image.image.path }}"
    cards:
      - node: pi-1
        device: /dev/sdb
        seed: ~/.cache/bramble/cards/pi-1/seed.json
      - node: pi-2
        device: /dev/sdc
        seed: ~/.cache/bramble/cards/pi-2/seed.json
  become: true
  delegate_to: localhost

- name: Write all of an image file, zeros included, whatever the card carries
  bramble.pi.sd_card:
    image: /srv/images/raspios-trixie-arm64-lite.img.xz
    force: true
    skip_zeros: false
    cards:
      - node: pi-3
        device: /dev/mmcblk0
        seed: /srv/seeds/pi-3.json
"""

RETURN = r"""
cards:
  description:
    - What became of each card, or what would in check mode, in the order given.
    - Of cards that the checks found something against, only node, device, state and error.
  returned: always
  type: list
  elements: dict
  contains:
    node:
      description: The name of the node.
      type: str
      sample: pi-1
    device:
      description: The device, with links followed.
      type: str
      sample: /dev/sdb
    model:
      description: What the device is, with its size.
      type: str
      sample: /dev/sdb (Generic SD Reader, 31.9 GB, usb)
    contents:
      description: What lay on it before.
      type: str
      sample: 2 partitions (536.9 MB vfat, 31.3 GB ext4)
    identity:
      description:
        - What tells this card from others, for O(cards[].id) and O(cards[].serial).
        - Where the kernel does not number cards (Linux before 5.15, macOS) the id is the path.
      type: dict
      sample:
        id: /dev/sdb#42
        serial: '000000000903'
    carries:
      description: The receipt that the card carried before, V(none) if it had none that is whole.
      type: dict
      sample:
        schema: 1
        node: pi-7
        image:
          name: 2026-09-15-raspios-trixie-arm64-lite.img
          sha256: 3e4b1a9d42c9a0a1e6b4d7d34a6f7e0bd7b2e2a2a2bdbf1d0c6f8f1f7c9a5b21
          size: 2914000896
        seed: pi-7-0a1b2c3d4e5f
        written: '2025-12-24T08:00:00Z'
        collection: 0.1.0
    image:
      description: The name of the image.
      type: str
      sample: 2026-09-15-raspios-trixie-arm64-lite.img
    state:
      description: V(written), V(seeded), V(unchanged) or V(failed).
      type: str
      sample: written
    bytes_written:
      description: How many bytes were written, zeros that were there already left out.
      type: int
      sample: 2147483648
    bytes_verified:
      description: How many bytes were read back and found right.
      type: int
      sample: 2914000896
    seconds:
      description: How long it took.
      type: float
      sample: 61.2
    verified:
      description: Whether all that was written was read back and found right.
      type: bool
      sample: true
    error:
      description: What went wrong and what helps, V(none) if nothing did.
      type: str
      sample: reading at offset 1048576 failed (Input/output error)
    receipt:
      description: The receipt that the card carries, V(none) if it failed.
      type: dict
      sample:
        schema: 1
        node: pi-1
        image:
          name: 2026-09-15-raspios-trixie-arm64-lite.img
          sha256: 3e4b1a9d42c9a0a1e6b4d7d34a6f7e0bd7b2e2a2a2bdbf1d0c6f8f1f7c9a5b21
          size: 2914000896
        seed: pi-1-8d2f0c1a77e3
        written: '2026-01-31T17:05:09Z'
        collection: 0.1.0
"""

import contextlib
import signal
from collections.abc import Iterator

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.child_process import WorkError
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.job import CardJob, JobOptions
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.refusals import MAXIMUM_SIZE


class _StoppedError(Exception):
    """The user does not want it to go on."""


def _stop(number: int, _frame: object) -> None:
    raise _StoppedError(f"Stopped by {signal.Signals(number).name}")


@contextlib.contextmanager
def _interruptions(module: AnsibleModule) -> Iterator[None]:
    """End the module if the work is cut off, and say what that leaves."""
    try:
        yield
    except (_StoppedError, WorkError) as error:
        module.fail_json(
            msg=f"{error}. Cards that were being written have no partition table, so that they do not boot; "
            f"run this again to write them.",
            changed=True,
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "path", "required": True},
            "cards": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "node": {"type": "str", "required": True},
                    "device": {"type": "path", "required": True},
                    "id": {"type": "str"},
                    "serial": {"type": "str"},
                    "seed": {"type": "path", "required": True},
                },
            },
            "force": {"type": "bool", "default": False},
            "skip_zeros": {"type": "bool", "default": True},
            "stall_timeout": {"type": "float", "default": 60},
            "max_size": {"type": "int", "default": MAXIMUM_SIZE},
            "allow_fixed": {"type": "list", "elements": "str", "default": []},
            "allow_loop": {"type": "bool", "default": False},
            "progress_path": {"type": "path"},
            "collection_version": {"type": "str", "default": "unknown"},
        },
        supports_check_mode=True,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    job = CardJob(
        options=JobOptions(**module.params),
        run=module.run_command,
        mtools=module.run_command,
        scratch=module.tmpdir,
        check_mode=module.check_mode,
    )
    with module_errors(module), _interruptions(module):
        job.check()
        if not module.check_mode:
            job.write()
    result = job.result()
    failures = job.failures()
    if failures:
        count = len(result["cards"])
        others = "none is complete" if len(failures) == count else "the others are complete"
        module.fail_json(
            msg="\n".join([f"{len(failures)} of {count} cards failed, {others}.", *failures]), **result
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
