# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change on a node for its static address, by each manager."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._network import static_address
from ansible_collections.bramble.pi.plugins.module_utils._network.ifupdown import INTERFACES
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import Claim, Commands, File
from ansible_collections.bramble.pi.plugins.module_utils._network.netplan import NETPLAN_FILE
from ansible_collections.bramble.pi.plugins.module_utils._network.resolvers import find_keeper
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError, Settings

from tests.unit.network_node import FolderNode, text

SETTINGS = Settings(
    "eth0",
    ipaddress.IPv4Interface("10.89.83.11/24"),
    ipaddress.IPv4Address("10.89.83.1"),
    ("192.0.2.53",),
    (),
)


@pytest.fixture
def node(tmp_path: Path) -> FolderNode:
    return FolderNode(tmp_path)


def render(node: FolderNode, settings: Settings, claim: Claim) -> tuple[list[File], Commands]:
    return static_address.render(node=node, settings=settings, claim=claim)


def test_state(node: FolderNode) -> None:
    assert node.state("eth0").addresses == ("10.89.83.11/24",)


def test_ifupdown_reads_what_its_files_read(node: FolderNode) -> None:
    node.write(INTERFACES, "source /etc/network/interfaces.d/*\nsource-directory more.d\n")
    node.write("/etc/network/interfaces.d/50-cloud-init", "auto eth0\niface eth0 inet dhcp\n")
    node.write("/etc/network/more.d/other", "iface eth1 inet dhcp\n")
    files, commands = render(node, SETTINGS, Claim("ifupdown", "ifupdown", ""))
    assert {file.path: file.text for file in files} == {
        "/etc/network/interfaces.d/eth0": text("ifupdown-eth0.txt"),
        "/etc/network/interfaces.d/50-cloud-init": "# bramble.pi: iface eth0 inet dhcp\n",
    }
    assert commands.before == ("timeout 30 ifdown --force eth0",)
    assert commands.after == commands.restore_after


NETWORKD = Claim("netplan", "networkd", "", "/run/systemd/network/10-netplan-eth0.network")
CLOUD_INIT = "/etc/netplan/50-cloud-init.yaml"


def test_netplan(node: FolderNode) -> None:
    node.write(CLOUD_INIT, text("netplan-cloud-init.txt"))
    files, commands = render(node, SETTINGS, NETWORKD)
    assert {file.path for file in files} == {CLOUD_INIT, NETPLAN_FILE}
    assert {file.mode for file in files} == {0o600}
    assert commands.regenerate == ("timeout 30 netplan generate",)
    assert "timeout 30 networkctl reconfigure eth0" in commands.after
    for file in files:
        node.write(file.path, file.text)
    again, _commands = render(node, SETTINGS, NETWORKD)
    assert [file.path for file in again] == [NETPLAN_FILE]
    assert not node.differs(again[0].path, again[0].text)
    documents = {file.path: yaml.safe_load(file.text) for file in files}
    assert "eth0" not in str(documents[CLOUD_INIT])


def test_netplan_keeps_networkmanager_s_profile(node: FolderNode) -> None:
    uuid = "0d8d4bb8-4d0a-4c5e-9a4c-1c1c7d1f3b55"
    definition = {"match": {"name": "eth0"}, "dhcp4": True, "networkmanager": {"uuid": uuid}}
    document = {"network": {"version": 2, "ethernets": {f"NM-{uuid}": definition}}}
    node.write(f"/etc/netplan/90-NM-{uuid}.yaml", yaml.safe_dump(document))
    manager = Claim("netplan", "networkmanager", "", "", uuid)
    files, commands = render(node, SETTINGS._replace(gateway=None), manager)
    assert len(files) == 2
    assert f"timeout 30 nmcli connection up {uuid}" in commands.after
    # The same profile, with nothing but other resolvers, is not brought down.
    _files, commands = render(node, SETTINGS, manager)
    assert (
        commands.after[-1] == f"timeout 30 nmcli device reapply eth0 || timeout 30 nmcli connection up {uuid}"
    )


@pytest.mark.parametrize(
    ("path", "content", "manager", "why"),
    [
        (CLOUD_INIT, "network: [", NETWORKD, "50-cloud-init.yaml cannot be read"),
        (
            "/run/netplan/eth0.yaml",
            "network: {ethernets: {eth0: {dhcp4: true}}}",
            NETWORKD,
            "/run/netplan/eth0.yaml defines eth0.*remove what writes that file",
        ),
        (
            "/etc/systemd/network/00-a.network",
            "",
            Claim("networkd", "networkd", "", "/etc/systemd/network/00-a.network"),
            "takes /etc/systemd/network/00-a.network for eth0, as it comes before .*rename the file",
        ),
    ],
)
def test_refuses(node: FolderNode, path: str, content: str, manager: Claim, why: str) -> None:
    node.write(path, content)
    with pytest.raises(NetworkError, match=why):
        render(node, SETTINGS, manager)


def test_refuses_a_manager_that_is_not_there(node: FolderNode) -> None:
    node.missing.add("nmcli")
    with pytest.raises(
        NetworkError, match="nmcli is not installed, and node_network_manager is networkmanager"
    ):
        render(node, SETTINGS, Claim("networkmanager", "networkmanager", ""))


@pytest.mark.parametrize(
    ("manager", "expected"),
    [
        (Claim("ifupdown", "ifupdown", ""), "systemd-resolved"),
        # These tell systemd-resolved themselves, or keep the file themselves.
        (NETWORKD, None),
        (Claim("netplan", "networkmanager", ""), None),
        (Claim("dhcpcd", "dhcpcd", ""), None),
    ],
)
def test_keeper(node: FolderNode, manager: Claim, expected: str | None) -> None:
    (node.root / "etc").mkdir()
    (node.root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    keeper = find_keeper(node=node, settings=SETTINGS, claim=manager)
    assert (keeper.name if keeper else None) == expected
    assert find_keeper(node=node, settings=SETTINGS._replace(resolvers=()), claim=manager) is None


def plan(node: FolderNode, settings: Settings = SETTINGS) -> static_address.Plan:
    return static_address.make_plan(node=node, settings=settings, manager="auto", kubernetes="absent")


def test_what_is_left_to_do(node: FolderNode) -> None:
    node.write("/run/network/ifstate", "eth0=eth0\n")
    node.write(INTERFACES, "source /etc/network/interfaces.d/*\n")
    node.write("/etc/resolv.conf", "# Generated by resolvconf\n")
    node.write("/etc/cloud/cloud.cfg.d/05_logging.cfg")
    first = plan(node)
    paths = [static_address.CLOUD_INIT_FILE, "/etc/network/interfaces.d/eth0", "/etc/resolv.conf.head"]
    assert sorted(file.path for file in first.files) == paths
    assert first.commands.after[-1] == "timeout 30 resolvconf -u"
    told = static_address.result(node=node, plan=first)
    assert (told["changed"], told["manager"], told["resolver_keeper"]) == (True, "ifupdown", "openresolv")
    for file in first.files:
        node.write(file.path, file.text)
    second = plan(node)
    assert (second.changed, second.warnings) == (False, [])
    # For other resolvers the interface stays up.
    third = plan(node, SETTINGS._replace(resolvers=("192.0.2.54",)))
    assert third.commands == Commands((), ("timeout 30 resolvconf -u",), ("timeout 30 resolvconf -u",))
    # Those of a lease would be gone.
    assert (
        "set node_network_resolvers" in plan(node, SETTINGS._replace(gateway=None, resolvers=())).warnings[0]
    )
