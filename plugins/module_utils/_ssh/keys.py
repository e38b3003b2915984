# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public keys of ssh, and the file that lists those who may log in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)


class PublicKey(NamedTuple):
    """A line of authorized_keys; the options are as they stand there."""

    options: str
    type: str
    blob: str
    comment: str


def _first_field(text: str) -> tuple[str, str]:
    """Cut a text at its first blank that is not within double quotes."""
    quoted = False
    for index, character in enumerate(text):
        if character == '"' and text[index - 1 : index] != "\\":
            quoted = not quoted
        elif character in " \t" and not quoted:
            return text[:index], text[index:].strip()
    return text, ""


def parse_key(line: str) -> PublicKey | None:
    """Read a line of authorized_keys; None if it is no key of a type that is known."""
    first, rest = _first_field(line.strip())
    options = ""
    if first not in KEY_TYPES:
        options = first
        first, rest = _first_field(rest)
    blob, comment = _first_field(rest)
    if first not in KEY_TYPES or not blob or options.startswith("#"):
        return None
    return PublicKey(options, first, blob, comment)


def authorized_key_problem(line: str) -> str | None:
    """Say what is wrong with a line of authorized_keys, without showing it: it may be a private key."""
    if "PRIVATE KEY" in line:
        return "is a private key, which has to stay where it is"
    if "\n" in line.strip():
        return "is more than one line"
    key = parse_key(line)
    if key is None:
        return "is not a public key"
    try:
        blob = base64.b64decode(key.blob, validate=True)
        (length,) = struct.unpack_from(">I", blob)
    except (binascii.Error, ValueError, struct.error):
        return "is not a whole public key"
    return None if blob[4 : 4 + length] == key.type.encode() else "is not a whole public key"


def fingerprint(blob: str) -> str:
    """Give the fingerprint of a key, as ssh shows it."""
    digest = hashlib.sha256(base64.b64decode(blob)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def merged(*, text: str, keys: Sequence[str], exclusive: bool) -> str:
    """Give a text of authorized_keys in which these keys may log in, alone if asked for.

    A key that is there keeps its line, with the restrictions that somebody has given it there, unless it is
    wanted with others.
    """
    wanted = {key.blob: (key, line.strip()) for line in keys if (key := parse_key(line))}
    missing = dict(wanted)
    lines = []
    for line in text.split("\n"):
        present = parse_key(line)
        if present is not None and present.blob in wanted:
            key, wanted_line = wanted[present.blob]
            missing.pop(present.blob, None)
            lines.append(wanted_line if key.options not in ("", present.options) else line)
        elif not exclusive or not line.strip() or line.lstrip().startswith("#"):
            lines.append(line)
    if lines[-1:] == [""]:
        lines.pop()
    lines += [line for _key, line in missing.values()]
    return "".join(f"{line}\n" for line in lines)
