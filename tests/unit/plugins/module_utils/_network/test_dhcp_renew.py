# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._network import dhcp_renew

NETWORKD = "● 2: eth0\n                     Link File: n/a\n                         State: routable ({})\n"


@pytest.mark.parametrize(
    ("answers", "command"),
    [
        ({"networkctl": NETWORKD.format("configured")}, ["networkctl", "reconfigure", "eth0"]),
        (
            {"networkctl": NETWORKD.format("unmanaged"), "nmcli": "5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03\n"},
            ["nmcli", "connection", "up", "uuid", "5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03"],
        ),
        ({"nmcli": "\n", "pidof": "412\n"}, ["dhcpcd", "--rebind", "eth0"]),
        ({"ifquery": "eth0=eth0\n"}, ["sh", "-c", "ifdown eth0; ifup eth0"]),
    ],
)
def test_the_manager_renews(answers: dict[str, str], command: list[str]) -> None:
    def run(arguments: list[str]) -> tuple[int, str]:
        return (0, answers[arguments[0]]) if arguments[0] in answers else (127, "")

    assert dhcp_renew.renew_command(interface="eth0", run=run) == command


def test_no_manager() -> None:
    with pytest.raises(dhcp_renew.DhcpRenewError, match=r"nothing known manages eth0; .*: restart the node"):
        dhcp_renew.renew_command(interface="eth0", run=lambda _command: (1, ""))


def test_interface_of() -> None:
    links = [{"ifname": "lo", "addr_info": []}, {"ifname": "eth0", "addr_info": [{"local": "10.0.0.2"}]}]
    assert dhcp_renew.interface_of(address="10.0.0.2", ip_json=json.dumps(links)) == "eth0"
    with pytest.raises(dhcp_renew.DhcpRenewError, match=r"no interface has the address 10\.0\.0\.3"):
        dhcp_renew.interface_of(address="10.0.0.3", ip_json=json.dumps(links))
