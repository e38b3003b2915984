# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of cards with the boot partition of a real system, made without the code under test."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures" / "boot_partitions"
SYSTEMS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())

OFFSET = 4 << 20
ENVIRONMENT = {**os.environ, "MTOOLSRC": os.devnull, "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C.UTF-8"}

#: Size in MiB and options of mkfs.vfat; the least clusters that each kind can have, about.
KINDS = {"FAT16": (9, ["-F", "16", "-s", "4"]), "FAT32": (36, ["-F", "32", "-s", "1"])}


def command(*line: str | Path, stdin: bytes = b"") -> bytes:
    return subprocess.run(line, check=True, input=stdin, stdout=subprocess.PIPE, env=ENVIRONMENT).stdout


def run(
    line: Sequence[str],
    *,
    encoding: None,
    environ_update: Mapping[str, str],
    expand_user_and_vars: bool,
) -> tuple[int, bytes, bytes]:
    """Do what AnsibleModule.run_command does, with the keywords that mtools need."""
    assert encoding is None
    assert not expand_user_and_vars
    done = subprocess.run(
        line,
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environ_update},
    )
    return done.returncode, done.stdout, done.stderr


def system_files(system: str) -> dict[str, bytes]:
    """Return the boot partition of a system; what is not text has bytes that tell the files apart."""
    texts = FIXTURES / system / "files"
    files = {str(path.relative_to(texts)): path.read_bytes() for path in texts.rglob("*") if path.is_file()}
    for name in (FIXTURES / system / "others.txt").read_text().split():
        files[name] = name.encode() * 300
    return files


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Card:
    """An image of a card: a partition table, a boot partition, and something that stands for the root."""

    def __init__(self, path: Path, kind: str = "FAT32", *, label: str = "dos") -> None:
        self.path = path
        self.kind = kind
        mebibytes, options = KINDS[kind]
        self.size = mebibytes << 20
        with path.open("wb") as image:
            image.truncate(OFFSET + self.size + (2 << 20))
        start, sectors = OFFSET // 512, self.size // 512
        boot = "c" if label == "dos" else "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
        table = f"label: {label}\nstart={start},size={sectors},type={boot}\nstart={start + sectors}\n"
        command("sfdisk", "-q", path, stdin=table.encode())
        with self._partition(write_back=True) as file:
            command("mkfs.vfat", *options, "-n", "BOOTFS", file)

    @contextmanager
    def _partition(self, *, write_back: bool = False) -> Iterator[Path]:
        """Give the boot partition as a file of its own."""
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            file = Path(folder) / "partition"
            with self.path.open("rb+") as image, file.open("wb+") as part:
                os.sendfile(part.fileno(), image.fileno(), OFFSET, self.size)
                yield file
                if write_back:
                    image.seek(OFFSET)
                    os.sendfile(image.fileno(), part.fileno(), 0, self.size)

    def mtools(self, name: str, *arguments: str | Path) -> bytes:
        return command(name, "-i", f"{self.path}@@{OFFSET}", *arguments)

    def put(self, files: Mapping[str, bytes]) -> None:
        """Copy files to the card, as its maker does."""
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            tree = write_tree(Path(folder), files)
            self.mtools("mcopy", "-s", "-o", "-m", *sorted(tree.iterdir()), "::/")

    def files(self) -> dict[str, bytes]:
        """Read everything that lies on the card."""
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            names = self.mtools("mdir", "-b", "-a", "::").decode().split("\n")
            if any(names):
                self.mtools("mcopy", "-s", *[name.rstrip("/") for name in names if name], folder)
            return read_tree(Path(folder))

    def entries(self) -> dict[str, str]:
        """Return each line of a full listing, with short name, size and time, under the name of the file."""
        lines = {}
        folder = ""
        for line in self.mtools("mdir", "-/", "-a", "-f", "::").decode().splitlines():
            if line.startswith("Directory for ::/"):
                folder = line.removeprefix("Directory for ::/").rstrip("/")
            elif line[:1] not in {"", " ", "."} and not line.startswith("Total"):
                short = f"{line[:8].rstrip()}.{line[9:12].rstrip()}".rstrip(".")
                name = line[42:].strip() or short
                lines[f"{folder}/{name}".lstrip("/")] = line
        return lines

    def check(self, *, killed: bool = False) -> None:
        """Have fsck look at the file system, and fail if there is anything to fix.

        ``killed``: clusters may be lost that belong to no file; a FAT has no journal that would tell of them.
        """
        with self._partition() as file:
            done = subprocess.run(["fsck.vfat", "-n", file], capture_output=True, text=True, check=False)
        lost = r"Reclaimed \d+ unused clusters? \(\d+ bytes\)\.|Leaving filesystem unchanged\.|"
        _version, *found, _summary = done.stdout.splitlines()
        if killed:
            found = [line for line in found if not re.fullmatch(lost, line)]
        assert not found, done.stdout
        assert killed or done.returncode == 0, done.stdout
