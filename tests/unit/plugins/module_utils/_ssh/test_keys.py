# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import struct
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
        (f'restrict,Command="a, \\"b\\"" {ADA_LINE}', None),
        (f'from="10.0.0.0/8",no-X11-forwarding {ADA_LINE}', None),
        # As known_hosts has it.
        (f"pi-1 {ADA_LINE}", "has something before the key that is no option of sshd"),
        (f"no-pty, {ADA_LINE}", "has something before the key that is no option of sshd"),
        (f"command=ls {ADA_LINE}", "has something before the key that is no option of sshd"),
    ],
)
def test_problems(line: str, problem: str | None) -> None:
    assert authorized_key_problem(line) == problem


def blob_of(*fields: bytes) -> str:
    return base64.b64encode(b"".join(struct.pack(">I", len(field)) + field for field in fields)).decode()


POINT = b"\4" + bytes.fromhex(
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
SK_ED25519, SK_ECDSA = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
#: A key of each type: the options of ssh-keygen, or what a security key would have.
KINDS = {
    "ed25519": ["-t", "ed25519"],
    # The shortest that sshd takes, as long ones take seconds to make.
    "rsa": ["-t", "rsa", "-b", "1024"],
    "nistp256": ["-t", "ecdsa", "-b", "256"],
    "nistp384": ["-t", "ecdsa", "-b", "384"],
    "nistp521": ["-t", "ecdsa", "-b", "521"],
    "sk-ed25519": blob_of(SK_ED25519.encode(), bytes(range(32)), b"ssh:"),
    "sk-ecdsa": blob_of(SK_ECDSA.encode(), b"nistp256", POINT, b"ssh:"),
}


@pytest.fixture(params=KINDS)
def line(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a line of each type that ssh-keygen takes."""
    made, key = KINDS[request.param], tmp_path / "key"
    if isinstance(made, str):
        return f"{SK_ED25519 if 'ed25519' in request.param else SK_ECDSA} {made} ada@laptop"
    subprocess.run(["ssh-keygen", "-q", *made, "-N", "", "-f", key], check=True)
    return key.with_suffix(".pub").read_text()


def ssh_takes(line: str, folder: Path) -> bool:
    (folder / "one.pub").write_text(line)
    done = subprocess.run(["ssh-keygen", "-l", "-f", folder / "one.pub"], capture_output=True, check=False)
    return done.returncode == 0


def test_a_key_cut_at_any_length_is_refused(line: str, tmp_path: Path) -> None:
    assert authorized_key_problem(line) is None
    assert ssh_takes(line, tmp_path)
    kind, blob, _comment = line.split()
    passed = [end for end in range(len(blob)) if authorized_key_problem(f"{kind} {blob[:end]} ada") is None]
    assert passed == []


def test_other_blobs_are_checked_as_ssh_does(tmp_path: Path) -> None:
    ed25519, number = b"ssh-ed25519", b"\1\0\1"
    blobs = {
        blob_of(ed25519, bytes(range(32))): True,
        blob_of(ed25519, bytes(range(31))): False,
        blob_of(ed25519, bytes(range(33))): False,
        blob_of(ed25519, bytes(range(32)), b"more"): False,
        blob_of(b"ssh-rsa", bytes(range(32))): False,
        blob_of(b"ssh-rsa", number, b"\x7f" * 129): True,
        blob_of(b"ssh-rsa", number, b"\0" + b"\xff" * 128): True,
        blob_of(b"ssh-rsa", number, b"\xff" * 128): False,
        blob_of(b"ssh-rsa", number): False,
        blob_of(b"ssh-rsa", number, b"\x7f" * 129, b""): False,
        blob_of(b"ssh-rsa", number, b"\x7f" * 96): False,
        blob_of(b"ecdsa-sha2-nistp256", b"nistp256", POINT): True,
        blob_of(b"ecdsa-sha2-nistp256", b"nistp384", POINT): False,
        blob_of(b"ecdsa-sha2-nistp256", b"nistp256", POINT[:-1]): False,
        blob_of(b"ecdsa-sha2-nistp256", b"nistp256", b"\3" + POINT[1:]): False,
        blob_of(SK_ED25519.encode(), bytes(range(32))): False,
    }
    for blob, good in blobs.items():
        type_length = struct.unpack_from(">I", base64.b64decode(blob))[0]
        kind = base64.b64decode(blob)[4 : 4 + type_length].decode()
        kind = "ssh-ed25519" if blob == blob_of(b"ssh-rsa", bytes(range(32))) else kind
        assert (authorized_key_problem(f"{kind} {blob} ada") is None) is good, (kind, blob)
        assert ssh_takes(f"{kind} {blob} ada", tmp_path) is good, (kind, blob)


@pytest.mark.parametrize(
    ("blob", "good"),
    [
        ("AAAAC3NzaC1lZDI1NTE5AAAAIGYPBWtAFNQ5YQbNGYPo8DRBZu1sBFHZ1bCDFMK+3Gah", True),
        ("AAAAC3NzaC1lZDI1NTE5AAAAIGYPBWtAFNQ5YQbNGYPo8DRBZu1sBFHZ1bCDFMK+3Gah====", False),
        ("AAAAC3NzaC1lZDI1NTE5AAAAIGYPBWtAFNQ5YQbNGYPo8DRBZu1sBFHZ1bCDFMK+3GahA", False),
    ],
)
def test_what_stands_behind_the_end(blob: str, good: bool) -> None:
    assert (authorized_key_problem(f"ssh-ed25519 {blob}") is None) is good


@pytest.mark.parametrize("kind", ["ed25519", "nistp256", "rsa"])
def test_fingerprints_are_those_of_ssh(kind: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", *KINDS[kind], "-N", "", "-f", key], check=True)
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
    # Restrictions that are expected put there.
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
    desired = {key.blob for line in keys if (key := parse_key(line))}
    assert desired <= set(present)
    if exclusive:
        assert set(present) == desired
    else:
        kept = [line for line in lines if (key := parse_key(line)) is None or key.blob not in desired]
        assert [line for line in kept if line not in after.split("\n")] == []
