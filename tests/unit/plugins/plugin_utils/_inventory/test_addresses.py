# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import netaddr
import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import addresses
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("text", ["10.244.0.0/16", "192.168.1.0/24", "0.0.0.0/0", "10.0.0.1/32"])
def test_parse_network(text: str) -> None:
    assert str(addresses.parse_network(text)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.244.0.1/16", "has host bits set: the network is '10.244.0.0/16'"),
        ("10.244.0.0", "not an IPv4 network"),
        ("10.244/16", "not an IPv4 network"),
        ("10.244.0.0/33", "not an IPv4 network"),
        ("10.244.0.0/16,fd00::/48", "not an IPv4 network"),
        ("fd00::/48", "not an IPv4 network"),
        ("", "not an IPv4 network"),
        (None, "not an IPv4 network"),
        (10.2, "not an IPv4 network"),
    ],
)
def test_parse_network_refuses(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        addresses.parse_network(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("192.168.1.300", "not an IPv4 address"),
        ("192.168.1", "not an IPv4 address"),
        ("192.168.1.10/24", "not an IPv4 address"),
        ("fe80::1", "not an IPv4 address"),
        ("010.0.0.1", "not an IPv4 address"),
        (3232235786, "not an IPv4 address"),
        ("127.0.1.1", "cannot be"),
        ("0.0.0.0", "cannot be"),
        ("224.0.0.251", "cannot be"),
        ("255.255.255.255", "cannot be"),
    ],
)
def test_parse_address_refuses(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        addresses.parse_address(text)


@pytest.mark.parametrize(
    ("cidr", "n", "address"),
    [
        ("10.96.0.0/12", 0, "10.96.0.0"),
        ("10.96.0.0/12", 10, "10.96.0.10"),
        ("192.168.1.0/24", -1, "192.168.1.255"),
        ("10.89.60.7/24", 1, "10.89.60.1"),
        ("fd00::/64", 1, "fd00::1"),
    ],
)
def test_nth_address(cidr: str, n: int, address: str) -> None:
    assert addresses.nth_address(cidr=cidr, n=n) == address


@pytest.mark.parametrize(
    ("cidr", "n", "why"),
    [
        ("192.168.1.0/24", 256, "has 256 addresses, and no number 256"),
        ("192.168.1.0/24", -257, "has 256 addresses"),
        ("rack", 1, "'rack' is not a network"),
        (None, 1, "None is not a network"),
    ],
)
def test_nth_address_refuses(cidr: str, n: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        addresses.nth_address(cidr=cidr, n=n)


@given(value=st.integers(0, 2**32 - 1), prefix=st.integers(0, 32))
def test_a_network_is_read_exactly_if_it_has_no_host_bits(value: int, prefix: int) -> None:
    network = netaddr.IPNetwork((value, prefix))
    text = str(network)
    if network.ip == network.network:
        assert str(addresses.parse_network(text)) == text
    else:
        with pytest.raises(ValueError, match=str(network.cidr)):
            addresses.parse_network(text)


@given(prefix=st.integers(8, 32), data=st.data())
def test_every_address_of_a_network_is_in_it(prefix: str, data: st.DataObject) -> None:
    network = netaddr.IPNetwork(f"10.0.0.0/{prefix}")
    n = data.draw(st.integers(0, network.size - 1))
    assert addresses.nth_address(cidr=str(network), n=n) in network
    assert addresses.nth_address(cidr=str(network), n=n - network.size) == addresses.nth_address(
        cidr=str(network), n=n
    )


@pytest.mark.parametrize(
    ("address", "name"),
    [("10.0.0.2", "2.0.0.10.in-addr.arpa"), ("::1", f"1.{'0.' * 31}ip6.arpa")],
)
def test_reverse_name(address: str, name: str) -> None:
    assert addresses.reverse_name(address=address) == name


@pytest.mark.parametrize(
    ("network", "zones"),
    [
        ("10.0.0.0/8", ["10.in-addr.arpa"]),
        ("10.0.0.0/24", ["0.0.10.in-addr.arpa"]),
        ("10.0.2.0/23", ["2.0.10.in-addr.arpa", "3.0.10.in-addr.arpa"]),
        ("10.0.0.128/25", ["0.0.10.in-addr.arpa"]),
        ("10.0.0.4/32", ["0.0.10.in-addr.arpa"]),
    ],
)
def test_reverse_zones(network: str, zones: list[str]) -> None:
    assert addresses.reverse_zones(network=network) == zones


@given(value=st.integers(0, 2**32 - 1), prefix=st.integers(16, 32))
def test_the_reverse_name_of_each_address_is_in_a_zone_of_its_network(value: int, prefix: int) -> None:
    network = netaddr.IPNetwork((value, prefix)).cidr
    name = addresses.reverse_name(address=str(netaddr.IPAddress(value)))
    assert any(name.endswith(f".{zone}") for zone in addresses.reverse_zones(network=str(network)))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "HAS_NETADDR", False)
    for ask in (
        lambda: addresses.nth_address(cidr="10.0.0.0/24", n=1),
        lambda: addresses.reverse_zones(network="10.0.0.0/24"),
    ):
        with pytest.raises(addresses.AddressError, match=r"netaddr is missing.*pip install -r"):
            ask()
