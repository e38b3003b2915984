# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what goes on the boot partition of new cards, as the role flash makes them itself."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.plugin_utils._cards.inputs import (
    IMAGE,
    boot_problems,
    input_problems,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import Finding, Rack

_PREFIX = "flash_"


def check_cards(rack: Rack) -> Iterator[Finding]:
    """Check what is set for cards; what is of another type as a whole is told of already, and left out."""
    for host, variables in rack.hosts.items():
        told = {
            name[len(_PREFIX) :]: value
            for name in variables
            if name.startswith(_PREFIX) and (value := rack.value(host, name)) is not None
        }
        image = {
            key: told[name[len(_PREFIX) :]] for key, name in IMAGE.items() if name[len(_PREFIX) :] in told
        }
        values = {**told, "image": image}
        for problem in input_problems(values) or boot_problems(values):
            yield Finding(problem, host)
