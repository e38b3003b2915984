# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An arm64 Debian for Pis, as a tree of files and as the image of a card; made once and kept."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from tests import debian

RECIPES = Path(__file__).parent / "image"
CACHE = debian.CACHE / "boot"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
INTERPRETER = "qemu-aarch64"


def tree() -> Path:
    """Return the tree of files: /, with what belongs on the boot partition in /boot/firmware."""
    return debian.kept(folder=CACHE, kind="tree", key=_tree_key(), make=_make_tree) / "root"


def image() -> Path:
    """Return the image of a card, packed by xz; its checksum is in a file beside it."""
    key = _digest(_tree_key(), RECIPES / "make_image.sh", RECIPES / "boot", RECIPES / "root")
    return debian.kept(folder=CACHE, kind="image", key=key, make=_make_image) / "trixie-arm64.img.xz"


def _make_tree(folder: Path) -> None:
    print("\nMaking an arm64 Debian, which takes about ten minutes", flush=True)
    for attempt in (1, 2, 3):
        _register_interpreter()
        command = [
            str(RECIPES / "make_tree.sh"),
            debian.mirror(),
            str(folder / "root"),
            *debian.apt_settings(),
        ]
        with (folder / "log").open("wb") as log:
            code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
        if code == 0:
            return
        # What else runs on this machine may take the registration away, and then nothing of arm64 runs.
        if _interpreter_registered() or attempt == 3:
            raise RuntimeError(f"{command[0]} failed:\n{(folder / 'log').read_text()[-4000:]}")
        debian.remove(folder / "root")


def _make_image(folder: Path) -> None:
    root = tree()
    print("\nMaking the image of a card, which takes about a minute", flush=True)
    subprocess.run([RECIPES / "make_image.sh", root, folder / "trixie-arm64.img"], check=True)


def _interpreter_registered() -> bool:
    """Tell whether the kernel runs arm64 programs by qemu-user, in other root folders too (flag F)."""
    entry = BINFMT / INTERPRETER
    return entry.exists() and any(
        line.startswith("flags:") and "F" in line for line in entry.read_text().splitlines()
    )


def _register_interpreter() -> None:
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=True)
    if not _interpreter_registered():
        subprocess.run(["update-binfmts", "--enable", INTERPRETER], check=True)
    if not _interpreter_registered():
        raise RuntimeError(f"{BINFMT / INTERPRETER} is not there with flag F; is qemu-user-static installed?")


def _tree_key() -> str:
    return _digest(RECIPES / "make_tree.sh")


def _digest(*parts: str | Path) -> str:
    """Return a name for what is made from these: texts, files, and folders of files."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
            continue
        for path in [part, *sorted(part.rglob("*"))]:
            digest.update(f"{path.relative_to(RECIPES)}\n".encode())
            if path.is_symlink():
                digest.update(os.readlink(path).encode())
            elif path.is_file():
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
