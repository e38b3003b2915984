# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._rack import services as rack_services
from hypothesis import given
from hypothesis import strategies as st

PI_2 = rack_services.Host("pi-2", "10.0.0.2", "b8:27:eb:00:00:02", "boot", expected=True)
PI_3 = rack_services.Host("pi-3", "10.0.0.3", "b8:27:eb:00:00:03", expected=True)
NAS = rack_services.Host("nas", "10.0.0.9")
SERVICES = rack_services.Services(
    interface="eth0",
    address="10.0.0.1",
    network="10.0.0.0/24",
    domain="rack.internal",
    hosts=[PI_2, PI_3, NAS],
    reverse_zones=["0.0.10.in-addr.arpa"],
    dhcp_range="",
    lease_time="12h",
    router="10.0.0.1",
    resolvers=[],
    dnsmasq_options=[],
    ntp_servers=[],
    ipv6=False,
)
EVERYTHING = SERVICES._replace(
    dhcp_range="10.0.0.100-10.0.0.199",
    resolvers=["8.8.8.8", "8.8.4.4"],
    dnsmasq_options=["log-dhcp"],
    ntp_servers=["time.example.org"],
    ipv6=True,
)


@pytest.mark.parametrize("services", [SERVICES, EVERYTHING, SERVICES._replace(hosts=[], router="")])
def test_dnsmasq_takes_its_configuration(services: rack_services.Services, tmp_path: Path) -> None:
    path = tmp_path / "bramble.conf"
    path.write_text(rack_services.dnsmasq_configuration(services))
    result = subprocess.run(
        ["dnsmasq", "--test", f"--conf-file={path}"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_dnsmasq_listens_inside_alone() -> None:
    lines = rack_services.dnsmasq_configuration(SERVICES).splitlines()
    assert {"interface=eth0", "except-interface=lo", "bind-dynamic"} <= set(lines)


def test_what_a_lease_holds() -> None:
    lines = rack_services.dnsmasq_configuration(SERVICES).splitlines()
    assert "dhcp-range=10.0.0.0,static,255.255.255.0,12h" in lines
    assert "dhcp-option=option:router,10.0.0.1" in lines
    assert "dhcp-option=option:ntp-server,10.0.0.1" in lines
    assert "dhcp-host=b8:27:eb:00:00:02,set:pi-2,10.0.0.2,pi-2" in lines
    assert "dhcp-boot=tag:pi-2,boot" in lines
    assert "host-record=nas.rack.internal,nas,10.0.0.9" in lines


def test_names_alone_where_no_address_is_given() -> None:
    text = rack_services.dnsmasq_configuration(SERVICES._replace(hosts=[NAS]))
    assert "dhcp" not in text
    assert "host-record=nas" in text


def test_a_router_may_be_left_out() -> None:
    # Without the bare option dnsmasq names itself.
    assert "dhcp-option=option:router\n" in rack_services.dnsmasq_configuration(SERVICES._replace(router=""))


def test_chrony() -> None:
    lines = rack_services.chrony_configuration(EVERYTHING).splitlines()
    assert {"allow 10.0.0.0/24", "bindaddress 10.0.0.1", "local stratum 10"} <= set(lines)
    assert "server time.example.org iburst" in lines


@pytest.mark.parametrize(
    ("change", "addresses", "why"),
    [
        (
            {},
            {"lo": [], "wlan0": []},
            "interface is 'eth0', .*expected one of wlan0: set rack_services_inter",
        ),
        ({}, {"eth0": []}, "address is 10.0.0.1, and eth0 has none"),
        ({}, {"eth0": ["10.0.0.7/24"]}, "eth0 has 10.0.0.7/24; expected the address that the rack knows"),
        ({"network": "10.0.1.0/24"}, {"eth0": ["10.0.0.1/24"]}, "which is not in the network 10.0.1.0/24"),
    ],
)
def test_what_would_not_work_here_is_refused(
    change: dict[str, Any], addresses: dict[str, list[str]], why: str
) -> None:
    with pytest.raises(rack_services.RackServicesError, match=why):
        rack_services.check(SERVICES._replace(**change), addresses=addresses)


def test_what_works_is_taken() -> None:
    rack_services.check(SERVICES, addresses={"eth0": ["192.168.1.7/24", "10.0.0.1/24"]})


LEASES = """1795296257 b8:27:eb:00:00:02 10.0.0.17 pi-2 01:b8:27:eb:00:00:02
1795296257 B8:27:EB:00:00:03 10.0.0.3 pi-3 *
1795296257 02:00:00:00:00:01 10.0.0.2 guest *
1795296257 02:00:00:00:00:02 10.0.0.150 * *
duid 00:01:00:01:32:94:1e:a0:b8:27:eb:00:00:01
1795296257 3 fd00::2 pi-2 00:01
"""


def test_leases_that_stand_against_the_fixed_ones() -> None:
    kept, moves = rack_services.stale_leases(text=LEASES, hosts=[PI_2, PI_3, NAS])
    assert moves == [rack_services.Move("pi-2", "10.0.0.17", "10.0.0.2")]
    assert kept.splitlines() == [LEASES.splitlines()[index] for index in (1, 3, 4, 5)]
    assert rack_services.stale_leases(text=kept, hosts=[PI_2, PI_3, NAS]) == (kept, [])


def test_leased_addresses() -> None:
    assert rack_services.leased_addresses(text=LEASES)["b8:27:eb:00:00:03"] == "10.0.0.3"


@given(text=st.text())
def test_whatever_the_file_of_leases_holds_nothing_is_taken_for_stale_without_hosts(text: str) -> None:
    kept, moves = rack_services.stale_leases(text=text, hosts=[])
    assert moves == []
    assert kept.splitlines() == text.splitlines()


@pytest.mark.parametrize("text", ["", "10.0.0.1", "10.0.0.9-10.0.0.1", "a-b", "10.0.0.1-10.0.0.300"])
def test_a_range_that_is_none(text: str) -> None:
    with pytest.raises(rack_services.RackServicesError, match="set rack_services_dhcp_range"):
        rack_services.parse_range(text=text)
