# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a seed has brought to a boot partition, so that its successor takes away what it no longer has.

What the image itself has comes back as the image has it; nothing of the image is ever removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._boot.cmdline import desired, key_of
from ansible_collections.bramble.pi.plugins.module_utils._boot.config_txt import values_of
from ansible_collections.bramble.pi.plugins.module_utils._boot.config_txt_settings import (
    LISTS,
    Setting,
    parse_settings,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import (
    RECEIPT,
    Seed,
    cmdline_tokens,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import Boot, check_names

#: The key of it in the receipt that lies on the card.
KEY = "applied"
#: Which root file system it names may have changed at the first boot, so it is nobody's to bring back.
_CMDLINE = "cmdline.txt"
_CONFIG = "config.txt"


class Applied(NamedTuple):
    """What a seed has brought."""

    files: tuple[str, ...] = ()
    config_txt: tuple[Setting, ...] = ()
    cmdline: tuple[str, ...] = ()


def applied(*, seed: Seed) -> dict[str, Any]:
    """Write down what a seed brings: names of files and not what is in them."""
    return {
        "files": sorted(name for name in seed.files if name != RECEIPT),
        "config_txt": [
            {"section": each.section, "setting": each.setting, "value": each.value}
            for each in seed.config_txt
            if not each.absent
        ],
        "cmdline": seed.cmdline.tokens(),
    }


def parse_applied(*, content: bytes) -> Applied:
    """Read that out of a receipt; nothing, if it is not what was written."""
    try:
        data = json.loads(content)[KEY]
        files = data["files"]
        check_names(files=files)
        return Applied(
            tuple(files),
            tuple(parse_settings(data=data["config_txt"])),
            desired(present=data["cmdline"], absent=(), settings={}).present,
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        # Also the errors of the checks, and any other file of that name.
        return Applied()


def with_removals(*, seed: Seed, before: Applied, image: Boot) -> Seed:
    """Have a seed take away what its predecessor has brought and it does not; ``image`` is as it came."""
    own = {name.casefold() for name in [*seed.files, *seed.absent]}
    files, absent = dict(seed.files), list(seed.absent)
    for name in before.files:
        if name.casefold() in own or name.casefold().rpartition("/")[2] == _CMDLINE:
            continue
        there = image.find(name)
        data = None if there is None or there.endswith("/") else image.read(name)
        if data is None:
            absent.append(name)
        else:
            files[name] = data
    settings = list(seed.config_txt)
    if _CONFIG not in {name.casefold() for name in files}:
        settings += _settings(seed, before, (image.read(_CONFIG) or b"").decode("utf-8", "surrogateescape"))
    line = seed.cmdline
    gone, back = _tokens(seed, before, cmdline_tokens(boot=image))
    return seed._replace(
        files=files,
        absent=tuple(absent),
        config_txt=tuple(settings),
        cmdline=line._replace(
            present=tuple(dict.fromkeys([*line.present, *back])),
            absent=tuple(dict.fromkeys([*line.absent, *gone])),
        ),
    )


def _settings(seed: Seed, before: Applied, text: str) -> Iterator[Setting]:
    """Return how config.txt loses settings, or gets those of the image back."""
    for old in before.config_txt:
        same = [
            each for each in seed.config_txt if (each.filters, each.setting) == (old.filters, old.setting)
        ]
        if same and old.setting not in LISTS:
            continue
        kept = {parameter for each in same for parameter in each.parameters}
        names = {parameter.partition("=")[0] for parameter in kept}
        for parameter in old.parameters:
            name = parameter.partition("=")[0]
            # An empty overlay ends the one before it for others too.
            if not parameter or parameter in kept or (old.setting == "dtparam" and name in names):
                continue
            values = values_of(text=text, setting=old)
            if old.setting == "dtparam":
                values = [value for value in values if value.partition("=")[0] == name]
            if old.setting in LISTS and old.setting != "dtparam":
                values = [value for value in values if value == parameter]
            if values:
                yield old._replace(value=values[-1])
            else:
                yield old._replace(value=parameter, state="absent")


def _tokens(seed: Seed, before: Applied, image: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the tokens that go from the command line, and those of the image that come back."""
    settings = {key for key, _token in seed.cmdline.settings}
    gone, back = [], []
    for token in before.cmdline:
        key = key_of(token)
        if token in seed.cmdline.tokens() or token in image or key in settings or key == "root":
            continue
        gone.append(token)
        back += [each for each in image if key_of(each) == key and each not in seed.cmdline.absent]
    return gone, back
