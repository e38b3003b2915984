# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of YAML that kubeadm and kubectl write: blocks with scalars on one line, or JSON.

Nodes have no YAML library. All else that YAML has (anchors, tags, flow, text over lines) is refused by
:class:`UnclearError`, rather than guessed.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_KEY = re.compile(r"""(?P<key>[A-Za-z][\w./-]*|"[\w./-]+"|'[\w./-]+')[ ]*:(?=[ ]|$)""")
_DASH = re.compile(r"-(?:[ ]+|$)")
_SCALAR = re.compile(
    r"""(?P<double>"(?:[^"\\]|\\.)*")|'(?P<single>(?:[^']|'')*)'|(?P<empty>\{\}|\[\])|(?P<plain>[^\s"'{}\[\]&*!|>%@`#,?-].*|-[^\s-].*)""",
)
_Line = tuple[int, str]


class UnclearError(BrambleError):
    """The text has more of YAML than is understood here."""


def load(text: str) -> Any:
    """Return what the text says, with each scalar as the text that it is."""
    try:
        return json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        pass
    lines: list[_Line] = []
    for number, raw in enumerate(text.replace("\r\n", "\n").split("\n")):
        line = raw.rstrip(" ")
        content = line.lstrip(" ")
        if not content or content.startswith("#") or (line == "---" and not lines):
            continue
        if "\t" in line or not line.isprintable() or line in ("---", "..."):
            raise UnclearError(f"line {number + 1} is not understood")
        lines.append((len(line) - len(content), content))
    if not lines:
        return None
    value, rest = _block(lines, 0, lines[0][0])
    if rest != len(lines):
        raise UnclearError("its indentation is not understood")
    return value


def _block(lines: list[_Line], at: int, indent: int) -> tuple[Any, int]:
    """Return the value that begins at a line, and the number of the line after it."""
    if _DASH.match(lines[at][1]):
        return _sequence(lines, at, indent)
    return _mapping(lines, at, indent)


def _sequence(lines: list[_Line], at: int, indent: int) -> tuple[list[Any], int]:
    entries: list[Any] = []
    while at < len(lines) and lines[at][0] == indent:
        dash = _DASH.match(lines[at][1])
        if not dash:
            break
        content = lines[at][1][dash.end() :]
        if _KEY.match(content):
            # The entry's first key stands behind the dash, the others below it.
            inner = indent + dash.end()
            lines[at] = (inner, content)
            value, at = _mapping(lines, at, inner)
        else:
            value, at = _scalar(content), at + 1
        entries.append(value)
    return entries, at


def _mapping(lines: list[_Line], at: int, indent: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while at < len(lines) and lines[at][0] == indent:
        content = lines[at][1]
        match = _KEY.match(content)
        if not match:
            # A sequence may stand as far to the left as the key that it belongs to.
            if _DASH.match(content) and found:
                break
            raise UnclearError(f"{content.split(':')[0]} is not a key that is understood")
        key = match["key"].strip("\"'")
        if key in found:
            raise UnclearError(f"it has the key {key} twice")
        rest = content[match.end() :].strip()
        at += 1
        if rest and not rest.startswith("#"):
            found[key] = _scalar(rest)
        elif at < len(lines) and (
            lines[at][0] > indent or (lines[at][0] == indent and _DASH.match(lines[at][1]))
        ):
            found[key], at = _block(lines, at, lines[at][0])
        else:
            found[key] = None
    if at < len(lines) and lines[at][0] > indent:
        raise UnclearError("its indentation is not understood")
    return found, at


def _scalar(text: str) -> Any:
    match = _SCALAR.match(text)
    if not match:
        raise UnclearError("it has a value that is not understood")
    rest = text[match.end() :]
    if match["plain"] is not None:
        value = re.split(r"[ ]+#", match["plain"], maxsplit=1)[0].rstrip()
        if re.search(r":(?:[ ]|$)", value):
            raise UnclearError("it has a value that is not understood")
        return None if value in ("null", "~", "Null", "NULL") else value
    if rest.strip() and not re.match(r"[ ]+#", rest):
        raise UnclearError("it has a value that is not understood")
    if match["empty"]:
        return {} if match["empty"] == "{}" else []
    if match["single"] is not None:
        return match["single"].replace("''", "'")
    try:
        return json.loads(match["double"])
    except ValueError:
        raise UnclearError("it has a value that is not understood") from None
