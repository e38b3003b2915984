# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public keys of ssh, and the file that lists those who may log in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
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


#: What stands in a key behind its type, see RFC 4253, 5656, 8709 and OpenSSH's PROTOCOL.u2f: the number of
#: bytes that a field has, what it is, or that it is a positive number or some text.
_POINT_BYTES = {"nistp256": 65, "nistp384": 97, "nistp521": 133}
_NUMBER, _TEXT = "number", "text"
_FIELDS: dict[str, tuple[int | bytes | str, ...]] = {
    "ssh-ed25519": (32,),
    "ssh-rsa": (_NUMBER, _NUMBER),
    **{f"ecdsa-sha2-{curve}": (curve.encode(), size) for curve, size in _POINT_BYTES.items()},
    "sk-ssh-ed25519@openssh.com": (32, _TEXT),
    "sk-ecdsa-sha2-nistp256@openssh.com": (b"nistp256", _POINT_BYTES["nistp256"], _TEXT),
}
#: sshd takes no shorter RSA key.
_RSA_BITS = 1024
#: What may stand before a key, see sshd(8); a line with anything else there lets nobody in.
_OPTIONS = frozenset(
    [
        *("agent-forwarding", "cert-authority", "command", "environment", "expiry-time", "from"),
        *("no-agent-forwarding", "no-port-forwarding", "no-pty", "no-touch-required", "no-user-rc"),
        *("no-x11-forwarding", "permitlisten", "permitopen", "port-forwarding", "principals", "pty"),
        *("restrict", "tunnel", "user-rc", "verify-required", "x11-forwarding"),
    ]
)
_OPTION = re.compile(r'([A-Za-z0-9-]+)(?:="(?:[^"\\]|\\.)*")?(?:,|$)')


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
    fields = _fields(key.blob)
    if fields is None or not _fits(key.type, fields):
        return "is not a whole public key"
    if key.type == "ssh-rsa":
        bits = int.from_bytes(fields[2], "big").bit_length()
        if bits < _RSA_BITS:
            return f"is an RSA key of {bits} bits, and sshd takes none below {_RSA_BITS}"
    if not _known_options(key.options):
        return "has something before the key that is no option of sshd"
    return None


def _fields(text: str) -> list[bytes] | None:
    """Parse a key's blob, to its exact end; None if it is not whole."""
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    if base64.b64encode(blob).decode() != text:
        # sshd takes neither bits nor padding behind the end.
        return None
    fields = []
    while blob:
        if len(blob) < 4:
            return None
        (length,) = struct.unpack_from(">I", blob)
        if length > len(blob) - 4:
            return None
        fields.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return fields


def _fits(kind: str, fields: Sequence[bytes]) -> bool:
    """Tell whether these are the fields of a key of this type."""
    expected = (kind.encode(), *_FIELDS[kind])
    return len(fields) == len(expected) and all(map(_is, fields, expected))


def _is(field: bytes, expected: int | bytes | str) -> bool:
    if expected == _NUMBER:
        # The highest bit is the sign.
        return bool(field.strip(b"\0")) and field[0] < 0x80
    if expected == _TEXT:
        return bool(field)
    if isinstance(expected, bytes):
        return field == expected
    # Points are written as both coordinates behind a 4.
    return len(field) == expected and (expected == 32 or field[0] == 4)


def _known_options(options: str) -> bool:
    """Tell whether sshd knows all that stands before a key."""
    place = 0
    while place < len(options):
        match = _OPTION.match(options, place)
        if match is None or match[1].lower() not in _OPTIONS:
            return False
        place = match.end()
    return not options.endswith(",")


def fingerprint(blob: str) -> str:
    """Give the fingerprint of a key, as ssh shows it."""
    digest = hashlib.sha256(base64.b64decode(blob)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def merged(*, text: str, keys: Sequence[str], exclusive: bool) -> str:
    """Give a text of authorized_keys in which these keys may log in, alone if asked for.

    A key that is there keeps its line, with the restrictions that somebody has given it there, unless it is
    desired with others.
    """
    desired = {key.blob: (key, line.strip()) for line in keys if (key := parse_key(line))}
    missing = dict(desired)
    lines = []
    for line in text.split("\n"):
        present = parse_key(line)
        if present is not None and present.blob in desired:
            key, desired_line = desired[present.blob]
            missing.pop(present.blob, None)
            lines.append(desired_line if key.options not in ("", present.options) else line)
        elif not exclusive or not line.strip() or line.lstrip().startswith("#"):
            lines.append(line)
    if lines[-1:] == [""]:
        lines.pop()
    lines += [line for _key, line in missing.values()]
    return "".join(f"{line}\n" for line in lines)
