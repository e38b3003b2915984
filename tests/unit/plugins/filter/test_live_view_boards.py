# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.bramble.pi.plugins.filter.inventory import live_view_boards


def test_boards_are_listed_in_their_order() -> None:
    results = [
        {"item": "192.168.1.12", "rc": 0, "stdout": "Raspberry Pi 4 Model B Rev 1.4\0"},
        # A machine that is no Pi, and a node that is off.
        {"item": "pc", "rc": 1, "stdout": ""},
        {"item": "pi-3", "unreachable": True, "msg": "no route to host"},
    ]
    names = {"pi-3": "pi-3", "pc": "pc", "192.168.1.12": "kitchen"}
    assert live_view_boards(results, names) == [
        {"host": "192.168.1.12", "name": "kitchen", "model": "Raspberry Pi 4 Model B Rev 1.4"},
        {"host": "pc", "name": "pc", "model": ""},
        {"host": "pi-3", "name": "pi-3", "model": ""},
    ]
