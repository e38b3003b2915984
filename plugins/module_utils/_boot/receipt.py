# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receipt of a card. Any card may carry a file of that name, and users are shown what is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_TEXTS = ("node", "seed", "written", "collection")
_LONGEST = 255


def _is_text(value: object) -> bool:
    """Tell whether a value is one line of text, without what a terminal would take for a command."""
    return isinstance(value, str) and len(value) <= _LONGEST and value.isprintable()


def parse_receipt(*, content: bytes | str) -> dict[str, Any] | None:
    """Return a receipt with all that receipts have and nothing else, None if it is anything else."""
    try:
        receipt = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(receipt, dict) or isinstance(receipt.get("schema"), bool) or receipt.get("schema") != 1:
        return None
    image = receipt.get("image")
    if not isinstance(image, Mapping):
        return None
    size = image.get("size")
    # A boolean is an integer to Python.
    if not isinstance(size, int) or isinstance(size, bool):
        return None
    if not all(_is_text(receipt.get(key)) for key in _TEXTS):
        return None
    if not all(_is_text(image.get(key)) for key in ("name", "sha256")):
        return None
    return {
        "schema": 1,
        "node": receipt["node"],
        "image": {key: image[key] for key in ("name", "sha256", "size")},
        **{key: receipt[key] for key in ("seed", "written", "collection")},
    }
