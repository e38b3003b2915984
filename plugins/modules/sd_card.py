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
    carries:
      description: The receipt that the card carried before, V(none) if it had none.
      type: dict
      sample:
        schema: 1
        node: pi-7
        image:
          name: 2025-12-04-raspios-trixie-arm64-lite.img
          sha256: 3e4b1a9d42c9a0a1e6b4d7d34a6f7e0bd7b2e2a2a2bdbf1d0c6f8f1f7c9a5b21
          size: 2914000896
        seed: pi-7-0a1b2c3d4e5f
        written: '2025-12-24T08:00:00Z'
        collection: 0.1.0
    image:
      description: The name of the image.
      type: str
      sample: 2025-12-04-raspios-trixie-arm64-lite.img
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
          name: 2025-12-04-raspios-trixie-arm64-lite.img
          sha256: 3e4b1a9d42c9a0a1e6b4d7d34a6f7e0bd7b2e2a2a2bdbf1d0c6f8f1f7c9a5b21
          size: 2914000896
        seed: pi-1-8d2f0c1a77e3
        written: '2026-01-31T17:05:09Z'
        collection: 0.1.0
"""

import contextlib
import datetime
import functools
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple, TypeVar

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import BootPartitionError, Seed
from ansible_collections.bramble.pi.plugins.module_utils._common.child_process import ChildProcess, WorkError
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._sd_card import plan
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.block_devices import (
    MAXIMUM_SIZE,
    BlockDeviceError,
    contents,
    describe,
    find_device,
    refusals,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.device import CardDevice, CardError
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.writer import Card, Image, write_cards

_T = TypeVar("_T")


class _RefusedError(BrambleError):
    """Something speaks against what is asked for; nothing was touched."""


class _StoppedError(Exception):
    """The user does not want it to go on."""


class _Found(NamedTuple):
    """The device that an order names."""

    path: str
    write_path: str
    size: int
    model: str
    contents: str


class _Order:
    """One card of the list, from what is asked for to what came of it."""

    def __init__(self, options: dict[str, str]) -> None:
        self.node = options["node"]
        self.path = options["device"]
        self.seed_path = options["seed"]
        self.found: _Found | None = None
        self.device: CardDevice | None = None
        self.seed: Seed | None = None
        self.seeded_boot: plan.SeededBoot | None = None
        self.boot_offset = 0
        self.state = "written"
        self.carries: dict[str, Any] | None = None
        self.receipt: dict[str, Any] | None = None
        self.outcome: dict[str, Any] = {
            "bytes_written": 0,
            "bytes_verified": 0,
            "seconds": 0.0,
            "error": None,
        }


def _needed(value: _T | None) -> _T:
    """Return what the checks before have found."""
    if value is None:
        raise ValueError("used before it was checked")
    return value


class _Cards:
    """Checks all cards, then writes those that need it."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._options = module.params
        self._orders = [_Order(card) for card in self._options["cards"]]
        self._problems: list[str] = []
        self._prepared: plan.Prepared | None = None
        self._image: Image | None = None

    @contextlib.contextmanager
    def _noting(self, order: _Order) -> Iterator[None]:
        """Keep what speaks against a card, so that all of it can be told at once."""
        try:
            yield
        except (plan.CardPlanError, BootPartitionError, CardError) as error:
            self._problems.append(f"{order.node} ({order.path}): {error}")

    def _refuse(self) -> None:
        if self._problems:
            raise _RefusedError("\n".join(["No card was touched.", *self._problems]))

    def check(self) -> None:
        """Judge everything, and make up the boot partitions; touch nothing."""
        try:
            self._prepared = plan.prepare_image(path=self._options["image"], folder=self._module.tmpdir)
        except plan.CardPlanError as error:
            self._problems.append(str(error))
        for order in self._orders:
            with self._noting(order):
                order.seed = plan.read_seed(path=order.seed_path, node=order.node)
        for order, found in self._ask_cards(self._find):
            *device, against = found
            order.found = _Found(*device)
            self._problems += [f"{order.node}: {reason}" for reason in against]
        self._refuse_doubles()
        self._refuse()
        for order in self._orders:
            found = _needed(order.found)
            with self._noting(order):
                order.device = CardDevice(path=found.path, write_path=found.write_path, size=found.size)
        self._refuse()
        for order, seen in self._ask_cards(self._look):
            order.state, order.boot_offset, order.carries = seen
            order.receipt = order.carries
        self._refuse()
        self._apply_seeds()
        self._refuse()

    def _ask_cards(self, work: Callable[[_Order], Any]) -> Iterator[tuple[_Order, Any]]:
        """Do something with each card, beside this process, as a card may hang already."""

        def ask(order: _Order, _alive: int) -> tuple[Any, str | None]:
            try:
                return work(order), None
            except (BlockDeviceError, BootPartitionError, CardError) as error:
                return None, str(error)

        timeout = self._options["stall_timeout"]
        asked = [(order, ChildProcess(functools.partial(ask, order))) for order in self._orders]
        for order, answer in asked:
            try:
                result, problem = answer.result(timeout=timeout)
            except TimeoutError:
                problem = (
                    f"looking at it did not come back for {timeout:g} s: the card or its reader hangs; take "
                    f"it out, try another reader, then another card"
                )
            answer.close()
            if problem:
                self._problems.append(f"{order.node} ({order.path}): {problem}")
            else:
                yield order, result

    def _find(self, order: _Order) -> tuple[str, str, int, str, str, list[str]]:
        device = find_device(run=self._module.run_command, path=order.path)
        against = refusals(
            device=device,
            minimum_size=self._prepared.image_map.size if self._prepared else 0,
            maximum_size=self._options["max_size"],
            allow_loop=self._options["allow_loop"],
            allow_fixed=self._options["allow_fixed"],
        )
        found = _Found(device.path, device.write_path, device.size, describe(device), contents(device))
        return *found, [str(why) for why in against]

    def _refuse_doubles(self) -> None:
        nodes: dict[str, str] = {}
        devices: dict[str, str] = {}
        for order in self._orders:
            other_path = nodes.setdefault(order.node, order.path)
            if other_path is not order.path:
                self._problems.append(
                    f"{order.node} has two cards, {other_path} and {order.path}, wanted one; correct 'cards'"
                )
            if order.found:
                other_node = devices.setdefault(order.found.path, order.node)
                if other_node is not order.node:
                    self._problems.append(
                        f"{other_node} and {order.node} both have {order.found.path}, wanted a device for "
                        f"each; correct 'device' of one of them (flash_device of the role flash)"
                    )

    def _look(self, order: _Order) -> tuple[str, int, dict[str, Any] | None]:
        """Say what is to become of a card, where its boot partition begins, and what receipt it carries."""
        device, seed, run = _needed(order.device), _needed(order.seed), self._module.run_command
        receipt, offset = plan.inspect_card(device=device, run=run)
        state = plan.judge(
            receipt=receipt,
            sha256=_needed(self._prepared).image_map.sha256,
            seed=seed,
            force=self._options["force"],
        )
        if state == "seeded":
            plan.check_seed(device=device, offset=offset, seed=seed, run=run)
        return state, offset, receipt

    def _apply_seeds(self) -> None:
        """Make up the boot partition of each card that is written, in files without a name."""
        prepared = _needed(self._prepared)
        written = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        with contextlib.closing(
            plan.BootSeeder(
                path=prepared.boot_path,
                boot_offset=prepared.boot_offset,
                folder=self._module.tmpdir,
                run=self._module.run_command,
            )
        ) as seeder:
            self._image = Image(
                path=prepared.path,
                size=prepared.image_map.size,
                sha256=prepared.image_map.sha256,
                data=prepared.image_map.data,
                boot_size=seeder.size,
                boot_sha256=seeder.sha256,
            )
            for order in self._orders:
                if order.state == "unchanged":
                    continue
                order.receipt = plan.make_receipt(
                    image=prepared,
                    seed=_needed(order.seed),
                    written=written,
                    collection=self._options["collection_version"],
                )
                order.seed = plan.with_receipt(seed=_needed(order.seed), receipt=order.receipt)
                if order.state == "written":
                    with self._noting(order):
                        order.seeded_boot = seeder.seed(order.seed)

    def write(self) -> None:
        """Write all cards that need it."""
        orders = [order for order in self._orders if order.state != "unchanged"]
        if not orders:
            return
        path = self._options["progress_path"]
        progress = open(path, "r+", encoding="utf-8") if path else None  # noqa: SIM115 - until the end
        engine = ChildProcess(lambda alive: self._write(orders, progress, alive))
        try:
            for order, outcome in zip(orders, engine.result()):
                order.outcome = outcome
                if outcome["error"]:
                    order.state, order.receipt = "failed", None
        finally:
            engine.close()

    def _write(self, orders: list[_Order], progress: IO[str] | None, alive: int) -> list[dict[str, Any]]:
        def publish(samples: list[dict[str, Any]]) -> None:
            if progress:
                progress.write(json.dumps(samples) + "\n")
                progress.flush()

        cards = [
            Card(
                node=order.node,
                device=_needed(order.device),
                overlay=order.seeded_boot,
                reseed=functools.partial(
                    plan.seed_in_place,
                    device=_needed(order.device),
                    offset=order.boot_offset,
                    seed=_needed(order.seed),
                    run=self._module.run_command,
                ),
            )
            for order in orders
        ]
        write_cards(
            image=_needed(self._image),
            cards=cards,
            skip_zeros=self._options["skip_zeros"],
            stall_timeout=self._options["stall_timeout"],
            publish=publish,
            alive=alive,
        )
        return [card.result() for card in cards]

    def result(self) -> dict[str, Any]:
        """Return what became of the cards, or what would."""
        return {
            "changed": any(order.state != "unchanged" for order in self._orders),
            "cards": [
                {
                    "node": order.node,
                    "device": _needed(order.found).path,
                    "model": _needed(order.found).model,
                    "contents": _needed(order.found).contents,
                    "carries": order.carries,
                    "image": _needed(self._prepared).name,
                    "state": order.state,
                    "verified": order.state in {"written", "seeded"} and not self._module.check_mode,
                    "receipt": order.receipt,
                    **order.outcome,
                }
                for order in self._orders
            ],
        }

    def failures(self) -> list[str]:
        """Return what to say of each card that failed."""
        return [
            f"{order.node}, {_needed(order.found).model}: {order.outcome['error']}"
            for order in self._orders
            if order.state == "failed"
        ]


def _stop(number: int, _frame: object) -> None:
    raise _StoppedError(signal.Signals(number).name)


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
    cards = _Cards(module)
    try:
        cards.check()
        if not module.check_mode:
            cards.write()
            if shutil.which("udevadm"):
                # So that links to the new partitions are there when the next task looks for them.
                module.run_command(["udevadm", "settle", "--timeout=10"])
    except _RefusedError as error:
        module.fail_json(msg=str(error))
    except _StoppedError as error:
        module.fail_json(
            msg=f"Stopped by {error}. Cards that were being written have no partition table, so that they do "
            f"not boot; run this again to write them.",
            changed=True,
        )
    except WorkError as error:
        module.fail_json(
            msg=f"{error}. Cards that were being written have no partition table, so that they do not boot; "
            f"run this again to write them.",
            changed=True,
        )
    result = cards.result()
    failures = cards.failures()
    if failures:
        count = len(result["cards"])
        others = "none is complete" if len(failures) == count else "the others are complete"
        module.fail_json(
            msg="\n".join([f"{len(failures)} of {count} cards failed, {others}.", *failures]), **result
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
