# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keepalived, nftables and systemd are told of the control planes' address, as tables of cases."""

from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import vip

VIP = "192.168.1.10"
THREE = ["192.168.1.11", "192.168.1.12", "192.168.1.13"]
PLACE = vip.Place(VIP, "eth0")


@pytest.mark.parametrize(
    "text", ["", "k8s.lan", "192.168.1.300", "0.0.0.0", "127.0.0.1", "224.0.0.18", "::1"]
)
def test_what_is_no_address_of_a_host(text: str) -> None:
    with pytest.raises(vip.VipError, match=r"control_plane_vip is .*; expected an IPv4 address"):
        vip.parse_address(text)


@pytest.mark.parametrize(
    ("address", "network"),
    [(VIP, "192.168.2.0/24"), ("192.168.1.0", "192.168.1.0/24"), ("192.168.1.255", "192.168.1.0/24")],
)
def test_outside_of_the_nodes_network(address: str, network: str) -> None:
    expected = re.escape(f"in the network of eth0 {network}: set control_plane_vip")
    with pytest.raises(vip.VipError, match=expected):
        vip.check_network(address, ipaddress.IPv4Network(network), name="the network of eth0")


@pytest.mark.parametrize(
    ("address", "network"),
    [(VIP, "192.168.1.0/24"), ("192.168.1.255", "192.168.0.0/16"), (VIP, "192.168.1.10/31")],
)
def test_in_the_nodes_network(address: str, network: str) -> None:
    vip.check_network(address, ipaddress.IPv4Network(network), name="the network of eth0")


def test_the_interface_is_that_of_the_node_s_own_address() -> None:
    addresses = {"lo": ["127.0.0.1/8"], "wlan0": ["10.0.0.5/24"], "eth0": ["192.168.1.12/24", f"{VIP}/32"]}
    assert vip.place(VIP, own="192.168.1.12", addresses=addresses) == PLACE
    with pytest.raises(vip.VipError, match=r"in the network of wlan0 10\.0\.0\.0/24"):
        vip.place(VIP, own="10.0.0.5", addresses=addresses)
    with pytest.raises(vip.VipError, match=r"expected 192\.168\.1\.13 among them.*: set os_prep_address"):
        vip.place(VIP, own="192.168.1.13", addresses=addresses)


def test_what_is_predicted() -> None:
    assert [vip.priority(each, THREE) for each in THREE] == [250, 240, 230]
    assert [round(vip.takes_over_after(vip.priority(each, THREE)), 2) for each in THREE] == [3.02, 3.06, 3.1]
    assert vip.gives_up_after(silent=False) == 4
    assert vip.gives_up_after(silent=True) == 7
    many = [f"192.168.1.{number}" for number in range(20, 60)]
    assert min(vip.priority(each, many) for each in many) == 1
    with pytest.raises(vip.VipError, match=r"own address is 192\.168\.1\.9; expected one of"):
        vip.priority("192.168.1.9", THREE)


def test_configuration() -> None:
    files = vip.files(PLACE, own=THREE[1], control_planes=THREE)
    text = files[vip.CONFIGURATION]
    assert re.findall(r"unicast_peer \{\s*([\d.\s]+)\}", text)[0].split() == [THREE[0], THREE[2]]
    for line in (
        "state BACKUP",
        "nopreempt",
        "interface eth0",
        "priority 240",
        f"unicast_src_ip {THREE[1]}",
        f"{VIP}/32 dev eth0",
        "init_fail",
    ):
        assert f"    {line}\n" in text
    assert "auth" not in text
    assert vip.read_place(text) == PLACE
    assert vip.read_place("") is None
    assert f"ip saddr {{ {THREE[0]}, {THREE[2]} }} accept" in files[vip.RULES]
    assert f"ip address delete {VIP}/32 dev eth0" in files[vip.UNIT_PATH]


@pytest.mark.parametrize("address", ["192.168.1.0", "192.168.1.255", "10.0.0.1", "172.31.255.254", VIP])
def test_the_number_of_the_group_is_one_of_vrrp(address: str) -> None:
    text = vip.files(vip.Place(address, "eth0"), own=THREE[0], control_planes=THREE)[vip.CONFIGURATION]
    (number,) = re.findall(r"virtual_router_id (\d+)", text)
    assert 1 <= int(number) <= 255


def test_the_only_control_plane_tells_nobody() -> None:
    files = vip.files(PLACE, own=THREE[0], control_planes=THREE[:1])
    assert re.findall(r"unicast_peer \{\s*([\d.]+)\s*\}", files[vip.CONFIGURATION]) == [THREE[0]]
    assert "accept\n" not in files[vip.RULES]
    assert "meta l4proto 112 drop" in files[vip.RULES]


@pytest.mark.skipif(shutil.which("nft") is None, reason="nftables is not installed")
@pytest.mark.parametrize("control_planes", [THREE, THREE[:1]])
def test_nftables_takes_the_rules(control_planes: list[str], tmp_path: Path) -> None:
    rules = tmp_path / "vip.nft"
    rules.write_text(vip.files(PLACE, own=THREE[0], control_planes=control_planes)[vip.RULES])
    command = ["unshare", "--net", "nft", "--check", "--file", str(rules)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
