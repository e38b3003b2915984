# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes by which cards and heads join a Wi-Fi: a card that is written again has to be the same card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._network import uplink
from ansible_collections.bramble.pi.plugins.module_utils._network.detect import MANAGERS
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import Wifi
from ansible_collections.bramble.pi.plugins.plugin_utils._cards import cloudinit, firstrun
from ansible_collections.bramble.pi.plugins.plugin_utils._cards.node import CardNode, HostKey

FIXTURES = Path(__file__).parents[4] / "unit/fixtures/network/wifi"
CASES: dict[str, dict[str, Any]] = {
    "passphrase": {"ssid": "IEEE", "psk": "password", "country": "DE", "hidden": False},
    "odd": {
        "ssid": 'Joe\'s "Café" \U0001f353\\',
        "psk": "it's $ecret\\`; #\"",
        "country": "GB",
        "hidden": True,
    },
    "key": {"ssid": "Our home", "psk": "0123456789abcdefABCDEF" + "9" * 42, "country": "US", "hidden": False},
    "open": {"ssid": "Hotel", "psk": "", "country": "FR", "hidden": False},
}
HOST_KEY = HostKey("PRIVATE\n", "PUBLIC\n")


def of_heads(case: str) -> dict[str, str]:
    """Return what heads get: files by manager and path, and what brings them into effect."""
    return {
        f"{name} {file.path} {file.mode:o}": file.text
        for name, manager in MANAGERS.items()
        for file in uplink.files(manager=manager, interface="wlan0", wifi=Wifi(**CASES[case]))
    } | {
        f"{name} commands": json.dumps(
            uplink.commands(manager=manager, interface="wlan0", wifi=Wifi(**CASES[case]))
        )
        for name, manager in MANAGERS.items()
    }


def of_cards(case: str) -> dict[str, str]:
    """Return what cards get, of the first boot's script only what is about the network."""
    written: dict[str, str] = {}
    for interface in ("eth0", "wlan0"):
        node = CardNode(
            name="pi-1",
            hostname="pi-1",
            user="pi",
            authorized_keys=("ssh-ed25519 AAAA",),
            interface=interface,
            address="10.0.0.5/24",
            **{f"wifi_{name}": value for name, value in CASES[case].items()},
        )
        for init_format in cloudinit.FORMATS:
            written[f"{init_format} {interface} network-config"] = cloudinit.dump(
                cloudinit.network_config(node=node, init_format=init_format)
            )
        user_data = cloudinit.user_data(node=node, init_format=cloudinit.LEGACY, host_key=HOST_KEY)
        written[f"{cloudinit.LEGACY} {interface} write_files"] = cloudinit.dump(
            {"write_files": user_data["write_files"]}
        )
        script = firstrun.files(node=node, host_key=HOST_KEY)[firstrun.SCRIPT]
        begin = script.index("\ncountry=")
        written[f"{firstrun.FORMAT} {interface} script"] = script[begin : script.index("\nfi\n", begin)]
    return written


def expected(case: str) -> dict[str, str]:
    data: dict[str, str] = yaml.safe_load((FIXTURES / f"{case}.yml").read_text(encoding="utf-8"))
    return data


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_for_heads(case: str) -> None:
    written = of_heads(case)
    assert written == {name: text for name, text in expected(case).items() if name in written}


# A card is refused an open network before anything is written.
@pytest.mark.parametrize("case", [case for case in CASES if case != "open"])
def test_what_is_written_to_cards(case: str) -> None:
    assert of_heads(case) | of_cards(case) == expected(case)
