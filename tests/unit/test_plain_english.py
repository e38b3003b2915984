# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users read has the words that an engineer would search for, and messages have one form."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = (
    "plugins",
    "roles",
    "playbooks",
    "docs",
    "inventories",
    "changelogs",
    "README.md",
    "CONTRIBUTING.md",
)

#: What is not written, and what is instead. The product's own words are in docs/architecture.md.
INSTEAD = {
    r"\bwanted\b": "expected (in messages: '<what> is <seen>; expected <this>: set <variable>'), or desired",
    r"[;,:] expected (is|are) ": "expected, without a verb: '<what> is <seen>; expected <this>'",
    r"\bjudg(e|es|ed|ing)\b": "check, validate, decide",
    r"\bmend(s|ed|ing)?\b": "fix, repair, remedy",
    r"\bthere twice\b": "duplicate",
    r"\bfixed address(es)?\b": "static address",
    r"\bway out\b": "default gateway, uplink",
    r"\bgives? addresses\b": "DHCP server",
    r"\b(takes?|taken|took) (it )?back\b|\btaken-back\b": "revert, undo, revoke",
    r"\bput right\b": "fix, correct",
    r"\btak(e|en) no more\b|\btakes? no passwords\b": "password login is disabled",
    r"\bcan(not)? (still )?be had\b": "is (not) available, cannot be downloaded",
    r"\b(takes?|taken) (it|that|the \w+) apart\b": "reset, stop, parse",
    r"\bcut.short\b": "interrupted",
    r"\bhalf.done\b": "incomplete",
    r"\banew\b": "again",
    r"^ *- name: (have|refuse|say) ": "Configure, Create, Fail on, Print: what the task does",
    r"\bnot told\b": "not set, not given",
}


def texts() -> list[Path]:
    """Return the files that users read or that write what they read."""
    names = subprocess.run(
        ["git", "ls-files", "-z", *PLACES], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    kinds = {".py", ".yml", ".md", ".j2", ".js", ".sh"}
    return [ROOT / name for name in names if Path(name).suffix in kinds and (ROOT / name).is_file()]


def odd_words(text: str) -> list[str]:
    """Say which lines have a word that is not written, and what is instead."""
    text = text.lower()
    return [
        f"line {text.count(chr(10), 0, found.start()) + 1}: {found[0].strip()!r}; expected {instead}"
        for pattern, instead in INSTEAD.items()
        for found in re.finditer(pattern, text, re.MULTILINE)
    ]


def test_users_read_plain_english() -> None:
    files = texts()
    if not files:
        pytest.skip("not a checkout")
    found = [
        f"{path.relative_to(ROOT)} {word}" for path in files for word in odd_words(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "the address is 'x'; wanted is one like 192.168.1.1",
        "the address is 'x'; expected is one like 192.168.1.1",
        "- name: Have the node's address",
        "an image cannot be had",
        "the change was taken back",
    ],
)
def test_odd_words_are_found(line: str) -> None:
    assert odd_words(line)


def test_plain_words_are_not_found() -> None:
    assert not odd_words(
        "WantedBy=multi-user.target\nthe address is 'x'; expected one like 192.168.1.1: set it"
    )
