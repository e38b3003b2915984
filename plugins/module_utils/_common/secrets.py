# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is secret in texts that are shown: files in a diff, messages, and the options of a module."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

MASK = "********"

#: How the names of settings with a secret end, in whichever format: wpa-psk, PrivateKey, client-key-data.
_WORDS = (
    r"(?:pass(?:word|wd|phrase)?|psk|secret|token|private[-_]?key|client-key-data|preshared[-_]?key"
    r"|(?:wireless|wep|certificate|encryption|secret)[-_]?key[-_]?\d*|pin|authorization|signature"
    r"|session[-_]?id|credentials?)"
)
#: Names of settings that hold others in one format, and a secret in another: netplan's tunnels, registries.
_NAMES = r"(?:keys?|auth|shared|private|sig)"
_SETTING = re.compile(
    rf"(?<![\w.-])[\"']?(?:(?P<word>[\w.-]*?{_WORDS})|{_NAMES})[\"']?\s*(?:=|:(?!//))[ \t]*(?P<value>.*)",
    re.IGNORECASE,
)
#: As ifupdown has them, and as options of a command line.
_SPACED = re.compile(rf"(?:^\s*|--)(?P<word>[\w.-]*?{_WORDS})[ \t]+(?P<value>\S.*)", re.IGNORECASE)
#: A value that is none: what is in it, or below it, are settings of their own.
_NO_VALUE = re.compile(r"(?:[&!]\S+\s*)*(?:#.*|[\[{].*)?")
_USERINFO = re.compile(r"(?<=://)[^\s/\"'<>?#]+@")
_PEM = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_CRYPT = re.compile(r"\$(?:1|2[abxy]?|5|6|7|y|gy|md5|sha1)\$[^\s\"',:]{8,}")
_BOOTSTRAP_TOKEN = re.compile(r"(?<![\w.-])[a-z0-9]{6}\.[a-z0-9]{16}(?![\w.-])")
_OPTION = re.compile(
    r"(--(?:token|discovery-token|tls-bootstrap-token|certificate-key|password)[= ])\S+", re.IGNORECASE
)
#: As on the kernel's command line, and in the options of a mount.
_ASSIGNMENT = re.compile(r"((?<![\w.-])[\w.-]*(?:password|passwd|passphrase|psk)=)[^\s,*\"']+", re.IGNORECASE)
_SECRET_KEY = re.compile(
    r".*(?:password|passwd|passphrase|psk|secret|token|private[-_]?key|certificate[-_]?key)", re.IGNORECASE
)
#: Shorter ones would hide what merely looks like them.
_SHORTEST = 8


def masked_message(text: str) -> str:
    """Return a message without what is known to be secret by its form alone."""
    text = _USERINFO.sub(f"{MASK}@", _PEM.sub(_mask_key, text))
    text = _BOOTSTRAP_TOKEN.sub(MASK, _CRYPT.sub(MASK, text))
    return _ASSIGNMENT.sub(rf"\1{MASK}", _OPTION.sub(rf"\1{MASK}", text))


def _mask_key(match: re.Match[str]) -> str:
    # As many lines as before, so that a diff has its lines in place.
    return f"{match[1]}\n{MASK}" + "\n" * (match[0].count("\n") - 1) + match[2]


def masked(text: str) -> str:
    """Return the text of a configuration file without the values of secret settings.

    All to the end of a line goes, and what goes on below it; that hides too much rather than too little.
    """
    return "".join(_masked_lines(masked_message(text)))


def _masked_lines(text: str) -> Iterator[str]:
    hidden_below: int | None = None
    closing = ""
    for line in text.splitlines(keepends=True):
        body = line.rstrip("\r\n")
        end = line[len(body) :]
        indent = len(body) - len(body.lstrip())
        if closing:
            yield f"{MASK}{end}"
            closing = "" if closing in body else closing
            continue
        if hidden_below is not None and (not body.strip() or indent > hidden_below):
            yield f"{body[:indent]}{MASK}{end}" if body.strip() else line
            continue
        hidden_below = None
        match = _SETTING.search(body) or _SPACED.search(body)
        if match is None:
            yield line
            continue
        name, value = body[: match.start("value")], match["value"]
        if match["word"] is None and _NO_VALUE.fullmatch(value):
            yield f"{name}{''.join(_masked_lines(value))}{end}"
            continue
        # What is empty may stand below, as YAML allows it.
        yield f"{name}{MASK if value else ''}{end}"
        hidden_below = indent
        if value[:1] in ("'", '"') and value[:1] not in value[1:]:
            closing = value[:1]


def file_diff(*, path: str, before: str, after: str, private: bool = False) -> dict[str, str]:
    """Return what ``--diff`` shows of a file; of one that others may not read, what changes."""
    old, new = masked(before), masked(after)
    if private:
        old, new = _changed_lines((before, old), (after, new))
    return {"before_header": path, "after_header": path, "before": old, "after": new}


def _changed_lines(before: tuple[str, str], after: tuple[str, str]) -> tuple[str, str]:
    """Return what changes between two texts, each given as it is and as it is shown, line by line."""
    (old, shown_old), (new, shown_new) = (
        [text.splitlines(keepends=True) for text in texts] for texts in (before, after)
    )
    removed, added = [], []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, first, last, start, stop in matcher.get_opcodes():
        if tag != "equal":
            removed += shown_old[first:last]
            added += shown_new[start:stop]
    return "".join(removed), "".join(added)


def secret_values(value: Any, *, key: str = "") -> Iterator[str]:
    """Find what is secret in the options of a module beside those that are declared so: logins in URLs, and
    what stands in dictionaries under names such as password.
    """
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from secret_values(part, key=str(name))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from secret_values(part, key=key)
    elif isinstance(value, str):
        if key and _SECRET_KEY.fullmatch(key) and len(value) >= _SHORTEST:
            yield value
        for found in _USERINFO.findall(value):
            # A name alone may be an ordinary word.
            yield found[:-1] if len(found) > _SHORTEST else found
