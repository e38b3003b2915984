# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of the Raspberry Pi firmware's configuration, config.txt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class ConfigTxtError(Exception):
    """A setting that config.txt cannot hold; the message says what was given and what is wanted."""


class Setting(NamedTuple):
    """One setting as it is wanted."""

    #: The filters that it stands under: ``all``, ``pi4``, or several with a blank between: ``pi4 gpio4=1``.
    section: str
    setting: str
    #: None, together with the state ``absent``: whatever its value.
    value: str | None
    state: str = "present"


def parse_settings(*, data: Sequence[Mapping[str, Any]]) -> list[Setting]:
    """Judge settings as they were given (section, setting, value, state)."""
    raise NotImplementedError


def edit_config_txt(*, text: str, settings: Sequence[Setting]) -> str:
    """Return the text with the settings as they are wanted, all else as it was."""
    raise NotImplementedError


def include_warnings(
    *, text: str, settings: Sequence[Setting], read: Callable[[str], str | None]
) -> list[str]:
    """Name the settings that a file which config.txt includes sets otherwise."""
    raise NotImplementedError
