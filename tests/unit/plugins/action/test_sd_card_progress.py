# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user sees while cards are written: bars on a terminal, lines in a pipe."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.loop_card import (
    MEBIBYTE,
    ROOT,
    LoopCard,
    assert_complete,
    make_image,
    needs_throttle,
    write_seed,
)

pytestmark = needs_throttle


@pytest.fixture
def card(tmp_path: Path) -> Iterator[LoopCard]:
    made = LoopCard(tmp_path / "card", 24 * MEBIBYTE)
    made.throttle(write=3 * MEBIBYTE, read=16 * MEBIBYTE)
    yield made
    made.detach()


@contextmanager
def playbook(folder: Path, card: LoopCard, *, output: int, errors: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a playbook that writes a card."""
    image = make_image(folder / "pi.img", size=20 * MEBIBYTE, data=4 * MEBIBYTE)
    seed, path = write_seed(folder, "pi-1")
    options = {
        "image": str(image),
        "allow_loop": True,
        "cards": [{"node": "pi-1", "device": card.device, "seed": path}],
    }
    tasks = [{"name": "Write the card", "bramble.pi.sd_card": options}]
    plays = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    (folder / "play.json").write_text(json.dumps(plays))
    with subprocess.Popen(
        [Path(sys.executable).with_name("ansible-playbook"), folder / "play.json"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", "ANSIBLE_LOCALHOST_WARNING": "0"},
    ) as process:
        yield process
    assert process.returncode == 0
    assert_complete(card.backing, image=image, node="pi-1", seed=seed)


def test_draws_bars_in_place_on_a_terminal(tmp_path: Path, card: LoopCard) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with playbook(tmp_path, card, output=theirs, errors=theirs):
        os.close(theirs)
        output = b""
        try:
            while part := os.read(ours, 1 << 16):
                output += part
        except OSError:
            # How a terminal says that nobody writes to it any more.
            os.close(ours)
    lines = [line for line in output.decode().split("\r\n") if card.device in line and "[" in line]
    assert len(lines) > 5
    assert lines[0].startswith(f"pi-1  {card.device}  ")
    assert all(line.startswith("\x1b[1Api-1") for line in lines[1:]), "each goes over the one before"
    assert any("writing    [##" in line and "MB/s" in line and "left" in line for line in lines)
    assert "finished" in lines[-1]
    assert "100 %" in lines[-1]
    assert all(len(line) < 100 + len("\x1b[1A\x1b[K") for line in lines)


@pytest.mark.alone
def test_says_a_line_now_and_then_elsewhere(tmp_path: Path, card: LoopCard) -> None:
    with playbook(tmp_path, card, output=subprocess.PIPE, errors=subprocess.PIPE) as process:
        output, errors = process.communicate()
    assert "\x1b" not in errors.decode()
    lines = [line for line in errors.decode().splitlines() if line.startswith("pi-1")]
    assert [line.split(": ")[1].split(",")[0] for line in lines] == ["writing", "verifying", "finished"]
    assert lines[-1] == f"pi-1 ({card.device}): finished, 100 %"
    assert b"pi-1 (" not in output, "what parses the output is not to be disturbed"
