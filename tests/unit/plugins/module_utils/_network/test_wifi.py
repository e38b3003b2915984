# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Wi-Fi can be, and that its name and its key arrive; the bytes are pinned in _cards/test_wifi.py."""

from __future__ import annotations

import configparser
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._network import netplan, networkmanager, wifi
from hypothesis import given
from hypothesis import strategies as st

HOME = wifi.Wifi(ssid="IEEE", psk="password", country="DE", hidden=False)
# The test vector of IEEE 802.11i, annex H.4.
HOME_KEY = "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"


@pytest.mark.parametrize("psk", ["password", HOME_KEY, HOME_KEY.upper()])
def test_the_key_is_derived_as_the_standard_says(psk: str) -> None:
    network = HOME._replace(psk=psk)
    assert f"    psk={HOME_KEY}\n" in wifi.wpa_supplicant(network, first_boot=False)
    assert f"\npsk={HOME_KEY}\n" in wifi.keyfile_sections(network, first_boot=False)
    assert wifi.access_points(network, first_boot=False) == {
        "IEEE": {"auth": {"key-management": "psk", "password": HOME_KEY}}
    }


def test_a_first_boot_has_what_its_owner_knows() -> None:
    assert '    psk="password"\n' in wifi.wpa_supplicant(HOME, first_boot=True)
    assert "\npsk=password\n" in wifi.keyfile_sections(HOME, first_boot=True)
    assert wifi.access_points(HOME, first_boot=True) == {"IEEE": {"password": "password"}}
    network = HOME._replace(psk=HOME_KEY)
    assert f"    psk={HOME_KEY}\n" in wifi.wpa_supplicant(network, first_boot=True)


@pytest.mark.parametrize("first_boot", [False, True])
def test_an_open_network_has_no_key(first_boot: bool) -> None:
    network = HOME._replace(psk="")
    assert (network.authentication, HOME.authentication) == (wifi.OPEN, wifi.WPA_PSK)
    assert "key_mgmt=NONE" in wifi.wpa_supplicant(network, first_boot=first_boot)
    assert "security" not in wifi.keyfile_sections(network, first_boot=first_boot)
    assert wifi.access_points(network, first_boot=first_boot) == {"IEEE": {}}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ssid": ""}, "has 0 bytes; expected 1 to 32: set nat_headnode_wifi_ssid"),
        ({"ssid": "ä" * 17}, "has 34 bytes"),
        ({"psk": "short"}, "key has 5 characters; expected 8 to 63 .* set nat_headnode_wifi_psk"),
        ({"psk": "g" * 64}, "key has 64 characters"),
        ({"psk": " short "}, "key has 7 characters, with blanks or line breaks at its ends; expected"),
        (
            {"psk": "password\n"},
            "key has 9 characters, not all ASCII, with blanks or line breaks",
        ),
        ({"psk": "pässword"}, "key has 8 characters, not all ASCII"),
        ({"country": ""}, "country is ''; expected two capital letters.*set nat_headnode_wifi_country"),
        ({"country": "de"}, "country is 'de'"),
        ({"ssid": "", "country": ""}, "has 0 bytes; .*; the Wi-Fi's country is ''"),
    ],
)
def test_what_no_network_can_have_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(wifi.WifiError, match=why) as error:
        wifi.check(HOME._replace(**change), variables="nat_headnode_wifi")
    assert "psk" not in change or change["psk"] not in str(error.value)


@pytest.mark.parametrize("psk", ["", "password", "a" * 63, HOME_KEY])
def test_keys_that_there_are(psk: str) -> None:
    wifi.check(HOME._replace(psk=psk), variables="nat_headnode_wifi")


@pytest.mark.parametrize(
    ("psk", "written"),
    [
        ("  password", r"\s\spassword"),
        (" pass word ", r"\spass word "),
        ("\\spass word", r"\\spass word"),
        (" " * 8, r"\s" * 8),
    ],
)
def test_blanks_at_a_key_s_ends_are_kept(psk: str, written: str) -> None:
    """As GLib reads a key file: blanks after the equals sign go, unless they are written as \\s."""
    network = HOME._replace(psk=psk)
    wifi.check(network, variables="x")
    assert f"\npsk={written}\n" in wifi.keyfile_sections(network, first_boot=True)
    assert f'    psk="{psk}"\n' in wifi.wpa_supplicant(network, first_boot=True)
    assert wifi.access_points(network, first_boot=True)["IEEE"]["password"] == psk


@given(ssid=st.text(min_size=1, max_size=8), psk=st.sampled_from(["", "password"]), hidden=st.booleans())
def test_whatever_the_network_is_called_its_name_arrives(ssid: str, psk: str, hidden: bool) -> None:
    network = wifi.Wifi(ssid=ssid, psk=psk, country="DE", hidden=hidden)
    try:
        name = ssid.encode()
    except UnicodeEncodeError:
        return  # A lone surrogate, which no inventory can hold.
    wifis = yaml.safe_load(netplan.uplink_text(interface="wlan0", wifi=network))["network"]["wifis"]
    assert list(wifis["wlan0"]["access-points"]) == [ssid]
    keyfile = configparser.ConfigParser()
    keyfile.read_string(networkmanager.uplink_profile(interface="wlan0", wifi=network))
    assert bytes(int(byte) for byte in keyfile["wifi"]["ssid"].split(";")[:-1]) == name
    for first_boot in (False, True):
        assert f"ssid={name.hex()}\n" in wifi.wpa_supplicant(network, first_boot=first_boot)
