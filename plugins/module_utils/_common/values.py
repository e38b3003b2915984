# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What YAML made of a value, where text was meant: it is refused by its name, and never converted."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_QUOTES = "expected text: put it in quotes"


def described(value: Any, *, secret: bool = False) -> str:
    """Say what a value is to YAML; of a secret, only its type."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text" if secret else f"the text {value!r}"
    if isinstance(value, bool):
        return "a boolean" if secret else f"the boolean {str(value).lower()}"
    if isinstance(value, (int, float)):
        return "a number" if secret else f"the number {value}"
    if isinstance(value, datetime.date):
        return "a date" if secret else f"the date {value}"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else f"of the type {type(value).__name__}"


def text_problem(value: Any, *, secret: bool = False) -> str | None:
    """Say why a value is not text; None if it is."""
    if isinstance(value, str):
        return None
    quotable = value is not None and not isinstance(value, (list, tuple, Mapping))
    return f"is {described(value, secret=secret)}; {_QUOTES if quotable else 'expected text'}"


def texts_problems(value: Any, *, secret: bool = False) -> Iterator[str]:
    """Say what keeps a value from being a list of texts; a text would be taken letter by letter."""
    if not isinstance(value, (list, tuple)):
        yield f"is {described(value, secret=secret)}; expected a list of texts, such as ['…'], or [] for none"
        return
    for number, item in enumerate(value, start=1):
        if not isinstance(item, str):
            quotable = item is not None and not isinstance(item, (list, tuple, Mapping))
            wish = _QUOTES if quotable else "expected text"
            yield f"has {described(item, secret=secret)} as entry {number}; {wish}"


def mapping_problem(value: Any) -> str | None:
    """Say why a value is not a mapping whose keys are text; None if it is."""
    if not isinstance(value, Mapping):
        return f"is {described(value)}; expected a mapping, or {{}} for none"
    key = next((key for key in value if not isinstance(key, str)), "")
    return None if isinstance(key, str) else f"has {described(key)} as a key; {_QUOTES}"


def is_sha256(text: str) -> bool:
    """Tell whether a text is a SHA-256 in hexadecimal digits."""
    return _SHA256.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Tell whether a text is an IPv4 address."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
