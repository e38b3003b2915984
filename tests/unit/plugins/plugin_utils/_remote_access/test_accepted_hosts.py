# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import re

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import accepted_hosts
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("networks", "expression"),
    [
        (["192.168.1.7/32"], "^(192[.]168[.]1[.]7)$"),
        (["10.0.0.0/30", "10.0.1.8"], "^(10[.]0[.]0[.](0|1|2|3)|10[.]0[.]1[.]8)$"),
    ],
)
def test_expressions(networks: list[str], expression: str) -> None:
    assert accepted_hosts.accepted_hosts(networks) == expression


@pytest.mark.parametrize(
    "host",
    [
        "192.168.100.7",
        "192.168.1.evil.example",
        "192.168.1.7.evil.example",
        "x192.168.1.7",
        "192x168x1x7",
        "192.168.1.256",
        "192.168.1.07",
        "192.168.1.",
        "192.168.1",
        "192.168.1.7\n",
    ],
)
def test_hosts_that_the_guides_expression_lets_in(host: str) -> None:
    # Go's $ is the end of the text, as Python's \Z is.
    expression = accepted_hosts.accepted_hosts(["192.168.1.0/24"]).replace("$", r"\Z")
    assert re.match(expression, "192.168.1.7")
    assert not re.match(expression, host)


@given(
    st.ip_addresses(v=4),
    st.integers(min_value=8, max_value=32),
    st.one_of(st.ip_addresses(v=4), st.none()),
    st.integers(min_value=-2, max_value=2**24 + 1),
)
def test_expression_accepts_the_network_and_nothing_else(
    address: ipaddress.IPv4Address, prefix: int, other: ipaddress.IPv4Address | None, offset: int
) -> None:
    network = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
    expression = accepted_hosts.accepted_hosts([str(network)])
    assert "," not in expression
    # Anywhere, or near the network's edges.
    number = int(network.network_address) + offset if other is None else int(other)
    host = ipaddress.IPv4Address(number % 2**32)
    assert bool(re.fullmatch(expression, str(host))) is (host in network)


@pytest.mark.parametrize("network", ["192.168.1", "^192.168.1", "10.0.0.1/24", "fd00::/64", ""])
def test_what_is_no_network(network: str) -> None:
    with pytest.raises(accepted_hosts.AcceptedHostsError, match="is not an IPv4 network such as"):
        accepted_hosts.accepted_hosts([network])
