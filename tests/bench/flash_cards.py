# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what writing cards costs, each figure against the tool that a user would take instead.

    make bench-cards

Cards are loop devices that the kernel slows down to the speed of a good card. It needs root, dd, cmp,
bmaptool, mtools, xz and zstd, and some five minutes in which the machine has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._boot.fat import FatBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import apply_seed, parse_seed

from tests.unit import boot_card
from tests.unit.loop_card import MEBIBYTE, LoopCard, Run, keep_image, write_seed

WRITE_SPEED = 90 * 10**6
READ_SPEED = 180 * 10**6
CARDS = 4
BOOT_SIZE = 256
GROUP = 16 * MEBIBYTE
FILES = {"user-data": "#cloud-config\n" + "# \n" * 1000, "meta-data": "a: 1\n", "network-config": "b: 1\n"}
SEED = {
    "id": "pi-1-0123456789ab",
    "node": "pi-1",
    "files": FILES,
    "config_txt": [{"section": "all", "setting": "arm_boost", "value": "1"}],
    "cmdline": {"present": ["cgroup_enable=memory"]},
}


class Figure(NamedTuple):
    """A line of the table."""

    what: str
    reached: float
    limit: float
    details: str


def command(*line: str | Path, **options: Any) -> None:
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def timed(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def real_files(limit: int) -> Iterator[bytes]:
    """Return what an operating system consists of: the files of this machine's, up to a limit."""
    for folder, _folders, names in os.walk("/usr/lib"):
        for name in names:
            path = Path(folder, name)
            if limit <= 0:
                return
            if path.is_symlink() or not path.is_file():
                continue
            data = path.read_bytes()[:limit]
            limit -= len(data)
            yield data


def make_image(path: Path, size: int) -> Path:
    """Make an image as large as needed, a quarter of it data, in pieces as file systems lay them out."""
    with path.open("wb") as file:
        file.truncate(size)
    table = f"label: dos\nstart=8192,size={BOOT_SIZE * 2048},type=c\nstart={8192 + BOOT_SIZE * 2048}\n"
    command("sfdisk", "-q", path, input=table.encode())
    boot = path.with_suffix(".boot")
    with boot.open("wb") as file:
        file.truncate(BOOT_SIZE * MEBIBYTE)
    command("mkfs.vfat", "-F", "32", "-n", "BOOT", boot)
    folder = path.parent / "boot"
    folder.mkdir()
    (folder / "config.txt").write_text("[all]\narm_64bit=1\n")
    (folder / "cmdline.txt").write_text("console=tty1 root=PARTUUID=4d8097e2-02 rootwait\n")
    with (folder / "kernel8.img").open("wb") as file:
        file.writelines(real_files(size // 64))
    command("mcopy", "-i", boot, *folder.iterdir(), "::")
    command("dd", f"if={boot}", f"of={path}", "bs=1M", "seek=4", "conv=notrunc,sparse")
    start = (8 + BOOT_SIZE) * MEBIBYTE
    with path.open("r+b") as file:
        # Data and holes of the same proportion all over the root file system, block group by block group.
        total = size // 4 - size // 64
        room = size - start - MEBIBYTE
        position = 0
        for data in real_files(total):
            group = position // GROUP * GROUP
            file.seek(start + group * room // total // 4096 * 4096 + position - group)
            file.write(data)
            position += len(data)
    return path


def flash(folder: Path, image: Path, cards: Sequence[LoopCard], *, skip_zeros: bool) -> float:
    """Run the module over some cards, and return the seconds that it took."""
    orders = [
        {"node": f"pi-{number}", "device": card.device, "seed": write_seed(folder, f"pi-{number}")[1]}
        for number, card in enumerate(cards)
    ]
    began = time.monotonic()
    run = Run(folder, image=str(image), cards=orders, skip_zeros=skip_zeros, force=True)
    result = run.result(seconds=900)
    seconds = time.monotonic() - began
    if result.get("failed"):
        sys.exit(result["msg"])
    return seconds


@contextmanager
def memory_of_module() -> Iterator[list[int]]:
    """Measure the most memory that the module's processes have: shared pages counted once, and each time."""
    peak = [0, 0]
    end = threading.Event()

    def watch() -> None:
        while not end.wait(0.1):
            once, each = 0, 0
            for path in Path("/proc").glob("[0-9]*"):
                try:
                    if b"plugins.modules.sd_card" in (path / "cmdline").read_bytes():
                        lines = [line.split() for line in (path / "smaps_rollup").read_text().splitlines()]
                        sizes = {line[0]: int(line[1]) * 1024 for line in lines[1:]}
                        once += sizes["Pss:"]
                        each += sizes["Rss:"]
                except (OSError, KeyError):
                    # It has ended meanwhile.
                    continue
            peak[:] = max(peak[0], once), max(peak[1], each)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        end.set()
        thread.join()


def written(card: LoopCard, work: Callable[[], Any]) -> int:
    """Return how many bytes the kernel writes to a card meanwhile."""
    stat = Path("/sys/block", Path(card.device).name, "stat")
    before = int(stat.read_text().split()[6])
    work()
    return (int(stat.read_text().split()[6]) - before) * 512


def pack_as_xz(image: Path, raw: Path) -> Path:
    """Make a second cache, in which the image is packed as xz."""
    folder = image.parents[1].with_name("cache-xz")
    shutil.copytree(image.parents[1], folder)
    packed = folder / "images" / image.name
    with packed.open("wb") as file:
        subprocess.run(["xz", "-T0", "-0", "--block-size=16MiB", "-c", raw], check=True, stdout=file)
    facts = packed.with_name(image.name.replace(".img.zst", ".json"))
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "packed_size": packed.stat().st_size}))
    return packed


def boot_edit(raw: Path, folder: Path) -> Figure:
    """Edit a boot partition, and do the same as a script would, with a call for each file and a sync."""
    boot = raw.with_suffix(".boot")
    seed = parse_seed(data=SEED)
    files = folder / "files"
    files.mkdir()
    for name, text in {**FILES, "config.txt": "c\n", "cmdline.txt": "d\n"}.items():
        (files / name).write_text(text)

    def ours() -> None:
        copy = shutil.copy(boot, folder / "ours.img")
        times["ours"].append(
            timed(
                lambda: apply_seed(
                    boot=FatBoot(path=str(copy), offset=0, run=boot_card.run), seed=seed, dry_run=False
                )
            )
        )

    def bare() -> None:
        copy = shutil.copy(boot, folder / "bare.img")

        def edit() -> None:
            for name in ("config.txt", "cmdline.txt"):
                command("mcopy", "-n", "-i", copy, f"::{name}", folder)
            for path in files.iterdir():
                command("mcopy", "-o", "-i", copy, path, "::")
            command("sync", copy)

        times["bare"].append(timed(edit))
        (folder / "config.txt").unlink()
        (folder / "cmdline.txt").unlink()

    times: dict[str, list[float]] = {"ours": [], "bare": []}
    for _turn in range(7):
        ours()
        bare()
    one, other = statistics.median(times["ours"]), statistics.median(times["bare"])
    return Figure(
        "boot partition edit / bare mtools", one / other, 5, f"{one * 1e3:.0f} / {other * 1e3:.0f} ms"
    )


def measure(folder: Path, size: int) -> Iterator[Figure]:
    """Do it all."""
    raw = make_image(folder / "pi.img", size)
    image = keep_image(raw, folder / "cache")
    xz = pack_as_xz(image, raw)
    yield boot_edit(raw, folder)
    cards = [LoopCard(folder / f"card-{number}", size + 8 * MEBIBYTE) for number in range(CARDS)]
    one = cards[0]
    try:
        bmap = folder / "pi.bmap"
        command("bmaptool", "create", "--output", bmap, raw)
        theirs = written(one, lambda: command("bmaptool", "copy", "--bmap", bmap, raw, one.device))
        ours = written(cards[1], lambda: flash(folder, image, [cards[1]], skip_zeros=True))
        amounts = f"{ours / 1e6:.0f} / {theirs / 1e6:.0f} MB"
        yield Figure("bytes written / bmaptool", ours / theirs, 1.02, amounts)
        # Backing files get their room on the first write, which no card has to.
        flash(folder, image, cards, skip_zeros=True)
        for card in cards:
            card.throttle(write=WRITE_SPEED, read=READ_SPEED)
        dd = timed(
            lambda: command("dd", f"if={raw}", f"of={one.device}", "bs=4M", "oflag=direct", "conv=fsync")
        )
        command("blockdev", "--flushbufs", one.device)
        cmp = timed(lambda: command("cmp", "-n", str(size), raw, one.device))
        base = dd + cmp
        print(f"dd {dd:.1f} s, cmp {cmp:.1f} s", flush=True)
        seconds = flash(folder, image, [one], skip_zeros=False)
        yield Figure(
            "write all, verify all / dd + cmp", seconds / base, 1.05, f"{seconds:.1f} / {base:.1f} s"
        )
        single = flash(folder, image, [one], skip_zeros=True)
        yield Figure("skip zeros, verify all / dd + cmp", single / base, 0.65, f"{single:.1f} / {base:.1f} s")
        with memory_of_module() as peak:
            four = flash(folder, image, cards, skip_zeros=True)
        yield Figure("four cards / one (zstd)", four / single, 1.1, f"{four:.1f} / {single:.1f} s")
        details = f"with shared pages in each process {peak[1] / 1e6:.0f}"
        yield Figure("memory with four cards, MB", peak[0] / 1e6, 80, details)
        single = flash(folder, xz, [one], skip_zeros=True)
        four = flash(folder, xz, cards, skip_zeros=True)
        yield Figure("four cards / one (xz)", four / single, 1.35, f"{four:.1f} / {single:.1f} s")
    finally:
        for card in cards:
            card.detach()


def main() -> int:
    """Measure, print the table, and fail if a figure is not reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=2048, help="size of the image in MiB (default: 2048)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bramble-bench-", dir="/var/tmp") as name:
        figures = []
        for figure in measure(Path(name), arguments.size * MEBIBYTE):
            print(f"{figure.what}: {figure.reached:.3f} ({figure.details})", flush=True)
            figures.append(figure)
    print(f"\n{'figure':<36}{'reached':>9}{'at most':>9}  details")
    for figure in figures:
        mark = "" if figure.reached <= figure.limit else "  NOT REACHED"
        print(f"{figure.what:<36}{figure.reached:>9.3f}{figure.limit:>9}  {figure.details}{mark}")
    return int(any(figure.reached > figure.limit for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
