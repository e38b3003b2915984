# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

from ansible_collections.bramble.pi.plugins.module_utils._common.addresses import (
    interface_addresses,
    without_prefix,
)


def test_interface_addresses() -> None:
    links = [
        {},
        {"ifname": "lo", "addr_info": []},
        {"ifname": "eth0", "addr_info": [{"local": "10.0.0.2", "prefixlen": 24}]},
    ]
    found = interface_addresses(lambda _command: (0, json.dumps(links), ""))
    assert found == {"lo": [], "eth0": ["10.0.0.2/24"]}
    assert without_prefix(found["eth0"][0]) == "10.0.0.2"
