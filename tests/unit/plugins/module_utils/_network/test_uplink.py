# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import configparser
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._network import uplink
from hypothesis import given
from hypothesis import strategies as st

HOME = uplink.Wifi(ssid="IEEE", psk="password", country="DE", hidden=False)
# The test vector of IEEE 802.11i, annex H.4.
HOME_KEY = "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"


def test_the_key_is_derived_as_the_standard_says() -> None:
    assert uplink.key(HOME) == HOME_KEY
    assert uplink.key(HOME._replace(psk=HOME_KEY.upper())) == HOME_KEY


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ssid": ""}, "has 0 bytes; wanted are 1 to 32: set nat_headnode_wifi_ssid"),
        ({"ssid": "ä" * 17}, "has 34 bytes"),
        ({"psk": "short"}, "key has 5 characters; wanted are 8 to 63 .* set nat_headnode_wifi_psk"),
        ({"psk": "g" * 64}, "key has 64 characters"),
        ({"psk": "pässword"}, "key has 8 characters, not all ASCII"),
        ({"country": ""}, "country is ''; wanted are two capital letters"),
        ({"country": "de"}, "country is 'de'"),
    ],
)
def test_what_no_network_can_have_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(uplink.UplinkError, match=why) as error:
        uplink.check_wifi(HOME._replace(**change))
    assert "psk" not in change or change["psk"] not in str(error.value)


@pytest.mark.parametrize("psk", ["", "password", "a" * 63, HOME_KEY])
def test_keys_that_there_are(psk: str) -> None:
    uplink.check_wifi(HOME._replace(psk=psk))


@pytest.mark.parametrize(
    ("active", "netplan", "ifupdown", "manager"),
    [
        (["NetworkManager", "systemd-networkd"], True, True, "networkmanager"),
        (["systemd-networkd"], True, False, "netplan"),
        (["dhcpcd"], False, True, "dhcpcd"),
        ([], False, True, "ifupdown"),
        (["systemd-networkd"], False, False, "networkd"),
    ],
)
def test_who_is_in_charge(active: list[str], netplan: bool, ifupdown: bool, manager: str) -> None:
    assert uplink.choose_manager(active=active, netplan=netplan, ifupdown=ifupdown) == manager


def test_nobody_in_charge() -> None:
    with pytest.raises(uplink.UplinkError, match="no network manager was found"):
        uplink.choose_manager(active=[], netplan=False, ifupdown=False)


@pytest.mark.parametrize("manager", uplink.MANAGERS)
def test_no_key_is_in_a_file_that_others_may_read(manager: str) -> None:
    wifi = HOME._replace(psk="as told by word")
    files = uplink.files(manager=manager, interface="wlan0", wifi=wifi)
    holders = [file for file in files if uplink.key(wifi) in file.text]
    assert [file.mode for file in holders] == [0o600]
    assert not any(wifi.psk in file.text for file in files)
    assert uplink.commands(manager=manager, interface="wlan0", wifi=HOME)


@pytest.mark.parametrize("manager", uplink.MANAGERS)
def test_a_wired_uplink_has_nothing_of_wifi(manager: str) -> None:
    files = uplink.files(manager=manager, interface="eth1", wifi=None)
    assert not any("wpa" in file.text or "regdom" in file.text for file in files)
    assert bool(files) == (manager != uplink.DHCPCD)


def test_ifupdown_as_in_the_guide() -> None:
    stanza = uplink.files(manager=uplink.IFUPDOWN, interface="wlan0", wifi=HOME)[0]
    assert stanza.path == "/etc/network/interfaces.d/wlan0"
    assert "allow-hotplug wlan0\niface wlan0 inet dhcp\n    wpa-conf /etc/wpa_sup" in stanza.text


@given(ssid=st.text(min_size=1, max_size=8), psk=st.sampled_from(["", "password"]), hidden=st.booleans())
def test_whatever_the_network_is_called_its_name_arrives(ssid: str, psk: str, hidden: bool) -> None:
    wifi = uplink.Wifi(ssid=ssid, psk=psk, country="DE", hidden=hidden)
    try:
        name = ssid.encode()
    except UnicodeEncodeError:
        return  # A lone surrogate, which no inventory can hold.
    wifis = yaml.safe_load(uplink.netplan("wlan0", wifi))["network"]["wifis"]
    assert list(wifis["wlan0"]["access-points"]) == [ssid]
    keyfile = configparser.ConfigParser()
    keyfile.read_string(uplink.network_manager("wlan0", wifi))
    assert bytes(int(byte) for byte in keyfile["wifi"]["ssid"].split(";")[:-1]) == name
    assert f"ssid={name.hex()}\n" in uplink.wpa_supplicant(wifi)


TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 3201A8C0:0016 0901A8C0:D2F0 01 00000000:00000000 02:000A7214 00000000     0        0 2 4 0 20 4 29 10 -1
"""


@pytest.mark.parametrize(
    ("addresses", "carries"), [(["192.168.1.50"], True), (["10.0.0.1"], False), ([], False)]
)
def test_the_interface_that_ssh_comes_by(addresses: list[str], carries: bool) -> None:
    assert uplink.carries_ssh(tcp=TCP, addresses=addresses) is carries
