# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._network import settings as network_settings
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[4] / "unit/fixtures/network"
GOOD: dict[str, Any] = {
    "interface": "eth0",
    "address": "192.168.1.11/24",
    "gateway": "192.168.1.1",
    "resolvers": ["192.168.1.1", "8.8.8.8"],
    "search": ["rack.example.org"],
    "existing": ["lo", "eth0", "wlan0"],
}


def settings(**changed: Any) -> network_settings.Settings:
    return network_settings.settings(**{**GOOD, **changed})


@pytest.mark.parametrize(
    "changed",
    [{}, {"gateway": ""}, {"resolvers": [], "search": []}, {"address": "10.0.0.1/8", "gateway": "10.1.2.3"}],
)
def test_settings(changed: dict[str, Any]) -> None:
    expected = settings(**changed)
    assert str(expected.address) == changed.get("address", GOOD["address"])
    assert str(expected.gateway or "") == changed.get("gateway", GOOD["gateway"])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"interface": "eth1"}, "'eth1'.*one of eth0, wlan0: set node_network_interface"),
        ({"interface": "eth0; reboot", "existing": ["eth0; reboot"]}, "set node_network_interface"),
        ({"address": "192.168.1.11"}, "no prefix from /8 to /30.*set node_network_address"),
        ({"address": "192.168.1.11/33"}, "'192.168.1.11/33'; expected an address with its prefix"),
        ({"address": "192.168.1.11/31"}, "no prefix from /8 to /30"),
        ({"address": "192.168.1.0/24"}, "own or its broadcast.*one of 192.168.1.1 to 192.168.1.254"),
        ({"address": "192.168.1.255/24"}, "own or its broadcast"),
        ({"address": "224.0.0.5/24", "gateway": ""}, "cannot be the address of a node"),
        ({"address": "fd00::1/64"}, "'fd00::1/64'; expected an address"),
        (
            {"gateway": "192.168.2.1"},
            "'192.168.2.1'; expected another machine of 192.168.1.0/24.*set node_network_g",
        ),
        ({"gateway": "192.168.1.11"}, "expected another machine"),
        ({"gateway": "192.168.1.255"}, "expected another machine"),
        ({"gateway": "router"}, "'router'; expected another machine"),
        ({"resolvers": ["dns.example.org"]}, "'dns.example.org'.*set node_network_resolvers"),
        ({"resolvers": ["1.1.1.1\noptions"]}, "set node_network_resolvers"),
        ({"search": ["rack example"]}, "'rack example'.*set node_network_search"),
        ({"search": ["rack.example.org\n"]}, "set node_network_search"),
    ],
)
def test_settings_refuses(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(network_settings.NetworkError, match=why):
        settings(**changed)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_an_address_that_is_taken_is_one_of_its_network(number: int, prefix: int) -> None:
    text = f"{ipaddress.IPv4Address(number)}/{prefix}"
    try:
        expected = settings(address=text, gateway="")
    except network_settings.NetworkError:
        return
    network = expected.address.network
    assert network.network_address < expected.address.ip < network.broadcast_address


def test_state() -> None:
    state = network_settings.state(
        addresses=(FIXTURES / "ip-address.json").read_text(), routes=(FIXTURES / "ip-route.json").read_text()
    )
    assert state == network_settings.State(("10.89.83.11/24",), ("10.89.83.1",))
    assert network_settings.state(addresses="", routes="") == network_settings.State((), ())


@pytest.mark.parametrize(
    ("gateway", "state", "expected"),
    [
        ("192.168.1.1", network_settings.State(("192.168.1.11/24",), ("192.168.1.1",)), []),
        (
            "192.168.1.1",
            network_settings.State(("192.168.1.11/24", "192.168.1.100/32"), ("192.168.1.1",)),
            [],
        ),
        (
            "192.168.1.1",
            network_settings.State((), ()),
            ["eth0 has no address; expected 192.168.1.11/24", "gateway"],
        ),
        (
            "192.168.1.1",
            network_settings.State(("192.168.1.11/25",), ("192.168.1.1",)),
            ["eth0 has 192.168.1.11/25; expected"],
        ),
        (
            "",
            network_settings.State(("192.168.1.11/24",), ("192.168.1.1",)),
            ["is 192.168.1.1; expected none"],
        ),
    ],
)
def test_shortcomings(gateway: str, state: network_settings.State, expected: list[str]) -> None:
    found = network_settings.shortcomings(settings=settings(gateway=gateway), state=state)
    assert len(found) == len(expected)
    assert all(part in whole for part, whole in zip(expected, found))


@pytest.mark.parametrize(
    ("addresses", "kubernetes", "why"),
    [
        (("192.168.1.137/24",), "absent", None),
        (("192.168.1.11/24",), "worker", None),
        (("192.168.1.11/16",), "worker", None),
        ((), "control_plane", None),
        (
            ("192.168.1.137/24",),
            "worker",
            "has 192.168.1.137/24; expected 192.168.1.11/24.*join it again with site",
        ),
        (("192.168.1.137/24",), "control_plane", "nothing was changed.*rebuild the control plane"),
        (("192.168.1.137/24",), "partial", "reset.yml"),
    ],
)
def test_check_cluster(addresses: tuple[str, ...], kubernetes: str, why: str | None) -> None:
    state = network_settings.State(addresses, ())
    if why is None:
        network_settings.check_cluster(settings=settings(), state=state, kubernetes=kubernetes)
        return
    with pytest.raises(network_settings.NetworkError, match=why):
        network_settings.check_cluster(settings=settings(), state=state, kubernetes=kubernetes)
