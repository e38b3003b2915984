# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NetworkManager's profiles become; a second edit changes nothing."""

from __future__ import annotations

from ansible_collections.bramble.pi.plugins.module_utils._common.secrets import masked
from ansible_collections.bramble.pi.plugins.module_utils._network import networkmanager

from tests.unit.network_node import BARE, SETTINGS


def test_networkmanager_from_nothing() -> None:
    file = networkmanager.static_file(settings=SETTINGS, present="")
    assert (file.path, file.mode) == (
        "/etc/NetworkManager/system-connections/bramble-eth0.nmconnection",
        0o600,
    )
    assert "type=ethernet\ninterface-name=eth0\nautoconnect-priority=100\n" in file.text
    assert file.text.endswith(
        "\n[ipv4]\nmethod=manual\naddress1=192.168.1.11/24,192.168.1.1\ndns=192.168.1.1;8.8.8.8;\n"
        "dns-search=rack.example.org;\n"
    )
    assert networkmanager.static_file(settings=SETTINGS, present=file.text) == file
    assert "address1=10.0.0.1/8\n" in networkmanager.static_file(settings=BARE, present="").text


def test_networkmanager_keeps_the_rest_of_a_profile() -> None:
    present = """[connection]
id=Wired connection 1
uuid=6f6c1f0e-6f43-4b9e-bb1a-4d3f6b6e2f10
type=ethernet
timestamp=1700000000

[ethernet]
mtu=1400

[802-1x]
eap=peap;
password=not-to-be-shown

[ipv4]
method=auto

[ipv6]
addr-gen-mode=default
method=auto

[proxy]
"""
    file = networkmanager.static_file(settings=SETTINGS, present=present)
    for kept in (
        "[ethernet]\nmtu=1400\n",
        "[ipv6]\naddr-gen-mode=default\nmethod=auto\n",
        "[802-1x]\neap=peap;\n",
    ):
        assert kept in file.text
    for gone in ("6f6c1f0e", "Wired", "timestamp", "[ipv4]\nmethod=auto"):
        assert gone not in file.text
    assert networkmanager.static_file(settings=SETTINGS, present=file.text) == file
    assert "not-to-be-shown" not in masked(file.text)
