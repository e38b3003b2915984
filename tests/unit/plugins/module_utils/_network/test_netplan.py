# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What netplan's files become; a second edit changes nothing. C(eth0) has its driver from the board."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._network import netplan
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Device
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError

from tests.unit.network_node import BARE, SETTINGS, text

DEVICES = {
    "lo": Device("00:00:00:00:00:00", "", False),
    "eth0": Device("dc:a6:32:01:02:03", "bcmgenet"),
    "eth1": Device("dc:a6:32:01:02:05", "lan78xx"),
    "wlan0": Device("dc:a6:32:01:02:04", "brcmfmac"),
    "cni0": Device("dc:a6:32:01:02:06", "", False),
}
CLOUD_INIT = "/etc/netplan/50-cloud-init.yaml"


def take_out(**documents: Any) -> netplan.Definition:
    paths = {f"/etc/netplan/{name.replace('_', '-')}.yaml": value for name, value in documents.items()}
    return netplan.take_out(interface="eth0", documents=paths, devices=DEVICES)


def test_netplan_of_cloud_init() -> None:
    document = yaml.safe_load(text("netplan-cloud-init.txt"))
    found = netplan.take_out(interface="eth0", documents={CLOUD_INIT: document}, devices=DEVICES)
    assert (found.section, found.identifier, found.changed) == ("ethernets", "eth0", (CLOUD_INIT,))
    # The Wi-Fi stays where it is.
    assert found.documents[CLOUD_INIT]["network"] == {"version": 2, "wifis": document["network"]["wifis"]}
    definition = netplan.static_definition(
        settings=SETTINGS, definition=found.definition, renderer="networkd"
    )
    assert definition == {
        "renderer": "networkd",
        "dhcp4": False,
        "dhcp6": True,
        "match": {"macaddress": "dc:a6:32:01:02:03"},
        "set-name": "eth0",
        "optional": True,
        "addresses": ["192.168.1.11/24"],
        "routes": [{"to": "0.0.0.0/0", "via": "192.168.1.1"}],
        "nameservers": {"addresses": ["192.168.1.1", "8.8.8.8"], "search": ["rack.example.org"]},
    }
    own = {"network": {"version": 2, "ethernets": {"eth0": definition}}}
    documents = {**found.documents, netplan.NETPLAN_FILE: own}
    again = netplan.take_out(interface="eth0", documents=documents, devices=DEVICES)
    assert again.changed == (netplan.NETPLAN_FILE,)
    assert (
        netplan.static_definition(settings=SETTINGS, definition=again.definition, renderer="networkd")
        == definition
    )


def test_netplan_keeps_ipv6_and_other_routes() -> None:
    definition = netplan.static_definition(
        settings=BARE,
        definition={
            "addresses": ["192.168.1.5/24", "fd00::5/64", {"10.1.1.1/24": {"label": "eth0:1"}}],
            "gateway4": "192.168.1.1",
            "routes": [
                {"to": "default", "via": "192.168.1.1"},
                {"to": "default", "via": "fd00::1"},
                {"to": "10.244.1.0/24", "via": "192.168.1.12"},
            ],
            "mtu": 1400,
        },
        renderer="NetworkManager",
    )
    assert definition == {
        "renderer": "NetworkManager",
        "dhcp4": False,
        "addresses": ["10.0.0.1/8", "fd00::5/64"],
        "routes": [{"to": "default", "via": "fd00::1"}, {"to": "10.244.1.0/24", "via": "192.168.1.12"}],
        "mtu": 1400,
    }


def test_netplan_merges_what_stands_in_several_files() -> None:
    found = take_out(
        **{
            "99_mtu": {"network": {"ethernets": {"eth0": {"mtu": 1400, "addresses": ["b/1"]}}}},
            "10_base": {"network": {"ethernets": {"eth0": {"dhcp4": True, "addresses": ["a/1"]}}}},
        }
    )
    assert found.definition == {"dhcp4": True, "mtu": 1400, "addresses": ["a/1", "b/1"]}
    assert len(found.changed) == 2


@pytest.mark.parametrize(
    ("match", "names"),
    [
        ({"name": "e*0"}, True),
        ({"name": "en*"}, False),
        ({"macaddress": "DC:A6:32:01:02:03"}, True),
        ({"macaddress": "dc:a6:32:01:02:99"}, False),
        ({"driver": "bcmgenet"}, True),
        ({"driver": "bcm* smsc95xx"}, True),
        ({"driver": ["smsc95xx", "bcmgenet"]}, True),
        ({"driver": "r8152"}, False),
        ({"driver": "bcmgenet", "name": "eth1"}, False),
    ],
)
def test_netplan_finds_the_interface_by_match(match: dict[str, Any], names: bool) -> None:
    found = take_out(**{"50_all": {"network": {"ethernets": {"all": {"match": match, "dhcp4": True}}}}})
    assert (found.identifier == "all") == names
    assert found.changed == ((CLOUD_INIT.replace("cloud-init", "all"),) if names else ())


def test_netplan_knows_the_interface_by_the_name_that_it_is_given() -> None:
    # The images of Ubuntu 20.04; eth1 has one of these drivers as well.
    match = {"driver": "bcmgenet smsc95xx lan78xx"}
    found = take_out(**{"50_a": {"network": {"ethernets": {"nic": {"match": match, "set-name": "eth0"}}}}})
    assert (found.identifier, found.definition["match"]) == ("nic", match)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (
            {"all": {"match": {"name": "*0"}}},
            "definition 'all' in /etc/netplan/50-a.yaml is for eth0 and wlan0; expected one for eth0 alone",
        ),
        ({"all": {"match": {}}}, "definition 'all' .* is for eth0 and eth1 and wlan0; expected one"),
        ({"all": {"match": None}}, "definition 'all' .* is for eth0 and eth1 and wlan0; expected one"),
        # All but one: nothing that is not of the machine is among them.
        ({"all": {"match": {"driver": "!lan78xx"}}}, "definition 'all' .* is for eth0 and wlan0; expected"),
        ({"all": {"match": {"path": "pci-0"}}}, "matches by path; expected name, macaddress, driver: gi"),
        ({"eth0": {}, "lan": {"match": {"name": "eth0"}}}, "two definitions of eth0, 'eth0' and 'lan'"),
    ],
)
def test_netplan_refuses(document: dict[str, Any], why: str) -> None:
    with pytest.raises(NetworkError, match=why):
        take_out(**{"50_a": {"network": {"ethernets": document}}})
