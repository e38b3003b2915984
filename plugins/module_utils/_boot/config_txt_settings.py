# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings for config.txt as they are asked for, checked before any file is looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.values import described, text_problem

#: The firmware ignores what is beyond in a line.
MAXIMUM_LINE = 98
#: Settings of which several lines count, each with a value of its own.
LISTS = frozenset(("dtoverlay", "dtparam", "gpio", "include", "initramfs"))
#: Settings that are written with a blank instead of an equals sign.
WITH_BLANK = frozenset(("include", "initramfs"))
#: Filters of one kind replace each other; those of different kinds have all to match.
_FILTER_KINDS = {
    "model": re.compile(r"(pi|cm)\d+[a-z]?\+?|board-type=\w+"),
    "none": re.compile(r"none"),
    "tryboot": re.compile(r"tryboot"),
    "monitor": re.compile(r"EDID=\S+"),
    "serial number": re.compile(r"0x[0-9A-Fa-f]+"),
    "gpio": re.compile(r"gpio\d+=[01]"),
    "HDMI port": re.compile(r"HDMI:[01]"),
    "expression": re.compile(r"[a-z_]+\d*[=<>&]\S+"),
}
_NAME = re.compile(r"[A-Za-z]\w*(:\d)?")
_KEYS = ("section", "setting", "value", "state")
_EXAMPLE = "as in {setting: dtparam, value: 'audio=off'}"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
Filters = frozenset[str]


class ConfigTxtError(BrambleError):
    """A setting that config.txt cannot hold; the message says what was given and what is expected."""


class Setting(NamedTuple):
    """One setting as it should be."""

    #: The filters that it stands under: ``all``, ``pi4``, or several with a blank between: ``pi4 gpio4=1``.
    section: str
    setting: str
    #: None if it is to be absent, whatever its value.
    value: str | None
    state: str = "present"

    @property
    def absent(self) -> bool:
        """Tell whether it is to be taken out."""
        return self.state == "absent" or self.value is None

    @property
    def line(self) -> str:
        """The line that it is."""
        return f"{self.setting}{' ' if self.setting in WITH_BLANK else '='}{self.value or ''}"

    @property
    def filters(self) -> Filters:
        """The filters of its section."""
        return frozenset(self.section.split()) - {"all"}

    @property
    def parameters(self) -> list[str]:
        """What of a line is looked for by itself: each parameter of a dtparam, else the value."""
        return parameters_of(self.setting, self.value or "")


def parameters_of(setting: str, value: str) -> list[str]:
    return [part.strip() for part in value.split(",")] if setting == "dtparam" else [value]


def kind_of_filter(name: str) -> str | None:
    return next((kind for kind, pattern in _FILTER_KINDS.items() if pattern.fullmatch(name)), None)


def _check_section(setting: Setting) -> None:
    names = setting.section.split()
    kinds = [kind_of_filter(name) for name in names if name != "all"]
    if not names or None in kinds:
        raise ConfigTxtError(
            f"section is {setting.section!r} for {setting.setting}. Set it to 'all', or to a filter as the "
            f"firmware knows it, without brackets: 'pi4', 'cm5', 'board-type=0x14', '0x12345678' (serial "
            f"number), 'EDID=DEL-DELL_U2422H', 'gpio4=1', 'HDMI:0', 'tryboot'. Put a blank between several."
        )
    if len(names) > 1 and ("all" in names or len(set(kinds)) < len(kinds)):
        raise ConfigTxtError(
            f"section is {setting.section!r} for {setting.setting}: 'all' stands alone, and of two filters "
            f"of one kind only the last counts. Set a section for each."
        )


def check_setting(setting: Setting) -> None:
    _check_section(setting)
    if not _NAME.fullmatch(setting.setting):
        raise ConfigTxtError(
            f"setting is {setting.setting!r}; expected a name such as 'dtoverlay' or 'hdmi_group:1'; "
            f"what comes after '=' belongs in 'value'."
        )
    if setting.state not in {"present", "absent"}:
        raise ConfigTxtError(f"state is {setting.state!r} for {setting.setting}; set 'present' or 'absent'.")
    if _CONTROL.search(setting.value or ""):
        raise ConfigTxtError(f"value is {setting.value!r} for {setting.setting}; expected one line of text.")
    if not setting.absent and not setting.value and setting.setting != "dtoverlay":
        raise ConfigTxtError(f"value is empty for {setting.setting}; set it, or 'state: absent'.")
    length = len(setting.line.encode())
    if not setting.absent and length > MAXIMUM_LINE:
        raise ConfigTxtError(
            f"{setting.line!r} has {length} characters, and the firmware ignores what is beyond "
            f"{MAXIMUM_LINE}. Shorten 'value'; parameters of an overlay can be given as 'dtparam' after it."
        )


def _contradict(one: Setting, other: Setting) -> bool:
    if (one.filters, one.setting) != (other.filters, other.setting) or (one.absent and other.absent):
        return False
    if one.absent or other.absent:
        gone, kept = (one, other) if one.absent else (other, one)
        return gone.value is None or not set(gone.parameters).isdisjoint(kept.parameters)
    if one.setting == "dtparam":
        mine, theirs = (dict(part.partition("=")[::2] for part in each.parameters) for each in (one, other))
        return any(mine[name] != theirs[name] for name in mine.keys() & theirs.keys())
    return one.setting not in LISTS and one.value != other.value


def check_agreement(settings: Sequence[Setting]) -> None:
    for number, one in enumerate(settings):
        for other in settings[:number]:
            if _contradict(one, other):
                raise ConfigTxtError(
                    f"under {one.section!r}, {other.line!r} is to be {_state(other)} and {one.line!r} "
                    f"{_state(one)}; give {one.setting} once."
                )


def _state(setting: Setting) -> str:
    return "absent" if setting.absent else "present"


def parse_settings(*, data: Sequence[Mapping[str, Any]]) -> list[Setting]:
    """Check settings as they were given, with ``section``, ``setting``, ``value`` and ``state``."""
    if not isinstance(data, (list, tuple)):
        raise ConfigTxtError(f"the settings are {described(data)}; expected a list of mappings, {_EXAMPLE}.")
    settings = []
    for number, item in enumerate(data, start=1):
        if not isinstance(item, Mapping):
            raise ConfigTxtError(f"entry {number} is {described(item)}; expected a mapping, {_EXAMPLE}.")
        unknown = [str(key) for key in item if key not in _KEYS]
        if unknown:
            raise ConfigTxtError(
                f"entry {number} has the key {unknown[0]!r}; expected only {', '.join(_KEYS)}, {_EXAMPLE}."
            )
        texts = {"section": "all", "setting": None, "state": "present", **item}
        for key in ("section", "setting", "state"):
            problem = text_problem(texts[key])
            if problem:
                raise ConfigTxtError(f"{key} of entry {number} {problem}, {_EXAMPLE}.")
        name, value = texts["setting"], item.get("value")
        if isinstance(value, bool) or not isinstance(value, (str, int, type(None))):
            raise ConfigTxtError(
                f"value is {described(value)} for {name}; expected text or a whole number: put it in quotes, "
                f"or write 1 for a YAML word such as yes or on."
            )
        text = None if value is None else str(value).strip()
        if text is None and texts["state"] == "present":
            raise ConfigTxtError(f"value is missing for {name}; set it, or 'state: absent'.")
        settings.append(Setting(texts["section"] or "all", name, text, texts["state"]))
    for setting in settings:
        check_setting(setting)
    check_agreement(settings)
    return settings
