# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._network import dhcp_renew
from ansible_collections.bramble.pi.plugins.module_utils._network.detect import MANAGERS
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import Claim
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError

from tests.unit.network_node import FolderNode

PROFILE = "5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03"


@pytest.mark.parametrize(
    ("claim", "command"),
    [
        (Claim("networkd", "networkd", ""), "networkctl reconfigure eth0"),
        (Claim("netplan", "networkd", ""), "networkctl reconfigure eth0"),
        (Claim("networkmanager", "networkmanager", "", "", PROFILE), f"nmcli connection up uuid {PROFILE}"),
        (Claim("netplan", "networkmanager", "", "", PROFILE), f"nmcli connection up uuid {PROFILE}"),
        (Claim("networkmanager", "networkmanager", ""), "nmcli device connect eth0"),
        (Claim("dhcpcd", "dhcpcd", ""), "dhcpcd --rebind eth0"),
        (Claim("ifupdown", "ifupdown", ""), "sh -c ifdown eth0; ifup eth0"),
    ],
)
def test_the_manager_renews(claim: Claim, command: str) -> None:
    assert " ".join(MANAGERS[claim.name].renew(interface="eth0", claim=claim)) == command


def test_the_manager_is_found(tmp_path: Path) -> None:
    node = FolderNode(tmp_path)
    node.write("/run/systemd/netif/state")
    assert dhcp_renew.renew_command(node=node, interface="eth0") == ["networkctl", "reconfigure", "eth0"]


def test_interface_of() -> None:
    interfaces = {"lo": [], "eth0": ["10.0.0.2/24"]}
    assert dhcp_renew.interface_of(address="10.0.0.2", interfaces=interfaces) == "eth0"
    with pytest.raises(NetworkError, match=r"no interface has the address 10\.0\.0\.3"):
        dhcp_renew.interface_of(address="10.0.0.3", interfaces=interfaces)
