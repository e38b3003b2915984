# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd-networkd's files become; a second edit changes nothing."""

from __future__ import annotations

from ansible_collections.bramble.pi.plugins.module_utils._network import networkd

from tests.unit.network_node import SETTINGS


def test_networkd() -> None:
    present = """# the owner's
[Match]
Name=en* eth*

[Link]
RequiredForOnline=no

[Network]
DHCP=yes
IPv6AcceptRA=yes
Address=192.168.1.5/24
Address=fd00::5/64
Gateway=192.168.1.1
DNS=9.9.9.9

[Address]
Address=192.168.1.6/24

[Route]
Gateway=192.168.1.1

[Route]
Destination=10.244.1.0/24
Gateway=192.168.1.12

[DHCPv4]
UseDNS=no
"""
    file = networkd.static_file(settings=SETTINGS, present=present)
    assert file.path == "/etc/systemd/network/00-bramble-eth0.network"
    assert (
        file.text
        == """# Written by the collection bramble.pi; changes are overwritten.
[Match]
Name=eth0

[Network]
Address=192.168.1.11/24
Gateway=192.168.1.1
DNS=192.168.1.1
DNS=8.8.8.8
Domains=rack.example.org
DHCP=ipv6
IPv6AcceptRA=yes
Address=fd00::5/64

[Link]
RequiredForOnline=no

[Route]
Destination=10.244.1.0/24
Gateway=192.168.1.12
"""
    )
    assert networkd.static_file(settings=SETTINGS, present=file.text) == file
