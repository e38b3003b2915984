# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to become of a card, and what a seed changes in the boot partition of an image."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._boot.fat import FatBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import Seed, apply_seed, make_seed
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import BootPartitionError
from ansible_collections.bramble.pi.plugins.module_utils._common.download import file_sha256
from ansible_collections.bramble.pi.plugins.module_utils._sd_card import plan
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.device import (
    BLOCK,
    CardDevice,
    aligned_buffer,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.job import CardJob, JobOptions
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.stream import HEAD, Image
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.writer import Card, write_cards

from tests.unit import boot_card
from tests.unit.loop_card import MEBIBYTE, boot_file, has_table, keep_image, make_image

SEED = Seed(id="pi-1-a", node="pi-1", files={"user-data": b"#cloud-config\n"})
RECEIPT = {"schema": 1, "node": "pi-1", "image": {"sha256": "cd"}, "seed": "pi-1-a"}


@pytest.mark.parametrize(
    ("receipt", "force", "state"),
    [
        (RECEIPT, False, "unchanged"),
        (RECEIPT, True, "written"),
        (None, False, "written"),
        ({}, False, "written"),
        ({**RECEIPT, "seed": "pi-1-b"}, False, "seeded"),
        ({**RECEIPT, "seed": None}, False, "seeded"),
        ({**RECEIPT, "node": "pi-2"}, False, "written"),
        ({**RECEIPT, "image": {"sha256": "ef"}}, False, "written"),
        ({**RECEIPT, "image": "cd"}, False, "written"),
        ({**RECEIPT, "schema": 2}, False, "written"),
    ],
)
def test_decides_by_the_receipt(receipt: dict[str, Any] | None, force: bool, state: str) -> None:
    assert plan.next_state(receipt=receipt, sha256="cd", seed=SEED, force=force) == state


def test_reads_the_seed_of_the_node(tmp_path: Path) -> None:
    path = tmp_path / "seed.json"
    path.write_text(json.dumps({"id": "a", "node": "pi-1", "files": {"user-data": "x"}}))
    assert plan.read_seed(path=str(path), node="pi-1").files == {"user-data": b"x"}
    with pytest.raises(plan.CardPlanError, match="is for node 'pi-1'; expected 'pi-2'; correct 'seed'"):
        plan.read_seed(path=str(path), node="pi-2")
    path.write_text('{"id": "a", "node": "pi-1", "secret": 1}')
    with pytest.raises(plan.CardPlanError, match=r"seed\.json: .*secret"):
        plan.read_seed(path=str(path), node="pi-1")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> plan.Prepared:
    folder = tmp_path_factory.mktemp("image")
    raw = make_image(folder / "pi.img", size=20 * MEBIBYTE, data=MEBIBYTE)
    return plan.prepare_image(path=str(keep_image(raw, folder / "cache")), folder=str(folder / "none"))


def seeder(prepared: plan.Prepared, folder: Path) -> plan.BootSeeder:
    return plan.BootSeeder(
        path=prepared.boot_path,
        boot_offset=prepared.boot_offset,
        folder=str(folder),
        run=boot_card.run,
    )


def overlaid(prepared: plan.Prepared, boot: plan.SeededBoot, path: Path) -> Path:
    """Return the boot partition as the card gets it: the image, and over it what the seed changes."""
    path.write_bytes(Path(prepared.boot_path).read_bytes())
    with path.open("r+b") as file:
        for offset, length in [(0, HEAD), *boot.ranges]:
            buffer = aligned_buffer(length)
            boot.read(buffer, offset)
            file.seek(offset)
            file.write(buffer)
    return path


def test_seeds_change_little_and_do_not_mix(prepared: plan.Prepared, tmp_path: Path) -> None:
    with contextlib.closing(seeder(prepared, tmp_path)) as boots:
        one = boots.seed(SEED._replace(files={"user-data": b"one" * 3000, "one": b"1"}))
        other = boots.seed(SEED._replace(files={"user-data": b"other", "two/three": b"2"}))
        again = boots.seed(SEED._replace(files={"user-data": b"one" * 3000, "one": b"1"}))
    for boot in (one, other, again):
        assert all(offset % BLOCK == 0 and offset >= HEAD for offset, _length in boot.ranges)
        assert 0 < sum(length for _offset, length in boot.ranges) < 200_000
    card = overlaid(prepared, one, tmp_path / "one.img")
    assert boot_file(card, "user-data") == b"one" * 3000
    assert boot_file(card, "kernel8.img") == boot_file(Path(prepared.boot_path), "kernel8.img")
    card = overlaid(prepared, other, tmp_path / "other.img")
    assert boot_file(card, "user-data") == b"other"
    assert boot_file(card, "two/three") == b"2"
    listing = boot_card.command("mdir", "-b", "-i", f"{card}@@{boot_card.OFFSET}", "::/")
    assert b"one" not in listing
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tmp")], "the copy is removed"


def test_a_seed_that_does_not_fit_spoils_nothing(prepared: plan.Prepared, tmp_path: Path) -> None:
    with contextlib.closing(seeder(prepared, tmp_path)) as boots:
        with pytest.raises(BootPartitionError, match="bytes free; expected"):
            boots.seed(SEED._replace(files={"user-data": bytes(10 * MEBIBYTE)}))
        card = overlaid(prepared, boots.seed(SEED), tmp_path / "card.img")
    assert boot_file(card, "user-data") == b"#cloud-config\n"


class CardInFile:
    """A card in a file, whose first run of a command may fail."""

    def __init__(self, path: Path, prepared: plan.Prepared, failing: str = "") -> None:
        with contextlib.closing(seeder(prepared, path.parent)) as boots:
            overlaid(prepared, boots.seed(SEED), path)
        os.truncate(path, prepared.image_map.size)
        self.path = path
        self.device = CardDevice(path=str(path), write_path=str(path), size=path.stat().st_size)
        self._failing = failing

    def run(self, line: list[str], **keywords: Any) -> tuple[int, bytes, bytes]:
        code, output, error = boot_card.run(line, **keywords)
        if self._failing and re.search(self._failing, " ".join(line)):
            self._failing = ""
            return 1, b"", b"what mtools says"
        return code, output, error

    def seed_in_place(self, seed: Seed) -> Card:
        reseed = functools.partial(
            plan.seed_in_place,
            device=self.device,
            offset=boot_card.OFFSET,
            seed=seed,
            run=self.run,
        )
        card = Card(node="pi-1", device=self.device, reseed=reseed)
        image = Image(path="", size=0, sha256="", data=(), boot_size=0, boot_sha256="")
        alive, _other = os.pipe()
        write_cards(
            image=image,
            cards=[card],
            skip_zeros=True,
            stall_timeout=60,
            publish=lambda _samples: None,
            alive=alive,
        )
        return card


@pytest.mark.parametrize(
    ("failing", "files"),
    [
        # What the checks before do not see: the card is full by now, mtools refuses something.
        ("mcopy.*bramble.new", {"user-data": b"new", "more": b"x"}),
        ("", {"user-data": b"new", "large": bytes(10 * MEBIBYTE)}),
        ("", {"user-data": b"new", "a": b"", "a/b": b""}),
        ("", {"user-data": b"new", "kernel8.img/b": b""}),
    ],
)
def test_a_card_that_cannot_be_seeded_again_is_what_it_was(
    prepared: plan.Prepared, tmp_path: Path, failing: str, files: dict[str, bytes]
) -> None:
    made = CardInFile(tmp_path / "card.img", prepared, failing)
    card = made.seed_in_place(SEED._replace(files=files))
    assert card.error
    assert card.error.endswith("The card has what it had before, and boots with that.")
    assert has_table(made.path)
    assert boot_file(made.path, "user-data") == b"#cloud-config\n"
    names = boot_card.command("mdir", "-/", "-b", "-a", "-i", f"{made.path}@@{boot_card.OFFSET}", "::/")
    assert b"bramble.new" not in names
    assert b"more" not in names


def test_a_card_that_failed_half_way_has_no_table(prepared: plan.Prepared, tmp_path: Path) -> None:
    made = CardInFile(tmp_path / "card.img", prepared, "mmove")
    card = made.seed_in_place(SEED._replace(files={"user-data": b"new", "more": b"x"}))
    assert "what mtools says" in (card.error or "")
    assert not has_table(made.path)


def a_job(made: CardInFile, prepared: plan.Prepared, folder: Path) -> tuple[CardJob, Any]:
    """Return a job for a card in a file, and its one order."""
    options = JobOptions("", [], False, True, 60, 0, (), True, None, "1.2.3")
    job = CardJob(
        options=dataclasses.replace(options, cards=[{"node": "pi-1", "device": str(made.path), "seed": ""}]),
        run=boot_card.run,  # type: ignore[arg-type]  # no command but mtools is run
        mtools=boot_card.run,
        scratch=str(folder),
        check_mode=True,
    )
    order = job._orders[0]
    job._prepared, order.device = prepared, made.device
    return job, order


def test_the_receipt_counts_when_the_room_is_checked(prepared: plan.Prepared, tmp_path: Path) -> None:
    made = CardInFile(tmp_path / "card.img", prepared)
    boot = FatBoot(path=str(made.path), offset=boot_card.OFFSET, run=boot_card.run)
    job, order = a_job(made, prepared, tmp_path)
    receipt = plan.make_receipt(image=prepared, seed=SEED, written="2026-01-31T17:05:09Z", collection="1.2.3")
    boot.change(write=plan.with_receipt(seed=SEED, receipt=receipt).files)

    def look(size: int) -> str:
        order.seed = SEED._replace(id="pi-1-b", files={"large": bytes(size)})
        return job._look(order)[0]

    most = next(size for size in range(boot.free, 0, -2048) if fits(boot, size))
    with pytest.raises(BootPartitionError, match="bytes free; expected"):
        look(most)
    assert look(most - MEBIBYTE) == "seeded"


def test_what_is_taken_out_of_the_seed_goes_from_the_card(
    prepared: plan.Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only a device has a cache to drop.
    monkeypatch.setattr(CardDevice, "drop_cache", lambda _device: None)
    made = CardInFile(tmp_path / "card.img", prepared)
    boot = functools.partial(FatBoot, path=str(made.path), offset=boot_card.OFFSET, run=boot_card.run)
    before = {name: boot().read(name) for name in ("config.txt", "cmdline.txt")}
    old = make_seed(
        files={"user-data": b"old", "token.txt": b"secret", "kernel8.img": b"mine"},
        config_txt=[{"setting": "dtoverlay", "value": "disable-wifi"}],
        cmdline={"present": ["quiet"], "set": {"panic": 10}},
    )._replace(id="pi-1-old", node="pi-1")
    job, order = a_job(made, prepared, tmp_path)
    first = plan.with_receipt(seed=old, receipt=job._receipt(old))
    apply_seed(boot=boot(), seed=first, dry_run=False)
    assert b"disable-wifi" in (boot().read("config.txt") or b"")

    order.seed = make_seed(files={"user-data": b"new"})._replace(id="pi-1-new", node="pi-1")
    state, _offset, carries, content = job._look(order)
    assert (state, (carries or {})["seed"]) == ("seeded", "pi-1-old")
    order.state, order.receipt_file = state, content
    job._apply_seeds()
    card = made.seed_in_place(order.seed)
    assert card.error is None
    assert has_table(made.path)
    assert {name: boot().read(name) for name in before} == before
    assert boot().read("token.txt") is None
    assert boot().read("user-data") == b"new"
    assert boot().read("kernel8.img") == boot_file(Path(prepared.boot_path), "kernel8.img")
    receipt = json.loads(boot().read("bramble-receipt.json") or b"")
    assert (receipt["seed"], receipt["applied"]["files"]) == ("pi-1-new", ["user-data"])


def fits(boot: FatBoot, size: int) -> bool:
    """Tell whether a file of that size alone has room."""
    try:
        boot.change(write={"large": bytes(size)}, dry_run=True)
    except BootPartitionError:
        return False
    return True


def test_takes_any_image_and_refuses_what_is_none(tmp_path: Path, prepared: plan.Prepared) -> None:
    raw = make_image(tmp_path / "pi.img", size=20 * MEBIBYTE, data=MEBIBYTE)
    found = plan.prepare_image(path=str(raw), folder=str(tmp_path / "cache"))
    assert found.image_map.sha256 == file_sha256(str(raw))
    assert (found.name, found.boot_offset) == ("pi.img", boot_card.OFFSET)
    # What os_image has kept is taken as it is.
    kept = plan.prepare_image(path=prepared.path, folder=str(tmp_path / "none"))
    assert kept == prepared
    assert not (tmp_path / "none").exists()
    with pytest.raises(plan.CardPlanError, match=r"none\.img cannot be read .*correct 'image'"):
        plan.prepare_image(path=str(tmp_path / "none.img"), folder=str(tmp_path / "cache"))


def test_the_receipt_tells_no_secret() -> None:
    image = plan.Prepared("/i.zst", plan.ImageMap(5, "cd", ()), "pi.img", "/b", 0)
    seed = SEED._replace(files={"user-data": b"secret"})
    receipt = plan.make_receipt(image=image, seed=seed, written="2026-01-31T17:05:09Z", collection="1.2.3")
    assert receipt == {
        "schema": 1,
        "node": "pi-1",
        "image": {"name": "pi.img", "sha256": "cd", "size": 5},
        "seed": "pi-1-a",
        "written": "2026-01-31T17:05:09Z",
        "collection": "1.2.3",
    }
    files = plan.with_receipt(seed=seed, receipt=receipt).files
    # On the card it tells in addition what the seed has brought, and not what is in it.
    brought = {"files": ["user-data"], "config_txt": [], "cmdline": []}
    assert json.loads(files["bramble-receipt.json"]) == {**receipt, "applied": brought}
    assert b"secret" not in files["bramble-receipt.json"]
    assert files["user-data"] == b"secret"
