# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._ssh.keys import (
    PublicKey,
    authorized_key_problem,
    fingerprint,
    merged,
    parse_key,
)
from hypothesis import given
from hypothesis import strategies as st

ADA = "AAAAC3NzaC1lZDI1NTE5AAAAIGYPBWtAFNQ5YQbNGYPo8DRBZu1sBFHZ1bCDFMK+3Gah"
BOB = "AAAAC3NzaC1lZDI1NTE5AAAAIE0MBBk5dAzqyFzMzfRcGBBRZBhg6oZVxmxaXpaNj6L5"
ADA_LINE = f"ssh-ed25519 {ADA} ada@laptop"
BOB_LINE = f"ssh-ed25519 {BOB} bob"
RESTRICTED = f'command="echo \\"ssh-rsa x\\" y",no-pty ssh-ed25519 {BOB} bob  and more'


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (ADA_LINE, PublicKey("", "ssh-ed25519", ADA, "ada@laptop")),
        (f"  ssh-ed25519\t{ADA}\r", PublicKey("", "ssh-ed25519", ADA, "")),
        (
            RESTRICTED,
            PublicKey('command="echo \\"ssh-rsa x\\" y",no-pty', "ssh-ed25519", BOB, "bob  and more"),
        ),
        ("", None),
        ("# whose?", None),
        (f"#ssh-ed25519 {ADA}", None),
        (f"# ssh-ed25519 {ADA}", None),
        ("ssh-ed25519", None),
        ("ssh-dss AAAAB3NzaC1kc3M= bob", None),
        (f'from="10.0.0.0/8 ssh-ed25519 {ADA}', None),
    ],
)
def test_lines(line: str, key: PublicKey | None) -> None:
    assert parse_key(line) == key


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (ADA_LINE, None),
        (f"{ADA_LINE}\n", None),
        (RESTRICTED, None),
        (f"{ADA_LINE}\n{BOB_LINE}", "is more than one line"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "is a private key, which has to stay where it is"),
        ("hunter2", "is not a public key"),
        (f"ssh-ed25519 {ADA[:-3]}", "is not a whole public key"),
        (f"ssh-rsa {ADA}", "is not a whole public key"),
        ("ssh-ed25519 Ä", "is not a whole public key"),
    ],
)
def test_problems(line: str, problem: str | None) -> None:
    assert authorized_key_problem(line) == problem


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_fingerprints_are_those_of_ssh(kind: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", key], capture_output=True, text=True, check=True).stdout
    line = key.with_suffix(".pub").read_text()
    assert authorized_key_problem(line) is None
    assert fingerprint(line.split()[1]) == shown.split()[1]


MERGED = [
    ("", [ADA_LINE], False, f"{ADA_LINE}\n"),
    ("# mine", [ADA_LINE], False, f"# mine\n{ADA_LINE}\n"),
    (f"{BOB_LINE}\n", [ADA_LINE], False, f"{BOB_LINE}\n{ADA_LINE}\n"),
    # Another comment is no reason for a change, nor are restrictions that somebody has added.
    (f"ssh-ed25519 {ADA} ada\n", [ADA_LINE], False, f"ssh-ed25519 {ADA} ada\n"),
    (f"{RESTRICTED}\n", [BOB_LINE], False, f"{RESTRICTED}\n"),
    # Restrictions that are wanted are put there.
    (f"{BOB_LINE}\n", [RESTRICTED], False, f"{RESTRICTED}\n"),
    (f"no-pty {BOB_LINE}\n", [RESTRICTED], False, f"{RESTRICTED}\n"),
    # Alone.
    (f"# mine\n{BOB_LINE}\nssh-dss AAAA old\n\n", [ADA_LINE], True, f"# mine\n\n{ADA_LINE}\n"),
    (f"{ADA_LINE}\r\n{BOB_LINE}\r\n", [ADA_LINE], True, f"{ADA_LINE}\r\n"),
]


@pytest.mark.parametrize(("text", "keys", "exclusive", "after"), MERGED)
def test_merged(text: str, keys: list[str], exclusive: bool, after: str) -> None:
    assert merged(text=text, keys=keys, exclusive=exclusive) == after


LINES = st.one_of(
    st.sampled_from([ADA_LINE, BOB_LINE, RESTRICTED, "# whose?", "", "ssh-dss AAAA old"]),
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])),
)


@given(
    lines=st.lists(LINES),
    keys=st.lists(st.sampled_from([ADA_LINE, BOB_LINE, RESTRICTED])),
    exclusive=st.booleans(),
)
def test_merged_always(lines: list[str], keys: list[str], exclusive: bool) -> None:
    text = "\n".join(lines)
    after = merged(text=text, keys=keys, exclusive=exclusive)
    assert merged(text=after, keys=keys, exclusive=exclusive) == after
    present = [key.blob for line in after.split("\n") if (key := parse_key(line))]
    wanted = {key.blob for line in keys if (key := parse_key(line))}
    assert wanted <= set(present)
    if exclusive:
        assert set(present) == wanted
    else:
        kept = [line for line in lines if (key := parse_key(line)) is None or key.blob not in wanted]
        assert [line for line in kept if line not in after.split("\n")] == []
