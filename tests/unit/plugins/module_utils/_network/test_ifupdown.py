# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ifupdown's files become; a second edit changes nothing."""

from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._network import ifupdown
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import File

from tests.unit.network_node import BARE, SETTINGS, by_path, text

OWN = """# Written by the collection bramble.pi; changes are overwritten.
allow-hotplug eth0
iface eth0 inet static
    address 192.168.1.11
    netmask 255.255.255.0
    network 192.168.1.0
    broadcast 192.168.1.255
    gateway 192.168.1.1
"""
ETH0 = "/etc/network/interfaces.d/eth0"


def test_ifupdown_on_debian() -> None:
    present = {ifupdown.INTERFACES: text("interfaces-debian.txt")}
    files = by_path(ifupdown.static_files(settings=SETTINGS, present=present))
    assert files[ETH0] == OWN
    changed = files[ifupdown.INTERFACES]
    assert "\n# bramble.pi: iface eth0 inet dhcp\n# This is an autoconfigured" in changed
    assert "allow-hotplug" not in changed
    # What is not IPv4 of this interface stays.
    assert changed.endswith("\niface eth0 inet6 auto\n")
    assert "auto lo\niface lo inet loopback\n" in changed
    assert ifupdown.static_files(settings=SETTINGS, present={**present, **files}) == [File(ETH0, OWN)]


def test_ifupdown_on_hypriotos() -> None:
    main = "source-directory /etc/network/interfaces.d\n"
    present = {ifupdown.INTERFACES: main, ETH0: text("interfaces-hypriot-eth0.txt")}
    assert by_path(ifupdown.static_files(settings=SETTINGS, present=present)) == {ETH0: OWN}


def test_ifupdown_keeps_what_else_is_in_the_interface_s_file() -> None:
    present = {
        ifupdown.INTERFACES: "source interfaces.d/*\n",
        ETH0: (
            "auto eth0 br0\niface eth0 inet static\n\taddress 1.2.3.4/8\n\tup echo \\\n\t  1\n"
            "# six\niface eth0 inet6 auto\n"
        ),
    }
    files = by_path(ifupdown.static_files(settings=SETTINGS, present=present))
    # It was brought up with the system, and still is.
    stanza = OWN.replace("allow-hotplug", "auto") + "    up echo \\\n\t  1\n"
    assert files == {ETH0: stanza + "auto br0\niface eth0 inet6 auto\n"}
    again = by_path(ifupdown.static_files(settings=SETTINGS, present={**present, **files}))
    assert again == files


def test_ifupdown_without_gateway_and_without_a_line_that_reads_our_file() -> None:
    files = by_path(
        ifupdown.static_files(settings=BARE, present={ifupdown.INTERFACES: "auto lo\niface lo inet loopback"})
    )
    assert "gateway" not in files[ETH0]
    assert files[ifupdown.INTERFACES].endswith(f"\nsource {ETH0}\n")


def test_a_key_is_in_no_file_that_others_may_read() -> None:
    present = {ifupdown.INTERFACES: "iface eth0 inet dhcp\n  wpa-ssid home\n  wpa-psk as told by word\n"}
    files = ifupdown.static_files(settings=SETTINGS, present=present)
    assert [file.mode for file in files if file.path == ETH0] == [0o600]


@pytest.mark.parametrize(
    ("line", "path", "expected"),
    [
        ("source /etc/network/interfaces.d/*", ETH0, True),
        ("source interfaces.d/*.cfg", ETH0, False),
        ("source-directory interfaces.d", ETH0, True),
        # ifupdown leaves out names with a dot there.
        ("source-directory /etc/network/interfaces.d/", f"{ETH0}.10", False),
        ("# source /etc/network/interfaces.d/*", ETH0, False),
    ],
)
def test_is_sourced(line: str, path: str, expected: bool) -> None:
    assert ifupdown.is_sourced(text=line, path=path) == expected
