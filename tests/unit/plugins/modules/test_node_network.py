# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module makes of a node: files are real, below a root of their own; commands come from a table."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._network import files as network_files
from ansible_collections.bramble.pi.plugins.module_utils._network.detect import Manager
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError, Settings
from ansible_collections.bramble.pi.plugins.modules import node_network

FIXTURES = Path(__file__).parents[3] / "unit/fixtures/network"
SETTINGS = Settings(
    "eth0",
    ipaddress.IPv4Interface("10.89.83.11/24"),
    ipaddress.IPv4Address("10.89.83.1"),
    ("192.0.2.53",),
    (),
)
OUTPUTS = {
    "nmcli -t -f GENERAL device show eth0": "nmcli-1.52-device.txt",
    "nmcli -t -f UUID,FILENAME connection show": "nmcli-1.52-profiles.txt",
    "networkctl --no-pager --lines=0 status eth0": "networkctl-257.txt",
    "ip -j -4 address show dev eth0": "ip-address.json",
    "ip -j -4 route show default dev eth0": "ip-route.json",
}


class Node:
    """A node in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.missing: set[str] = set()
        self.write("/sys/class/net/eth0/address", "dc:a6:32:01:02:03\n")
        self.write("/sys/class/net/lo/address", "00:00:00:00:00:00\n")
        self.network = node_network.NodeNetwork(run=self.run, has=self.has, root=str(root))

    def write(self, path: str, text: str = "") -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def has(self, program: str) -> bool:
        return program not in self.missing

    def run(self, command: list[str]) -> tuple[int, str, str]:
        name = OUTPUTS[" ".join(command)]
        return 0, (FIXTURES / name).read_text(), ""


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_managers_are_asked_only_if_they_run(node: Node) -> None:
    assert node.network.find_managers("eth0") == []
    node.write("/run/network/ifstate", "lo=lo\neth0=eth0\n")
    assert [manager.name for manager in node.network.find_managers("eth0")] == ["ifupdown"]


def test_all_that_claim_the_interface_are_found(node: Node) -> None:
    node.write("/run/network/ifstate.eth0", "eth0=eth0\n")
    node.write("/run/NetworkManager/devices/2")
    node.write("/run/systemd/netif/state")
    node.write("/run/dhcpcd/pid", f"{os.getpid()}\n")
    node.write(f"/proc/{os.getpid()}/comm", "dhcpcd\n")
    found = [(manager.name, manager.backend) for manager in node.network.find_managers("eth0")]
    assert found == [
        ("ifupdown", "ifupdown"),
        ("netplan", "networkmanager"),
        ("netplan", "networkd"),
        ("dhcpcd", "dhcpcd"),
    ]
    # A file of a dhcpcd that has ended, and whose number another process has now.
    node.write(f"/proc/{os.getpid()}/comm", "sshd\n")
    assert len(node.network.find_managers("eth0")) == 3


def test_state(node: Node) -> None:
    assert node.network.state("eth0").addresses == ("10.89.83.11/24",)


def test_ifupdown_reads_what_its_files_read(node: Node) -> None:
    node.write(network_files.INTERFACES, "source /etc/network/interfaces.d/*\nsource-directory more.d\n")
    node.write("/etc/network/interfaces.d/50-cloud-init", "auto eth0\niface eth0 inet dhcp\n")
    node.write("/etc/network/more.d/other", "iface eth1 inet dhcp\n")
    files, commands = node.network.files(SETTINGS, Manager("ifupdown", "ifupdown", ""))
    assert {file.path: file.text for file in files} == {
        "/etc/network/interfaces.d/eth0": (FIXTURES / "ifupdown-eth0.txt").read_text(),
        "/etc/network/interfaces.d/50-cloud-init": "# bramble.pi: iface eth0 inet dhcp\n",
    }
    assert commands.before == ("timeout 30 ifdown --force eth0",)
    assert commands.after == commands.restore_after


NETWORKD = Manager("netplan", "networkd", "", "/run/systemd/network/10-netplan-eth0.network")
CLOUD_INIT = "/etc/netplan/50-cloud-init.yaml"


def test_netplan(node: Node) -> None:
    node.write(CLOUD_INIT, (FIXTURES / "netplan-cloud-init.txt").read_text())
    files, commands = node.network.files(SETTINGS, NETWORKD)
    assert {file.path for file in files} == {CLOUD_INIT, network_files.NETPLAN_FILE}
    assert {file.mode for file in files} == {0o600}
    assert commands.regenerate == ("timeout 30 netplan generate",)
    assert "timeout 30 networkctl reconfigure eth0" in commands.after
    for file in files:
        node.write(file.path, file.text)
    again, _commands = node.network.files(SETTINGS, NETWORKD)
    assert [file.path for file in again] == [network_files.NETPLAN_FILE]
    assert not node.network.differs(again[0])
    documents = {file.path: yaml.safe_load(file.text) for file in files}
    assert "eth0" not in str(documents[CLOUD_INIT])


def test_netplan_keeps_networkmanager_s_profile(node: Node) -> None:
    uuid = "0d8d4bb8-4d0a-4c5e-9a4c-1c1c7d1f3b55"
    definition = {"match": {"name": "eth0"}, "dhcp4": True, "networkmanager": {"uuid": uuid}}
    document = {"network": {"version": 2, "ethernets": {f"NM-{uuid}": definition}}}
    node.write(f"/etc/netplan/90-NM-{uuid}.yaml", yaml.safe_dump(document))
    manager = Manager("netplan", "networkmanager", "", "", uuid)
    files, commands = node.network.files(SETTINGS._replace(gateway=None), manager)
    assert len(files) == 2
    assert f"timeout 30 nmcli connection up {uuid}" in commands.after
    # The same profile, with nothing but other resolvers, is not brought down.
    _files, commands = node.network.files(SETTINGS, manager)
    assert (
        commands.after[-1] == f"timeout 30 nmcli device reapply eth0 || timeout 30 nmcli connection up {uuid}"
    )


@pytest.mark.parametrize(
    ("path", "text", "manager", "why"),
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
            Manager("networkd", "networkd", "", "/etc/systemd/network/00-a.network"),
            "takes /etc/systemd/network/00-a.network for eth0, as it comes before .*rename the file",
        ),
    ],
)
def test_refuses(node: Node, path: str, text: str, manager: Manager, why: str) -> None:
    node.write(path, text)
    with pytest.raises(NetworkError, match=why):
        node.network.files(SETTINGS, manager)


def test_refuses_a_manager_that_is_not_there(node: Node) -> None:
    node.missing.add("nmcli")
    with pytest.raises(
        NetworkError, match="nmcli is not installed, and node_network_manager is networkmanager"
    ):
        node.network.files(SETTINGS, Manager("networkmanager", "networkmanager", ""))


@pytest.mark.parametrize(
    ("manager", "expected"),
    [
        (Manager("ifupdown", "ifupdown", ""), "systemd-resolved"),
        # These tell systemd-resolved themselves, or keep the file themselves.
        (NETWORKD, None),
        (Manager("netplan", "networkmanager", ""), None),
        (Manager("dhcpcd", "dhcpcd", ""), None),
    ],
)
def test_keeper(node: Node, manager: Manager, expected: str | None) -> None:
    (node.root / "etc").mkdir()
    (node.root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    keeper = node.network.keeper(SETTINGS, manager)
    assert (keeper.name if keeper else None) == expected
    assert node.network.keeper(SETTINGS._replace(resolvers=()), manager) is None


def test_session() -> None:
    code = (
        "from ansible_collections.bramble.pi.plugins.modules.node_network import _ssh_session; "
        "print(*_ssh_session())"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[4] / ".collections"),
        "SSH_CONNECTION": "192.168.1.2 50000 192.168.1.11 22",
    }
    output = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    address, process = output.split()
    assert address == "192.168.1.11"
    assert Path(f"/proc/{process}").exists()
