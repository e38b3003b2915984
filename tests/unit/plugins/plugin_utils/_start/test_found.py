# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller tells of itself, from real output of ip and real files."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._start import controller, found
from hypothesis import given
from hypothesis import strategies as st

LAPTOP: list[dict[str, Any]] = [
    {
        "dst": "default",
        "gateway": "192.168.1.1",
        "dev": "wlan0",
        "protocol": "dhcp",
        "metric": 600,
        "flags": [],
    },
    {"dst": "default", "gateway": "10.9.0.1", "dev": "eth0", "protocol": "dhcp", "metric": 700, "flags": []},
    {"dst": "10.8.0.0/16", "gateway": "10.9.0.7", "dev": "eth0", "flags": []},
    {"dst": "10.9.0.0/24", "dev": "eth0", "scope": "link", "prefsrc": "10.9.0.5", "flags": []},
    {
        "dst": "172.17.0.0/16",
        "dev": "docker0",
        "scope": "link",
        "prefsrc": "172.17.0.1",
        "flags": ["linkdown"],
    },
    {"dst": "192.168.0.0/16", "gateway": "192.168.1.9", "dev": "wlan0", "flags": []},
    {"dst": "192.168.1.0/24", "dev": "wlan0", "scope": "link", "prefsrc": "192.168.1.23", "flags": []},
    {"dst": "192.168.1.77", "dev": "tun0", "scope": "link", "flags": []},
]
ZONE_TAB = "# comment\nDE\t+5230+01322\tEurope/Berlin\tmost of Germany\nGB\t+513030-0000731\tEurope/London\n"


def networks(*texts: str) -> list[IPv4Network]:
    return [IPv4Network(text) for text in texts]


def test_routes_of_a_laptop() -> None:
    routes = found.routes(ip_json=json.dumps(LAPTOP))
    assert routes.own == IPv4Network("192.168.1.0/24")
    assert routes.gateway == IPv4Address("192.168.1.1")
    assert routes.networks == tuple(networks(*(entry["dst"] for entry in LAPTOP[2:])))
    assert IPv4Address("192.168.1.23") in routes.addresses


@pytest.mark.parametrize(
    "entries",
    [[], [{"dst": "default", "dev": "ppp0", "scope": "link"}], [{"dst": "10.0.0.0/8", "dev": "eth0"}]],
    ids=["no route", "default without a gateway", "no default"],
)
def test_routes_without_a_network_of_one_s_own(entries: list[dict[str, str]]) -> None:
    routes = found.routes(ip_json=json.dumps(entries))
    assert (routes.own, routes.gateway) == (None, None)


@pytest.mark.parametrize(
    ("network", "text"),
    [("192.168.1.0/24", "192.168.1.0/24"), ("10.0.0.0/22", "10.0.0.0/22"), ("10.0.0.0/21", ""), (None, "")],
)
def test_what_is_searched_unless_another_network_is_named(network: str | None, text: str) -> None:
    assert found.searched(IPv4Network(network) if network else None) == text


@pytest.mark.parametrize(
    ("taken", "prefix", "first", "expected"),
    [
        ([], 24, [], "10.0.0.0/24"),
        (["10.0.0.0/24"], 24, [], "10.0.1.0/24"),
        (["10.0.0.128/25", "10.0.1.7/32"], 24, [], "10.0.2.0/24"),
        (["10.0.0.0/8"], 24, [], "192.168.0.0/24"),
        (["10.0.0.0/8", "192.168.0.0/16"], 16, [], "172.16.0.0/16"),
        (["10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/16"], 16, [], "172.18.0.0/16"),
        ([], 16, ["10.244.0.0/16"], "10.244.0.0/16"),
        (["10.244.7.0/24"], 16, ["10.244.0.0/16"], "10.0.0.0/16"),
        (["0.0.0.0/0"], 24, [], None),
    ],
)
def test_free_networks(taken: list[str], prefix: int, first: list[str], expected: str | None) -> None:
    network = found.free_network(taken=networks(*taken), prefix=prefix, first=first)
    assert (str(network) if network else None) == expected


@given(
    st.lists(
        st.builds(
            lambda address, prefix: IPv4Network((address, prefix), strict=False),
            st.integers(0, 2**32 - 1),
            st.integers(2, 32),
        ),
        max_size=6,
    )
)
def test_a_free_network_overlaps_nothing(taken: list[IPv4Network]) -> None:
    network = found.free_network(taken=taken, prefix=24)
    if network is not None:
        assert network.is_private
        assert not any(network.overlaps(other) for other in [*taken, found.DOCKER_BRIDGE])


@pytest.mark.parametrize(
    ("localtime", "text", "zone"),
    [
        ("/usr/share/zoneinfo/Europe/Berlin", "", "Europe/Berlin"),
        ("/usr/share/zoneinfo/posix/America/Indiana/Knox", "Etc/UTC\n", "America/Indiana/Knox"),
        ("/var/db/timezone/zoneinfo/Europe/Rome", "", "Europe/Rome"),
        ("/etc/localtime", "Europe/Paris\n", "Europe/Paris"),
        ("/etc/localtime", "", ""),
    ],
)
def test_time_zones(localtime: str, text: str, zone: str) -> None:
    assert found.timezone(localtime=localtime, text=text) == zone


@pytest.mark.parametrize(
    ("zone", "country"), [("Europe/Berlin", "DE"), ("Europe/London", "GB"), ("Etc/UTC", "")]
)
def test_countries(zone: str, country: str) -> None:
    assert found.country(zone=zone, table=ZONE_TAB) == country


def test_the_image_that_is_known_is_that_of_the_documentation() -> None:
    example = (controller.Path(__file__).parents[5] / "roles/flash/defaults/main.yml").read_text()
    assert controller.IMAGE in example
