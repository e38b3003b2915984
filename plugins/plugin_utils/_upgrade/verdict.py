# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of an upgrade before it begins."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """Something that stops an upgrade, or that is only told."""

    text: str
    stops: bool = True
