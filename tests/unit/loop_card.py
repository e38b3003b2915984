# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loop devices that behave like cards: slow, hung, dying; and the module sd_card, run as Ansible runs it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._os_image.cache import ImageCache
from ansible_collections.bramble.pi.plugins.module_utils._os_image.partition_table import (
    DiskImageError,
    read_partition_table,
)
from ansible_collections.bramble.pi.plugins.module_utils._os_image.source import Expected

from tests import loop_devices
from tests.unit import boot_card
from tests.unit.kill import Moment

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "plugins/modules/sd_card.py"
THROTTLE = Path("/sys/fs/cgroup/blkio")
MEBIBYTE = 1 << 20

needs_throttle = pytest.mark.skipif(
    not (THROTTLE / "blkio.throttle.write_bps_device").exists(),
    reason="slow and hung cards need the kernel's blkio.throttle, which this machine does not show",
)


def make_image(path: Path, *, size: int, data: int, seed: int = 0) -> Path:
    """Make an image with a boot partition, and as much data behind it, in pieces with zeros between them."""
    card = boot_card.Card(path, "FAT16")
    noise = random.Random(seed)
    card.put(
        {
            "cmdline.txt": b"console=tty1 root=PARTUUID=4d8097e2-02 rootwait\n",
            "config.txt": b"[all]\narm_64bit=1\n",
            "user-data": b"#cloud-config\n",
            "kernel8.img": noise.randbytes(MEBIBYTE),
        }
    )
    start = boot_card.OFFSET + card.size
    pieces = data // MEBIBYTE
    step = (size - start - MEBIBYTE) // max(1, pieces) // 4096 * 4096
    with path.open("r+b") as file:
        file.truncate(size)
        for number in range(pieces):
            file.seek(start + number * step)
            file.write(noise.randbytes(min(MEBIBYTE, step)))
    return path


def keep_image(path: Path, folder: Path) -> Path:
    """Put an image into a cache as os_image does; return what that gives to sd_card."""
    cache = ImageCache(folder=str(folder), detect=lambda _path, _offset: (None, None))
    with cache.lock():
        kept = cache.add(path=str(path), source=str(path), archive_sha256="", expected=Expected())
    return Path(cache.packed_path(kept.image_map.sha256))


class LoopCard:
    """A card: a file behind a loop device."""

    def __init__(self, backing: Path, size: int, *, sector_size: int = 512) -> None:
        self.backing = backing
        if not backing.exists():
            with backing.open("wb") as file:
                file.truncate(size)
        self.device = loop_devices.attach(backing, "--sector-size", str(sector_size))
        # Who had the device before may have left it write-protected.
        subprocess.run(["blockdev", "--setrw", self.device], check=True)
        number = os.stat(self.device).st_rdev
        self._number = f"{os.major(number)}:{os.minor(number)}"

    def throttle(self, *, write: int = 0, read: int = 0) -> None:
        """Limit its speed, in bytes a second; 0 is no limit."""
        for what, speed in (("write", write), ("read", read)):
            (THROTTLE / f"blkio.throttle.{what}_bps_device").write_text(f"{self._number} {speed}\n")

    def detach(self) -> None:
        if THROTTLE.exists():
            self.throttle()
        loop_devices.detach(self.device)

    def snapshot(self, path: Path) -> Path:
        """Copy what it holds at this moment, as a power cut would leave it."""
        subprocess.run(["cp", "--sparse=always", self.backing, path], check=True)
        return path


def wait_until_free(card: LoopCard) -> None:
    """Wait until what still held the device has ended."""
    for _attempt in range(100):
        try:
            os.close(os.open(card.device, os.O_RDONLY | os.O_EXCL))
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{card.device} is still held")


def has_table(path: Path) -> bool:
    """Tell whether a card would be taken for one with partitions."""
    with path.open("rb") as file:
        try:
            read_partition_table(read=lambda offset, length: os.pread(file.fileno(), length, offset))
        except DiskImageError:
            return False
    return True


def boot_file(path: Path, name: str) -> bytes:
    """Read a file of a card's boot partition."""
    return boot_card.command("mtype", "-i", f"{path}@@{boot_card.OFFSET}", f"::/{name}")


def assert_complete(card: Path, *, image: Path, node: str, seed: str) -> None:
    """Fail unless a card carries all of an image and the identity of its node."""
    receipt = json.loads(boot_file(card, "bramble-receipt.json"))
    assert (receipt["schema"], receipt["node"], receipt["seed"]) == (1, node, seed)
    assert boot_file(card, "user-data") == f"#cloud-config\nhostname: {node}\n".encode()
    assert boot_file(card, "meta-data") == f"instance-id: {seed}\n".encode()
    assert boot_file(card, "kernel8.img") == boot_file(image, "kernel8.img")
    size = boot_card.KINDS["FAT16"][0] * MEBIBYTE
    with card.open("rb") as seen, image.open("rb") as desired:
        assert seen.read(boot_card.OFFSET) == desired.read(boot_card.OFFSET)
        partition = seen.read(size)
        desired.seek(size, os.SEEK_CUR)
        while expected := desired.read(4 * MEBIBYTE):
            assert seen.read(len(expected)) == expected, f"differs before {seen.tell()}"
    fsck = card.parent / f"{card.name}.fsck"
    fsck.write_bytes(partition)
    boot_card.command("fsck.vfat", "-n", fsck)
    fsck.unlink()


def write_seed(folder: Path, node: str, *, id_: str = "", **keys: Any) -> tuple[str, str]:
    """Write a seed document; return its id and its path."""
    id_ = id_ or f"{node}-0123456789ab"
    document = {
        "id": id_,
        "node": node,
        "files": {
            "user-data": f"#cloud-config\nhostname: {node}\n",
            "meta-data": f"instance-id: {id_}\n",
        },
        "cmdline": {"present": ["cgroup_enable=memory"]},
        **keys,
    }
    path = folder / f"{id_}.json"
    path.write_text(json.dumps(document))
    return id_, str(path)


class Run:
    """The module sd_card as a process of its own."""

    def __init__(
        self, folder: Path, *, check: bool = False, moment: Moment | None = None, **options: Any
    ) -> None:
        self.progress = folder / "progress"
        self.progress.write_text("")
        arguments = {
            "allow_loop": True,
            "progress_path": str(self.progress),
            "_ansible_check_mode": check,
            "_ansible_remote_tmp": str(folder / "tmp"),
            **options,
        }
        (folder / "tmp").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            moment.command(MODULE) if moment else [sys.executable, str(MODULE)],
            env={**os.environ, "PYTHONPATH": str(ROOT / ".collections")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        self.process.stdin.close()
        self.process.stdin = None

    def samples(self) -> list[dict[str, Any]]:
        """Return the latest line of the progress."""
        lines = self.progress.read_text().splitlines()
        return json.loads(lines[-1]) if lines else []

    def wait_for(self, condition: Callable[[list[dict[str, Any]]], bool], *, seconds: float = 30) -> None:
        """Wait until the progress meets a condition."""
        end = time.monotonic() + seconds
        while not condition(self.samples()):
            assert time.monotonic() < end, f"it came only to {self.samples()}"
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def result(self, *, seconds: float = 60) -> dict[str, Any]:
        """Wait for the end and return what the module says."""
        output, errors = self.process.communicate(timeout=seconds)
        assert not errors, errors
        result = json.loads(output)
        assert isinstance(result, dict)
        return result
