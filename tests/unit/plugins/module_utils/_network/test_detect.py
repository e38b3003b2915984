# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._network import (
    detect,
    dhcpcd,
    networkd,
    networkmanager,
)
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import Claim
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError

from tests.unit.network_node import FolderNode, text


@pytest.mark.parametrize(
    ("ifstate", "found"),
    [
        ("lo=lo\neth0=eth0\n", True),
        ("lo=lo\neth0=work\n", True),
        ("lo=lo\neth0.10=eth0.10\n", False),
        ("", False),
    ],
)
def test_ifupdown(tmp_path: Path, ifstate: str, found: bool) -> None:
    node = FolderNode(tmp_path)
    node.write("/run/network/ifstate", ifstate)
    assert bool(detect.find(node=node, interface="eth0")) == found


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
    found = networkmanager.claim_of(
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
    assert networkmanager.claim_of(device=f"{state}\nGENERAL.CONNECTION:eth0\n", profiles="") is None


def test_networkmanager_without_a_profile_claims_the_interface() -> None:
    found = networkmanager.claim_of(
        device="GENERAL.STATE:30 (disconnected)\nGENERAL.CON-UUID:\n", profiles=""
    )
    assert found == Claim("networkmanager", "networkmanager", "NetworkManager: 30 (disconnected), no profile")


@pytest.mark.parametrize(
    ("version", "name", "file"),
    [
        ("252", "networkd", "/etc/systemd/network/00-bramble-eth0.network"),
        ("257", "netplan", "/run/systemd/network/10-netplan-eth0.network"),
    ],
)
def test_networkd(version: str, name: str, file: str) -> None:
    found = networkd.claim_of(status=text(f"networkctl-{version}.txt"))
    assert found is not None
    assert (found.name, found.backend, found.file) == (name, "networkd", file)


@pytest.mark.parametrize("status", [text("networkctl-252-not-running.txt"), "", "State: off (pending)\n"])
def test_networkd_that_has_nothing_to_do_with_it(status: str) -> None:
    assert networkd.claim_of(status=status) is None


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
    assert (dhcpcd.claim_of(interface="eth0", configuration=configuration) is not None) == found


IFUPDOWN = Claim("ifupdown", "ifupdown", "ifup has brought it up as eth0")
DHCPCD = Claim("dhcpcd", "dhcpcd", "dhcpcd runs")


def choose(manager: str, *found: Claim) -> tuple[Claim, list[str]]:
    return detect.choose(interface="eth0", manager=manager, found=found)


def test_choose() -> None:
    assert choose("auto", IFUPDOWN) == (IFUPDOWN, [])
    assert choose("netplan")[0][:2] == ("netplan", "networkd")
    claim, warnings = choose("dhcpcd", IFUPDOWN, DHCPCD)
    assert claim == DHCPCD
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
            r"by ifupdown \(ifup has .*\); dhcpcd \(dhcpcd runs\); expected one: .*node_network_manager",
        ),
    ],
)
def test_choose_refuses(found: list[Claim], why: str) -> None:
    with pytest.raises(NetworkError, match=why):
        choose("auto", *found)


def claims(node: FolderNode) -> list[tuple[str, str]]:
    return [(claim.name, claim.backend) for claim in detect.find(node=node, interface="eth0")]


def test_managers_are_asked_only_if_they_run(tmp_path: Path) -> None:
    node = FolderNode(tmp_path)
    assert claims(node) == []
    assert node.commands == []


def claimed_by_all(root: Path) -> FolderNode:
    node = FolderNode(root)
    node.write("/run/network/ifstate.eth0", "eth0=eth0\n")
    node.write("/run/NetworkManager/devices/2")
    node.write("/run/systemd/netif/state")
    node.write("/run/dhcpcd/pid", f"{os.getpid()}\n")
    node.write(f"/proc/{os.getpid()}/comm", "dhcpcd\n")
    return node


def test_all_that_claim_the_interface_are_found(tmp_path: Path) -> None:
    node = claimed_by_all(tmp_path)
    assert claims(node) == [
        ("ifupdown", "ifupdown"),
        ("netplan", "networkmanager"),
        ("dhcpcd", "dhcpcd"),
        ("netplan", "networkd"),
    ]
    # A file of a dhcpcd that has ended, and whose number another process has now.
    node.write(f"/proc/{os.getpid()}/comm", "sshd\n")
    assert len(claims(node)) == 3


@pytest.mark.parametrize(
    ("gone", "uplink", "renewal"),
    [
        ([], "networkmanager", "networkd"),
        (["run/NetworkManager"], "netplan", "networkd"),
        (["run/NetworkManager", "run/systemd/netif"], "dhcpcd", "dhcpcd"),
        (["run/NetworkManager", "run/systemd/netif", "run/dhcpcd"], "ifupdown", "ifupdown"),
    ],
)
def test_who_is_asked_first(tmp_path: Path, gone: list[str], uplink: str, renewal: str) -> None:
    node = claimed_by_all(tmp_path)
    for folder in gone:
        shutil.rmtree(tmp_path / folder)
    assert detect.for_uplink(node=node, interface="eth0").name == uplink
    assert detect.to_renew(node=node, interface="eth0").backend == renewal
    # No unit was asked for, as the interface belongs to somebody.
    assert not [command for command in node.commands if "is-active" in command]


@pytest.mark.parametrize(
    ("active", "netplan", "ifupdown", "name"),
    [
        (["NetworkManager", "systemd-networkd"], True, True, "networkmanager"),
        (["systemd-networkd"], True, False, "netplan"),
        (["dhcpcd"], False, True, "dhcpcd"),
        ([], False, True, "ifupdown"),
        (["systemd-networkd"], False, False, "networkd"),
    ],
)
def test_who_would_get_an_interface_of_nobody(
    tmp_path: Path, active: list[str], netplan: bool, ifupdown: bool, name: str
) -> None:
    node = FolderNode(tmp_path)
    node.active = {f"{unit}.service" for unit in active}
    if netplan:
        node.write("/etc/netplan/50-cloud-init.yaml")
    if ifupdown:
        node.write("/etc/network/interfaces")
    assert detect.for_uplink(node=node, interface="eth0").name == name


def test_nobody_in_charge(tmp_path: Path) -> None:
    node = FolderNode(tmp_path)
    with pytest.raises(NetworkError, match="no network manager was found"):
        detect.for_uplink(node=node, interface="eth0")
    with pytest.raises(NetworkError, match=r"nothing known manages eth0; .*: restart the node"):
        detect.to_renew(node=node, interface="eth0")
