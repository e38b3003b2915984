# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dhcpcd's file becomes; a second edit changes nothing."""

from __future__ import annotations

from ansible_collections.bramble.pi.plugins.module_utils._network import dhcpcd

from tests.unit.network_node import SETTINGS, text

BLOCK = """# BEGIN bramble.pi
interface eth0
static ip_address=192.168.1.11/24
noarp
static routers=192.168.1.1
static domain_name_servers=192.168.1.1 8.8.8.8
static domain_search=rack.example.org
# END bramble.pi
"""


def test_dhcpcd() -> None:
    present = text("dhcpcd.conf")
    file = dhcpcd.static_file(settings=SETTINGS, present=present)
    assert file.text == present + BLOCK
    assert dhcpcd.static_file(settings=SETTINGS, present=file.text) == file


def test_dhcpcd_comments_out_what_the_owner_had() -> None:
    owners = (
        "interface eth0\nstatic ip_address=192.168.1.5/24\nnoipv6\n"
        "interface wlan0\nstatic ip_address=10.0.0.1/24\n"
    )
    file = dhcpcd.static_file(settings=SETTINGS, present=owners)
    assert file.text == (
        "interface eth0\n# bramble.pi: static ip_address=192.168.1.5/24\nnoipv6\n"
        f"interface wlan0\nstatic ip_address=10.0.0.1/24\n{BLOCK}"
    )
    assert dhcpcd.static_file(settings=SETTINGS, present=file.text) == file
