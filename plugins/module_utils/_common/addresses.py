# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses that this machine's interfaces have."""

from __future__ import annotations

import json

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of


def interface_addresses(run: Runner) -> dict[str, list[str]]:
    """Return the IPv4 addresses of each interface, with their prefixes."""
    return {
        link["ifname"]: [f"{entry['local']}/{entry['prefixlen']}" for entry in link.get("addr_info", ())]
        for link in json.loads(output_of(run, ["ip", "-json", "-4", "address", "show"]))
        if "ifname" in link
    }


def without_prefix(address: str) -> str:
    """Return an address without the length of its prefix."""
    return address.partition("/")[0]
