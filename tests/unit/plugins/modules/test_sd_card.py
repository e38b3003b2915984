# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards are written, seeded and refused; and killed, cut from power, worn out and hung, on loop devices."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._boot.receipt import parse_receipt
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.device import CardDevice, CardError

from tests import loop_devices
from tests.seed import chance
from tests.unit import boot_card
from tests.unit.kill import Moment, moment_name
from tests.unit.loop_card import (
    MEBIBYTE,
    LoopCard,
    Run,
    assert_complete,
    boot_file,
    has_table,
    keep_image,
    make_image,
    needs_throttle,
    wait_until_free,
    write_seed,
)

IMAGE_SIZE = 48 * MEBIBYTE
CARD_SIZE = 56 * MEBIBYTE


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_image(tmp_path_factory.mktemp("image") / "pi.img", size=IMAGE_SIZE, data=12 * MEBIBYTE)


@pytest.fixture(scope="module")
def image(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keep_image(raw, tmp_path_factory.mktemp("cache"))


class Lab:
    """A folder with cards, and an image for them, raw and as os_image keeps it."""

    def __init__(self, folder: Path, raw: Path, image: Path) -> None:
        self.folder = folder
        self.raw = raw
        self.image = image
        self.made: list[LoopCard] = []

    def card(self, size: int = CARD_SIZE, **options: int) -> LoopCard:
        self.made.append(LoopCard(self.folder / f"card-{len(self.made)}", size, **options))
        return self.made[-1]

    def order(self, node: str, card: LoopCard | str, **seed: Any) -> dict[str, str]:
        """Return an entry of the module's list of cards."""
        device = card if isinstance(card, str) else card.device
        return {"node": node, "device": device, "seed": write_seed(self.folder, node, **seed)[1]}

    def run(self, **options: Any) -> Run:
        return Run(self.folder, **{"image": str(self.image), **options})

    def flash(self, **options: Any) -> dict[str, Any]:
        return self.run(**options).result()


@pytest.fixture
def lab(tmp_path: Path, raw: Path, image: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, raw, image)
    yield made
    for card in made.made:
        card.detach()


def fill(card: LoopCard) -> bytes:
    """Fill a card with what a used one may hold; return its checksum."""
    card.backing.write_bytes(random.Random(7).randbytes(card.backing.stat().st_size))
    return digest(card)


def digest(card: LoopCard) -> bytes:
    return hashlib.sha256(card.backing.read_bytes()).digest()


def states(result: dict[str, Any]) -> list[str]:
    assert "cards" in result, result
    errors = [card["error"] for card in result["cards"] if card["error"]]
    print("\n".join(errors))
    return [card["state"] for card in result["cards"]]


# What becomes of a card


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("skip_zeros", [True, False])
def test_four_steps(lab: Lab, used: bool, skip_zeros: bool) -> None:
    two = [lab.card(), lab.card()]
    before = [fill(card) if used else digest(card) for card in two]
    options = {
        "cards": [lab.order(f"pi-{number}", card) for number, card in enumerate(two, start=1)],
        "skip_zeros": skip_zeros,
        "collection_version": "1.2.3",
    }
    planned = lab.flash(check=True, **options)
    assert planned["changed"]
    assert states(planned) == ["written", "written"]
    assert [digest(card) for card in two] == before

    done = lab.flash(**options)
    assert states(done) == ["written", "written"]
    for number, (card, told) in enumerate(zip(two, done["cards"]), start=1):
        assert told["verified"]
        assert told["error"] is None
        assert told["bytes_verified"] >= IMAGE_SIZE
        assert told["receipt"]["collection"] == "1.2.3"
        assert_complete(card.backing, image=lab.raw, node=f"pi-{number}", seed=f"pi-{number}-0123456789ab")
        assert b"cgroup_enable=memory" in boot_file(card.backing, "cmdline.txt")
    if used:
        rest = random.Random(7).randbytes(CARD_SIZE)[IMAGE_SIZE:]
        assert two[0].backing.read_bytes()[IMAGE_SIZE:] == rest, "what lies behind the image is to stay"
    elif skip_zeros:
        assert done["cards"][0]["bytes_written"] < 16 * MEBIBYTE

    after = [digest(card) for card in two]
    for check in (True, False):
        again = lab.flash(check=check, **options)
        assert not again["changed"]
        assert states(again) == ["unchanged", "unchanged"]
        assert again["cards"][0]["receipt"] == done["cards"][0]["receipt"]
    assert [digest(card) for card in two] == after
    assert not any((lab.folder / "tmp").iterdir()), "a seed has secrets, none of which may stay behind"


def test_seeds_again_without_the_image(lab: Lab) -> None:
    card = lab.card()
    lab.flash(cards=[lab.order("pi-1", card)])
    with card.backing.open("r+b") as file:
        file.seek(IMAGE_SIZE - 100)
        file.write(b"grown by the first boot")
    new = lab.order("pi-1", card, id_="pi-1-ba9876543210")
    before = digest(card)
    assert states(lab.flash(check=True, cards=[new])) == ["seeded"]
    assert digest(card) == before
    done = lab.flash(cards=[new])
    assert states(done) == ["seeded"]
    assert done["cards"][0]["carries"]["seed"] == "pi-1-0123456789ab"
    assert done["cards"][0]["receipt"]["seed"] == "pi-1-ba9876543210"
    assert done["cards"][0]["bytes_written"] < 3 * MEBIBYTE
    assert b"grown by" in card.backing.read_bytes()[IMAGE_SIZE - 100 :]
    assert boot_file(card.backing, "meta-data") == b"instance-id: pi-1-ba9876543210\n"
    assert states(lab.flash(cards=[new])) == ["unchanged"]
    assert states(lab.flash(cards=[new], force=True)) == ["written"]
    assert_complete(card.backing, image=lab.raw, node="pi-1", seed="pi-1-ba9876543210")


def test_writes_a_card_of_another_node_image_or_table(lab: Lab) -> None:
    card = lab.card()
    lab.flash(cards=[lab.order("pi-1", card)])
    assert states(lab.flash(cards=[lab.order("pi-2", card)])) == ["written"]
    # Any image file will do, and not only one that os_image keeps.
    packed = lab.folder / "other.img.xz"
    other = make_image(lab.folder / "other.img", size=20 * MEBIBYTE, data=MEBIBYTE, seed=1)
    with packed.open("wb") as file:
        subprocess.run(["xz", "-0c", other], check=True, stdout=file)
    assert states(lab.flash(image=str(packed), cards=[lab.order("pi-2", card)])) == ["written"]
    assert_complete(card.backing, image=other, node="pi-2", seed="pi-2-0123456789ab")
    with card.backing.open("r+b") as file:
        file.write(bytes(512))
    assert states(lab.flash(image=str(packed), cards=[lab.order("pi-2", card)])) == ["written"]


@pytest.mark.parametrize(
    ("image_size", "card_size", "sector_size"),
    [
        (20 * MEBIBYTE + 512 * 3, 24 * MEBIBYTE, 512),
        (20 * MEBIBYTE + 512 * 3, 20 * MEBIBYTE + 512 * 3, 512),
        (20 * MEBIBYTE + 512 * 3, 24 * MEBIBYTE, 4096),
        (20 * MEBIBYTE + 100, 20 * MEBIBYTE + 512, 512),
    ],
)
@pytest.mark.parametrize("skip_zeros", [True, False])
def test_sizes_that_are_not_whole_blocks(
    lab: Lab, image_size: int, card_size: int, sector_size: int, skip_zeros: bool
) -> None:
    odd = make_image(lab.folder / "odd.img", size=image_size, data=MEBIBYTE)
    with odd.open("r+b") as file:
        file.seek(image_size - 700)
        file.write(b"x" * (700 if not skip_zeros else 300))
    card = lab.card(size=card_size, sector_size=sector_size)
    fill(card)
    behind = card.backing.read_bytes()[image_size:]
    options = {"image": str(odd), "cards": [lab.order("pi-1", card)], "skip_zeros": skip_zeros}
    assert states(lab.flash(**options)) == ["written"]
    assert_complete(card.backing, image=odd, node="pi-1", seed="pi-1-0123456789ab")
    assert card.backing.read_bytes()[image_size:] == behind


def test_wipes_an_old_backup_table(lab: Lab) -> None:
    card = lab.card()
    subprocess.run(["sfdisk", "--quiet", card.backing], input=b"label: gpt\n,\n", check=True)
    assert b"EFI PART" in card.backing.read_bytes()[-512:]
    lab.flash(cards=[lab.order("pi-1", card)])
    assert b"EFI PART" not in card.backing.read_bytes()


# What is refused


def test_names_all_that_is_wrong_before_touching_any_card(lab: Lab) -> None:
    good, small = lab.card(), lab.card(size=20 * MEBIBYTE)
    before = [digest(good), digest(small)]
    link = lab.folder / "by-id"
    link.symlink_to(good.device)
    (lab.folder / "no.json").write_text("{")
    result = lab.flash(
        cards=[
            lab.order("pi-1", good),
            lab.order("pi-2", str(link)),
            lab.order("pi-3", small),
            lab.order("pi-4", "/dev/no-such-card"),
            {"node": "pi-5", "device": small.device, "seed": write_seed(lab.folder, "pi-6")[1]},
            {"node": "pi-1", "device": small.device, "seed": str(lab.folder / "no.json")},
            {"node": "pi-7", "device": small.device, "seed": str(lab.folder / "none.json")},
        ],
    )
    assert result["failed"]
    lines = result["msg"].splitlines()
    assert lines[0] == "No card was touched."
    for pattern in (
        rf"pi-1 and pi-2 both have {good.device}, expected a device for each",
        rf"pi-3: {small.device} .*is too small: the image needs {IMAGE_SIZE}",
        r"pi-4 \(/dev/no-such-card\): .*",
        r"pi-5 .*is for node 'pi-6'; expected 'pi-5'",
        r"pi-1 .*no\.json is not JSON .*; run the playbook flash, which makes it again",
        rf"pi-1 has two cards, {good.device} and {small.device}",
        r"pi-7 .*none\.json cannot be read \(No such file.*; run the playbook flash",
    ):
        assert any(re.match(pattern, line) for line in lines), (pattern, lines)
    assert [digest(good), digest(small)] == before


def test_consent_is_for_the_card_that_was_shown(lab: Lab) -> None:
    card = lab.card()
    order = lab.order("pi-1", card)
    (shown,) = lab.flash(check=True, cards=[order])["cards"]
    agreed = {**order, **shown["identity"]}
    # Another one takes its name before the answer is given.
    other = lab.folder / "other-card"
    other.write_bytes(random.Random(5).randbytes(CARD_SIZE))
    before = hashlib.sha256(other.read_bytes()).digest()
    with loop_devices.numbers_kept():
        loop_devices.detach(card.device)
        loop_devices.attach_again(card.device, other)
    for check in (True, False):
        result = lab.flash(check=check, cards=[agreed])
        assert result.get("failed"), result
        assert "No card was touched" in result["msg"]
        assert shown["identity"]["id"] in result["msg"]
        assert "agreed to" in result["msg"]
    refused = lab.flash(cards=[{**order, "serial": "000000000903"}])
    assert "the serial of" in refused["msg"]
    assert hashlib.sha256(other.read_bytes()).digest() == before
    (shown,) = lab.flash(check=True, cards=[order])["cards"]
    assert states(lab.flash(cards=[{**order, **shown["identity"]}])) == ["written"]


def test_a_card_that_comes_between_look_and_open(lab: Lab) -> None:
    card = lab.card()
    number = Path(f"/sys/class/block/{Path(card.device).name}/diskseq").read_text().strip()
    opened = functools.partial(CardDevice, path=card.device, write_path=card.device, size=CARD_SIZE)
    opened(sequence=number).close()
    with pytest.raises(CardError, match=r"another card was put in; run again"):
        opened(sequence=str(int(number) - 1))
    wait_until_free(card)


WHOLE = {
    "schema": 1,
    "node": "pi-7",
    "image": {"name": "raspios.img", "sha256": "cd", "size": 5},
    "seed": "pi-7-a",
    "written": "2026-01-31T17:05:09Z",
    "collection": "1.2.3",
}
#: Receipts as another program, another version or a prankster may have left them.
FOREIGN = {
    "no JSON": "{",
    "not UTF-8": "\udcff",
    "nested without end": "[" * 100000,
    "a list": [WHOLE],
    "a text": "pi-7",
    "a number": 7,
    "null": None,
    "empty": {},
    "of a later version": {**WHOLE, "schema": 2},
    "schema true": {**WHOLE, "schema": True},
    "image is a text": {**WHOLE, "image": "raspios.img"},
    "image is null": {**WHOLE, "image": None},
    "image without a name": {**WHOLE, "image": {"sha256": "cd", "size": 5}},
    "image's name is a list": {**WHOLE, "image": {"name": ["a"], "sha256": "cd", "size": 5}},
    "image's size is a text": {**WHOLE, "image": {"name": "a", "sha256": "cd", "size": "5"}},
    "node is a number": {**WHOLE, "node": 7},
    "node is no line": {**WHOLE, "node": "pi-7\nType yes"},
    "node clears the screen": {**WHOLE, "node": "\x1b[2J"},
    "node is long": {**WHOLE, "node": "x" * 5000},
    "written is null": {**WHOLE, "written": None},
    **{f"without {key}": {k: v for k, v in WHOLE.items() if k != key} for key in WHOLE},
}


@pytest.mark.parametrize("receipt", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_receipt_is_none(receipt: object) -> None:
    text = receipt if isinstance(receipt, str) else json.dumps(receipt)
    for content in (text, text.encode("utf-8", "surrogateescape")):
        assert parse_receipt(content=content) is None
    assert parse_receipt(content=json.dumps({**WHOLE, "more": "of later"})) == WHOLE


def test_a_card_with_a_foreign_receipt_is_shown_by_its_contents(lab: Lab) -> None:
    card = lab.card()
    order = lab.order("pi-1", card)
    assert states(lab.flash(cards=[order])) == ["written"]
    for number, receipt in enumerate(FOREIGN.values()):
        if number % 4:
            continue
        path = lab.folder / "receipt"
        text = receipt if isinstance(receipt, str) else json.dumps(receipt)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        target = f"{card.backing}@@{boot_card.OFFSET}"
        boot_card.command("mcopy", "-o", "-i", target, path, "::bramble-receipt.json")
        (shown,) = lab.flash(check=True, cards=[order])["cards"]
        assert (shown["state"], shown["carries"]) == ("written", None)
        assert "partition" in shown["contents"]


def test_refuses_a_card_that_is_in_use(lab: Lab) -> None:
    card = lab.card()
    before = digest(card)
    holder = os.open(card.device, os.O_RDONLY | os.O_EXCL)
    result = lab.flash(cards=[lab.order("pi-1", card)])
    os.close(holder)
    assert re.search(rf"pi-1.*{card.device}.*(in use|uses it)", result["msg"]), result["msg"]
    assert digest(card) == before
    plain = lab.flash(cards=[lab.order("pi-1", card)], allow_loop=False)
    assert "flash_allow_loop" in plain["msg"]
    assert digest(card) == before


def test_refuses_images_and_seeds_that_do_not_fit(lab: Lab) -> None:
    card = lab.card()
    before = digest(card)
    truncated = lab.folder / "truncated.img.zst"
    truncated.write_bytes(lab.image.read_bytes()[:-1000])
    text = lab.folder / "text.img"
    text.write_text("no image\n" * 1000)
    for path, message in (
        (truncated, "truncated.img.zst is truncated or corrupt"),
        (text, "text.img is not a disk image but a text file"),
        (lab.folder / "none.img", "none.img cannot be read"),
    ):
        result = lab.flash(image=str(path), cards=[lab.order("pi-1", card)])
        assert message in result["msg"]
    full = lab.order("pi-1", card, files={"user-data": "x" * 9 * MEBIBYTE})
    result = lab.flash(cards=[full])
    assert re.search(r"pi-1 .*bytes free; expected", result["msg"])
    assert digest(card) == before
    # The same where only the seed is new: the card stays as it is.
    lab.flash(cards=[lab.order("pi-1", card)])
    before = digest(card)
    full = lab.order("pi-1", card, id_="new", files={"user-data": "x" * 9 * MEBIBYTE})
    result = lab.flash(cards=[full])
    assert re.search(r"No card was touched.*\npi-1 .*bytes free; expected", result["msg"])
    assert digest(card) == before


def test_refuses_a_cache_that_is_not_the_images(lab: Lab) -> None:
    image = keep_image(lab.raw, lab.folder / "cache")
    boot = image.with_name(image.name.replace(".img.zst", ".boot.img"))
    with boot.open("r+b") as file:
        file.seek(5 * MEBIBYTE)
        file.write(b"damaged")
    card = lab.card()
    result = lab.flash(image=str(image), cards=[lab.order("pi-1", card)])
    assert "is not the image's" in result["msg"]
    assert not has_table(card.backing)
    assert states(result) == ["failed"]


# What goes wrong on the way


def writing(cards: list[dict[str, Any]]) -> bool:
    return any(card["phase"] == "writing" and card["done"] for card in cards)


def verifying(cards: list[dict[str, Any]]) -> bool:
    return any(card["phase"] == "verifying" for card in cards)


# Phases of a card, and how much of the whole is done by then: from, to.
PHASES: dict[str, list[tuple[str, float, float]]] = {
    "written": [
        ("waiting", 0, 0),
        ("wiping", 0, 0),
        ("writing", 0, 0.1),
        ("writing", 0.1, 0.25),
        ("writing", 0.25, 0.4),
        ("verifying", 0.5, 0.65),
        ("verifying", 0.65, 0.8),
        ("verifying", 0.8, 0.95),
        ("seeding", 0, 1),
        ("finishing", 0, 1),
    ],
    "seeded": [("wiping", 0, 0), ("finishing", 0, 0)],
}


@needs_throttle
@pytest.mark.some(8)
@pytest.mark.parametrize(
    ("state", "phase", "begin", "end"),
    [(state, *each) for state, phases in PHASES.items() for each in phases],
)
def test_killed_in_any_phase_it_ends_verified(
    lab: Lab, state: str, phase: str, begin: float, end: float
) -> None:
    card = lab.card()
    old, new = "pi-1-000000000000", "pi-1-111111111111"
    if state == "seeded":
        lab.flash(cards=[lab.order("pi-1", card, id_=old)])
    else:
        fill(card)
    moment = chance(f"{state} {phase} {begin}")
    share = moment.uniform(begin, end)
    # The short phases last as long as their first or last megabyte, or a few files, take at this speed.
    short = phase in {"waiting", "wiping", "seeding", "finishing"}
    wait = moment.uniform(0, 0.3) if short else 0
    print(f"killed {wait:.3f} s after {share:.3f} was done in the phase {phase}")
    options = {"cards": [lab.order("pi-1", card, id_=new)], "force": state == "written"}
    if phase in {"wiping", "waiting"} or state == "seeded":
        card.throttle(write=MEBIBYTE // 2, read=60 * MEBIBYTE)
    else:
        card.throttle(write=16 * MEBIBYTE, read=16 * MEBIBYTE)

    def comes_to(part: float) -> Callable[[list[dict[str, Any]]], bool]:
        return lambda cards: any(
            each["phase"] == phase and each["done"] >= part * each["total"] for each in cards
        )

    run = lab.run(**options)
    # A slow machine sees late how far it is: what is left must last until then.
    if phase in {"seeding", "finishing"} and state == "written":
        run.wait_for(verifying)
        card.throttle(write=MEBIBYTE // 8, read=16 * MEBIBYTE)
    elif phase in {"writing", "verifying"}:
        run.wait_for(comes_to(share - 0.15))
        card.throttle(write=3 * MEBIBYTE, read=3 * MEBIBYTE)
    if phase != "waiting":
        run.wait_for(comes_to(share))
    time.sleep(wait)
    run.process.send_signal(signal.SIGKILL)
    run.process.communicate()
    assert run.process.returncode == -signal.SIGKILL, "it ended before it was killed"
    card.throttle()
    wait_until_free(card)
    if has_table(card.backing):
        assert state == "seeded" or phase == "finishing", f"a table while {phase}"
        seed = old if old.encode() in boot_file(card.backing, "meta-data") else new
        assert_complete(card.backing, image=lab.raw, node="pi-1", seed=seed)
    assert states(lab.flash(**{**options, "force": True})) == ["written"]
    assert_complete(card.backing, image=lab.raw, node="pi-1", seed=new)


SEEDING = [
    Moment(f"{when} {name}", "subprocess.Popen", pattern, during=when == "while")
    for name, pattern in {
        "files are staged": "mcopy.*bramble.new",
        "files are moved": "mmove.*bramble.new/0",
        "the staging folder is removed": "mdeltree",
    }.items()
    for when in ("before", "while")
]


@pytest.mark.some(3)
@pytest.mark.parametrize("moment", SEEDING, ids=moment_name)
def test_killed_while_it_seeds_in_place_it_ends_verified(lab: Lab, moment: Moment) -> None:
    card = lab.card()
    new = "pi-1-111111111111"
    lab.flash(cards=[lab.order("pi-1", card, id_="pi-1-000000000000")])
    options = {"cards": [lab.order("pi-1", card, id_=new)]}
    run = lab.run(moment=moment, **options)
    run.process.communicate()
    assert run.process.returncode == -signal.SIGKILL
    wait_until_free(card)
    if has_table(card.backing):
        # What writes goes on for a moment before it sees that it is alone.
        assert_complete(card.backing, image=lab.raw, node="pi-1", seed=new)
    assert states(lab.flash(**options, force=True)) == ["written"]
    assert_complete(card.backing, image=lab.raw, node="pi-1", seed=new)


@pytest.mark.alone
@needs_throttle
def test_a_power_cut_leaves_no_table_or_all(lab: Lab) -> None:
    card = lab.card()
    old, new = "pi-1-000000000000", "pi-1-111111111111"
    lab.flash(cards=[lab.order("pi-1", card, id_=old)])
    for state, speed in (("seeded", 2), ("written", 20)):
        card.throttle(write=speed * MEBIBYTE, read=3 * speed * MEBIBYTE)
        options = {"cards": [lab.order("pi-1", card, id_=new)], "force": state == "written"}
        run = lab.run(**options)
        seen = {"none": 0, old: 0, new: 0}
        while run.process.poll() is None:
            copy = card.snapshot(lab.folder / "copy")
            if not has_table(copy):
                seen["none"] += 1
                continue
            seed = old if old.encode() in boot_file(copy, "meta-data") else new
            assert_complete(copy, image=lab.raw, node="pi-1", seed=seed)
            seen[seed] += 1
        assert states(run.result()) == [state]
        assert seen["none"] >= 5, seen
        assert seen[old] == 0 or state == "seeded"
        card.throttle()
        assert_complete(card.backing, image=lab.raw, node="pi-1", seed=new)


@needs_throttle
@pytest.mark.parametrize("skip_zeros", [True, False])
def test_names_the_first_byte_that_reads_back_wrong(lab: Lab, skip_zeros: bool) -> None:
    worn, good = lab.card(), lab.card()
    content = lab.raw.read_bytes()
    last = len(content.rstrip(b"\0")) - 5000
    zeros = content.index(bytes(2 * 65536), len(content) // 2) + 70000
    run = lab.run(
        cards=[lab.order("pi-1", worn), lab.order("pi-2", good)],
        skip_zeros=skip_zeros,
    )
    for card in (worn, good):
        card.throttle(read=20 * MEBIBYTE)
    run.wait_for(verifying)
    with worn.backing.open("r+b") as file:
        file.seek(last)
        file.write(bytes([content[last] ^ 1]))
    with good.backing.open("r+b") as file:
        file.seek(zeros)
        file.write(b"x" if skip_zeros else b"")
    result = run.result()
    assert states(result) == ["failed", "written"]
    assert result["msg"].startswith("1 of 2 cards failed, the others are complete.\n")
    message = (
        rf"pi-1, {worn.device} \(.*\): reads back other bytes than were written, first at offset {last}:"
    )
    assert re.search(message, result["msg"]), result["msg"]
    assert not has_table(worn.backing)
    assert_complete(good.backing, image=lab.raw, node="pi-2", seed="pi-2-0123456789ab")


@pytest.mark.alone
@needs_throttle
def test_gives_a_hung_card_up(lab: Lab) -> None:
    hung, good = lab.card(), lab.card()
    options = {
        "cards": [lab.order("pi-1", hung), lab.order("pi-2", good)],
        "stall_timeout": 3,
    }
    for card in (hung, good):
        card.throttle(write=10 * MEBIBYTE)
    run = lab.run(**options)
    run.wait_for(writing)
    hung.throttle(write=1)
    good.throttle()
    began = time.monotonic()
    result = run.result()
    assert time.monotonic() - began < 15
    assert states(result) == ["failed", "written"]
    assert re.search(r"pi-1, .*: writing at offset \d+ did not come back for 3 s", result["msg"]), result[
        "msg"
    ]
    assert_complete(good.backing, image=lab.raw, node="pi-2", seed="pi-2-0123456789ab")
    hung.throttle()
    wait_until_free(hung)
    assert not has_table(hung.backing)

    hung.throttle(read=1)
    began = time.monotonic()
    result = lab.flash(**options)
    assert time.monotonic() - began < 15
    assert re.search(r"No card was touched.*\npi-1 .*did not come back for 3 s", result["msg"]), result["msg"]


def test_a_dying_card_leaves_the_others_alone(lab: Lab) -> None:
    small = lab.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6M", "tmpfs", small], check=True)
    try:
        dying = LoopCard(small / "card", CARD_SIZE)
        good = lab.card()
        try:
            result = lab.flash(
                cards=[lab.order("pi-1", dying), lab.order("pi-2", good)],
            )
        finally:
            dying.detach()
        assert states(result) == ["failed", "written"]
        pattern = r"pi-1, .*: (writing failed at offset \d+|flushing failed) \(.*\): "
        assert re.search(pattern, result["msg"]), result["msg"]
        assert not has_table(small / "card")
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)
    assert_complete(good.backing, image=lab.raw, node="pi-2", seed="pi-2-0123456789ab")


@needs_throttle
def test_a_card_that_shrinks_is_named(lab: Lab) -> None:
    card = lab.card()
    card.throttle(write=10 * MEBIBYTE)
    run = lab.run(cards=[lab.order("pi-1", card)])
    run.wait_for(writing)
    os.truncate(card.backing, 4 * MEBIBYTE)
    subprocess.run(["losetup", "--set-capacity", card.device], check=True)
    result = run.result()
    assert states(result) == ["failed"]
    pattern = r"pi-1, .*: writing failed at offset \d+ \(No space left on device\): the card has less room"
    assert re.search(pattern, result["msg"]), result["msg"]


@needs_throttle
def test_stops_when_told_to(lab: Lab) -> None:
    card = lab.card()
    card.throttle(write=5 * MEBIBYTE)
    run = lab.run(cards=[lab.order("pi-1", card)])
    run.wait_for(writing)
    run.process.terminate()
    result = run.result(seconds=10)
    assert result["failed"]
    assert "Stopped by SIGTERM" in result["msg"]
    wait_until_free(card)
    assert not has_table(card.backing)
