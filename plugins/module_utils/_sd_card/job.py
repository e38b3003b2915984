# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module sd_card: check all cards, prepare what each gets, and write those that need it."""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, NamedTuple, TypeVar

from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import Seed
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import BootPartitionError, MtoolsRunner
from ansible_collections.bramble.pi.plugins.module_utils._common.child_process import ChildProcess
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._sd_card import plan
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.block_devices import (
    BlockDeviceError,
    contents,
    describe,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.device import CardDevice, CardError
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.find_devices import find_device
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.refusals import refusals
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.stream import Image
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.writer import Card, write_cards

_T = TypeVar("_T")


class RefusedError(BrambleError):
    """Something speaks against what is asked for; nothing was touched."""


@dataclass(frozen=True)
class JobOptions:
    """What is asked for, as the module sd_card describes it."""

    image: str
    cards: Sequence[Mapping[str, Any]]
    force: bool
    skip_zeros: bool
    stall_timeout: float
    max_size: int
    allow_fixed: Collection[str]
    allow_loop: bool
    progress_path: str | None
    collection_version: str


class _Found(NamedTuple):
    """The device that an order names."""

    path: str
    write_path: str
    size: int
    model: str
    contents: str
    id: str
    serial: str

    @property
    def sequence(self) -> str:
        """The number that the kernel gave to this card, empty where it gives none."""
        return self.id.rpartition("#")[2] if "#" in self.id else ""


class _Order:
    """One card of the list, from what is asked for to what came of it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.node = options["node"]
        #: What the card was known by when it was shown to the user, None where that does not count.
        self.agreed = {key: options.get(key) for key in ("id", "serial")}
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
        #: What lies on the card as its receipt.
        self.receipt_file = ""
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


class CardJob:
    """Checks all cards, then writes those that need it."""

    def __init__(
        self, *, options: JobOptions, run: Runner, mtools: MtoolsRunner, scratch: str, check_mode: bool
    ) -> None:
        """Take what runs commands and mtools, and a folder for temporary files."""
        self._options = options
        self._run = run
        self._mtools = mtools
        self._scratch = scratch
        self._check_mode = check_mode
        self._orders = [_Order(card) for card in options.cards]
        self._problems: list[str] = []
        self._prepared: plan.Prepared | None = None
        self._image: Image | None = None
        self._written = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    @contextlib.contextmanager
    def _noting(self, order: _Order) -> Iterator[None]:
        """Keep what speaks against a card, so that all of it can be told at once."""
        try:
            yield
        except (plan.CardPlanError, BootPartitionError, CardError) as error:
            self._problems.append(f"{order.node} ({order.path}): {error}")

    def _refuse(self) -> None:
        if self._problems:
            raise RefusedError("\n".join(["No card was touched.", *self._problems]))

    def check(self) -> None:
        """Check everything, and prepare the boot partitions; touch nothing."""
        try:
            self._prepared = plan.prepare_image(path=self._options.image, folder=self._scratch)
        except plan.CardPlanError as error:
            self._problems.append(str(error))
        for order in self._orders:
            with self._noting(order):
                order.seed = plan.read_seed(path=order.seed_path, node=order.node)
        for order, found in self._ask_cards(self._find):
            *device, against = found
            order.found = _Found(*device)
            self._problems += [f"{order.node}: {reason}" for reason in against]
            self._refuse_another(order, order.found)
        self._refuse_duplicates()
        self._refuse()
        for order in self._orders:
            found = _needed(order.found)
            with self._noting(order):
                order.device = CardDevice(
                    path=found.path, write_path=found.write_path, size=found.size, sequence=found.sequence
                )
        self._refuse()
        for order, seen in self._ask_cards(self._look):
            order.state, order.boot_offset, order.carries, order.receipt_file = seen
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

        timeout = self._options.stall_timeout
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

    def _refuse_another(self, order: _Order, found: _Found) -> None:
        """Refuse a device that took the name of the one that was agreed to."""
        for key, agreed in order.agreed.items():
            seen = getattr(found, key)
            if agreed is not None and agreed != seen:
                self._problems.append(
                    f"{order.node} ({order.path}): the {key} of {found.model} is {seen!r}; expected "
                    f"{agreed!r}, of the card that was agreed to: another one took its name. Put the right "
                    "one in, and run this again"
                )

    def _find(self, order: _Order) -> tuple[str, str, int, str, str, str, str, list[str]]:
        device = find_device(run=self._run, path=order.path)
        against = refusals(
            device=device,
            minimum_size=self._prepared.image_map.size if self._prepared else 0,
            maximum_size=self._options.max_size,
            allow_loop=self._options.allow_loop,
            allow_fixed=self._options.allow_fixed,
        )
        found = _Found(
            device.path,
            device.write_path,
            device.size,
            describe(device),
            contents(device),
            device.id,
            device.serial,
        )
        return *found, [str(why) for why in against]

    def _refuse_duplicates(self) -> None:
        nodes: dict[str, str] = {}
        devices: dict[str, str] = {}
        for order in self._orders:
            other_path = nodes.setdefault(order.node, order.path)
            if other_path is not order.path:
                self._problems.append(
                    f"{order.node} has two cards, {other_path} and {order.path}, expected one; "
                    "correct 'cards'"
                )
            if order.found:
                other_node = devices.setdefault(order.found.path, order.node)
                if other_node is not order.node:
                    self._problems.append(
                        f"{other_node} and {order.node} both have {order.found.path}, expected a device "
                        f"for each; correct 'device' of one of them (flash_device of the role flash)"
                    )

    def _look(self, order: _Order) -> tuple[str, int, dict[str, Any] | None, str]:
        """Say what is to become of a card, where its boot partition begins, and its receipt and that file."""
        device, seed, run = _needed(order.device), _needed(order.seed), self._mtools
        receipt, offset, content = plan.inspect_card(device=device, run=run)
        state = plan.next_state(
            receipt=receipt,
            sha256=_needed(self._prepared).image_map.sha256,
            seed=seed,
            force=self._options.force,
        )
        if state == "seeded":
            # With its receipt, which takes room as well.
            seed = self._in_place(plan.with_receipt(seed=seed, receipt=self._receipt(seed)), content)
            plan.check_seed(device=device, offset=offset, seed=seed, run=run)
        return state, offset, receipt, content.decode(errors="replace")

    def _in_place(self, seed: Seed, content: bytes) -> Seed:
        """Return a seed with what it takes away from a card with that receipt."""
        return plan.without_earlier(
            seed=seed, receipt=content, image=_needed(self._prepared), run=self._mtools
        )

    def _receipt(self, seed: Seed) -> dict[str, Any]:
        """Return the receipt that a card gets with this seed."""
        return plan.make_receipt(
            image=_needed(self._prepared),
            seed=seed,
            written=self._written,
            collection=self._options.collection_version,
        )

    def _apply_seeds(self) -> None:
        """Prepare the boot partition of each card that is written, in files without a name."""
        prepared = _needed(self._prepared)
        with contextlib.closing(
            plan.BootSeeder(
                path=prepared.boot_path,
                boot_offset=prepared.boot_offset,
                folder=self._scratch,
                run=self._mtools,
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
                order.receipt = self._receipt(_needed(order.seed))
                order.seed = plan.with_receipt(seed=_needed(order.seed), receipt=order.receipt)
                if order.state == "seeded":
                    order.seed = self._in_place(order.seed, order.receipt_file.encode())
                if order.state == "written":
                    with self._noting(order):
                        order.seeded_boot = seeder.seed(order.seed)

    def write(self) -> None:
        """Write all cards that need it."""
        orders = [order for order in self._orders if order.state != "unchanged"]
        if orders:
            self._write_all(orders)
        if shutil.which("udevadm"):
            # So that links to the new partitions are there when the next task looks for them.
            self._run(["udevadm", "settle", "--timeout=10"])

    def _write_all(self, orders: list[_Order]) -> None:
        path = self._options.progress_path
        progress = open(path, "r+", encoding="utf-8") if path else None  # noqa: SIM115 - until the end
        child = ChildProcess(lambda alive: self._work(orders, progress, alive))
        try:
            for order, outcome in zip(orders, child.result()):
                order.outcome = outcome
                if outcome["error"]:
                    order.state, order.receipt = "failed", None
        finally:
            child.close()

    def _work(self, orders: list[_Order], progress: IO[str] | None, alive: int) -> list[dict[str, Any]]:
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
                    run=self._mtools,
                ),
            )
            for order in orders
        ]
        write_cards(
            image=_needed(self._image),
            cards=cards,
            skip_zeros=self._options.skip_zeros,
            stall_timeout=self._options.stall_timeout,
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
                    "identity": {"id": _needed(order.found).id, "serial": _needed(order.found).serial},
                    "carries": order.carries,
                    "image": _needed(self._prepared).name,
                    "state": order.state,
                    "verified": order.state in {"written", "seeded"} and not self._check_mode,
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
