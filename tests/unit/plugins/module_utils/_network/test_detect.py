# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._network import detect
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError

FIXTURES = Path(__file__).parents[4] / "unit/fixtures/network"


def text(name: str) -> str:
    return (FIXTURES / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("ifstate", "found"),
    [
        ("lo=lo\neth0=eth0\n", True),
        ("lo=lo\neth0=work\n", True),
        ("lo=lo\neth0.10=eth0.10\n", False),
        ("", False),
    ],
)
def test_ifupdown(ifstate: str, found: bool) -> None:
    assert (detect.ifupdown(interface="eth0", ifstate=ifstate) is not None) == found


@pytest.mark.parametrize(
    ("version", "name", "file"),
    [
        ("1.42", "networkmanager", "/etc/NetworkManager/system-connections/bramble-eth0.nmconnection"),
        (
            "1.52",
            "netplan",
            "/run/NetworkManager/system-connections/netplan-NM-0d8d4bb8-4d0a-4c5e-9a4c-1c1c7d1f3b55.nmconnection",
        ),
    ],
)
def test_networkmanager(version: str, name: str, file: str) -> None:
    found = detect.networkmanager(
        device=text(f"nmcli-{version}-device.txt"), profiles=text(f"nmcli-{version}-profiles.txt")
    )
    assert found is not None
    assert (found.name, found.backend, found.file) == (name, "networkmanager", file)
    assert "100 (connected)" in found.why


@pytest.mark.parametrize(
    "state",
    ["GENERAL.STATE:100 (connected (externally))", "GENERAL.STATE:10 (unmanaged)\nGENERAL.NM-MANAGED:no", ""],
)
def test_networkmanager_leaves_to_others(state: str) -> None:
    assert detect.networkmanager(device=f"{state}\nGENERAL.CONNECTION:eth0\n", profiles="") is None


def test_networkmanager_without_a_profile_claims_the_interface() -> None:
    found = detect.networkmanager(device="GENERAL.STATE:30 (disconnected)\nGENERAL.CON-UUID:\n", profiles="")
    assert found == detect.Manager(
        "networkmanager", "networkmanager", "NetworkManager: 30 (disconnected), no profile"
    )


@pytest.mark.parametrize(
    ("version", "name", "file"),
    [
        ("252", "networkd", "/etc/systemd/network/00-bramble-eth0.network"),
        ("257", "netplan", "/run/systemd/network/10-netplan-eth0.network"),
    ],
)
def test_networkd(version: str, name: str, file: str) -> None:
    found = detect.networkd(status=text(f"networkctl-{version}.txt"))
    assert found is not None
    assert (found.name, found.backend, found.file) == (name, "networkd", file)


@pytest.mark.parametrize("status", [text("networkctl-252-not-running.txt"), "", "State: off (pending)\n"])
def test_networkd_that_has_nothing_to_do_with_it(status: str) -> None:
    assert detect.networkd(status=status) is None


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("", True),
        ("denyinterfaces wlan0\n", True),
        ("denyinterfaces wlan0 eth*\n", False),
        ("denyinterfaces veth*,eth0\n", False),
        ("# denyinterfaces eth0\n", True),
        ("allowinterfaces wlan0\n", False),
        ("allowinterfaces wlan0\nallowinterfaces eth0\n", True),
    ],
)
def test_dhcpcd(lines: str, found: bool) -> None:
    configuration = text("dhcpcd.conf") + lines
    assert (detect.dhcpcd(interface="eth0", configuration=configuration) is not None) == found


IFUPDOWN = detect.Manager("ifupdown", "ifupdown", "ifup has brought it up as eth0")
DHCPCD = detect.Manager("dhcpcd", "dhcpcd", "dhcpcd runs")


def choose(wanted: str, *found: detect.Manager) -> tuple[detect.Manager, list[str]]:
    return detect.choose(interface="eth0", wanted=wanted, found=found, backends={"netplan": "networkd"})


def test_choose() -> None:
    assert choose("auto", IFUPDOWN) == (IFUPDOWN, [])
    assert choose("netplan")[0][:2] == ("netplan", "networkd")
    manager, warnings = choose("dhcpcd", IFUPDOWN, DHCPCD)
    assert manager == DHCPCD
    assert warnings == [
        "ifupdown configures eth0 too (ifup has brought it up as eth0); node_network_manager is dhcpcd: "
        "switch ifupdown off on the node"
    ]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (
            [],
            "nothing that configures eth0 was found running; looked for ifupdown, .*Set node_network_manager",
        ),
        (
            [IFUPDOWN, DHCPCD],
            r"by ifupdown \(ifup has .*\); dhcpcd \(dhcpcd runs\); wanted is one: .*set node_network_manager",
        ),
    ],
)
def test_choose_refuses(found: list[detect.Manager], why: str) -> None:
    with pytest.raises(NetworkError, match=why):
        choose("auto", *found)
