# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each manager's files become; for each, a second edit changes nothing."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._network import files as network_files
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError, Settings

FIXTURES = Path(__file__).parents[4] / "unit/fixtures/network"
SETTINGS = Settings(
    "eth0",
    ipaddress.IPv4Interface("192.168.1.11/24"),
    ipaddress.IPv4Address("192.168.1.1"),
    ("192.168.1.1", "8.8.8.8"),
    ("rack.example.org",),
)
BARE = Settings("eth0", ipaddress.IPv4Interface("10.0.0.1/8"), None, (), ())


def text(name: str) -> str:
    return (FIXTURES / name).read_text(encoding="utf-8")


def by_path(files: list[network_files.File]) -> dict[str, str]:
    return {file.path: file.text for file in files}


OWN = """# Written by the collection bramble.pi; changes are overwritten.
allow-hotplug eth0
iface eth0 inet static
    address 192.168.1.11
    netmask 255.255.255.0
    network 192.168.1.0
    broadcast 192.168.1.255
    gateway 192.168.1.1
"""
ETH0 = "/etc/network/interfaces.d/eth0"


def test_ifupdown_on_debian() -> None:
    present = {network_files.INTERFACES: text("interfaces-debian.txt")}
    files = by_path(network_files.ifupdown_files(settings=SETTINGS, present=present))
    assert files[ETH0] == OWN
    changed = files[network_files.INTERFACES]
    assert "\n# bramble.pi: iface eth0 inet dhcp\n# This is an autoconfigured" in changed
    assert "allow-hotplug" not in changed
    # What is not IPv4 of this interface stays.
    assert changed.endswith("\niface eth0 inet6 auto\n")
    assert "auto lo\niface lo inet loopback\n" in changed
    assert network_files.ifupdown_files(settings=SETTINGS, present={**present, **files}) == [
        network_files.File(ETH0, OWN)
    ]


def test_ifupdown_on_hypriotos() -> None:
    main = "source-directory /etc/network/interfaces.d\n"
    present = {network_files.INTERFACES: main, ETH0: text("interfaces-hypriot-eth0.txt")}
    assert by_path(network_files.ifupdown_files(settings=SETTINGS, present=present)) == {ETH0: OWN}


def test_ifupdown_keeps_what_else_is_in_the_interface_s_file() -> None:
    present = {
        network_files.INTERFACES: "source interfaces.d/*\n",
        ETH0: (
            "auto eth0 br0\niface eth0 inet static\n\taddress 1.2.3.4/8\n\tup echo \\\n\t  1\n"
            "# six\niface eth0 inet6 auto\n"
        ),
    }
    files = by_path(network_files.ifupdown_files(settings=SETTINGS, present=present))
    # It was brought up with the system, and still is.
    assert files == {ETH0: OWN.replace("allow-hotplug", "auto") + "auto br0\niface eth0 inet6 auto\n"}
    again = by_path(network_files.ifupdown_files(settings=SETTINGS, present={**present, **files}))
    assert again == files


def test_ifupdown_without_gateway_and_without_a_line_that_reads_our_file() -> None:
    files = by_path(
        network_files.ifupdown_files(
            settings=BARE, present={network_files.INTERFACES: "auto lo\niface lo inet loopback"}
        )
    )
    assert "gateway" not in files[ETH0]
    assert files[network_files.INTERFACES].endswith(f"\nsource {ETH0}\n")


@pytest.mark.parametrize(
    ("line", "path", "expected"),
    [
        ("source /etc/network/interfaces.d/*", ETH0, True),
        ("source interfaces.d/*.cfg", ETH0, False),
        ("source-directory interfaces.d", ETH0, True),
        # ifupdown leaves out names with a dot there.
        ("source-directory /etc/network/interfaces.d/", f"{ETH0}.10", False),
        ("# source /etc/network/interfaces.d/*", ETH0, False),
    ],
)
def test_is_sourced(line: str, path: str, expected: bool) -> None:
    assert network_files.is_sourced(text=line, path=path) == expected


MACS = {"lo": "00:00:00:00:00:00", "eth0": "dc:a6:32:01:02:03", "wlan0": "dc:a6:32:01:02:04"}
CLOUD_INIT = "/etc/netplan/50-cloud-init.yaml"


def take_out(**documents: Any) -> network_files.Netplan:
    paths = {f"/etc/netplan/{name.replace('_', '-')}.yaml": value for name, value in documents.items()}
    return network_files.netplan_take_out(interface="eth0", documents=paths, macs=MACS)


def test_netplan_of_cloud_init() -> None:
    document = yaml.safe_load(text("netplan-cloud-init.txt"))
    found = network_files.netplan_take_out(interface="eth0", documents={CLOUD_INIT: document}, macs=MACS)
    assert (found.section, found.identifier, found.changed) == ("ethernets", "eth0", (CLOUD_INIT,))
    # The Wi-Fi stays where it is.
    assert found.documents[CLOUD_INIT]["network"] == {"version": 2, "wifis": document["network"]["wifis"]}
    definition = network_files.netplan_definition(
        settings=SETTINGS, definition=found.definition, renderer="networkd"
    )
    assert definition == {
        "renderer": "networkd",
        "dhcp4": False,
        "dhcp6": True,
        "match": {"macaddress": "dc:a6:32:01:02:03"},
        "set-name": "eth0",
        "optional": True,
        "addresses": ["192.168.1.11/24"],
        "routes": [{"to": "0.0.0.0/0", "via": "192.168.1.1"}],
        "nameservers": {"addresses": ["192.168.1.1", "8.8.8.8"], "search": ["rack.example.org"]},
    }
    own = {"network": {"version": 2, "ethernets": {"eth0": definition}}}
    documents = {**found.documents, network_files.NETPLAN_FILE: own}
    again = network_files.netplan_take_out(interface="eth0", documents=documents, macs=MACS)
    assert again.changed == (network_files.NETPLAN_FILE,)
    assert (
        network_files.netplan_definition(settings=SETTINGS, definition=again.definition, renderer="networkd")
        == definition
    )


def test_netplan_keeps_ipv6_and_other_routes() -> None:
    definition = network_files.netplan_definition(
        settings=BARE,
        definition={
            "addresses": ["192.168.1.5/24", "fd00::5/64", {"10.1.1.1/24": {"label": "eth0:1"}}],
            "gateway4": "192.168.1.1",
            "routes": [
                {"to": "default", "via": "192.168.1.1"},
                {"to": "default", "via": "fd00::1"},
                {"to": "10.244.1.0/24", "via": "192.168.1.12"},
            ],
            "mtu": 1400,
        },
        renderer="NetworkManager",
    )
    assert definition == {
        "renderer": "NetworkManager",
        "dhcp4": False,
        "addresses": ["10.0.0.1/8", "fd00::5/64"],
        "routes": [{"to": "default", "via": "fd00::1"}, {"to": "10.244.1.0/24", "via": "192.168.1.12"}],
        "mtu": 1400,
    }


def test_netplan_merges_what_stands_in_several_files() -> None:
    found = take_out(
        **{
            "99_mtu": {"network": {"ethernets": {"eth0": {"mtu": 1400, "addresses": ["b/1"]}}}},
            "10_base": {"network": {"ethernets": {"eth0": {"dhcp4": True, "addresses": ["a/1"]}}}},
        }
    )
    assert found.definition == {"dhcp4": True, "mtu": 1400, "addresses": ["a/1", "b/1"]}
    assert len(found.changed) == 2


@pytest.mark.parametrize(
    ("match", "names"),
    [
        ({"name": "e*"}, True),
        ({"name": "en*"}, False),
        ({"macaddress": "DC:A6:32:01:02:03"}, True),
        ({"macaddress": "dc:a6:32:01:02:99"}, False),
    ],
)
def test_netplan_finds_the_interface_by_match(match: dict[str, str], names: bool) -> None:
    found = take_out(**{"50_all": {"network": {"ethernets": {"all": {"match": match, "dhcp4": True}}}}})
    assert (found.identifier == "all") == names
    assert found.changed == ((CLOUD_INIT.replace("cloud-init", "all"),) if names else ())


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (
            {"all": {"match": {"name": "*0"}}},
            "definition 'all' in /etc/netplan/50-a.yaml is for eth0 and wlan0; wanted is one for eth0 alone",
        ),
        ({"eth0": {}, "lan": {"match": {"name": "eth0"}}}, "two definitions of eth0, 'eth0' and 'lan'"),
    ],
)
def test_netplan_refuses(document: dict[str, Any], why: str) -> None:
    with pytest.raises(NetworkError, match=why):
        take_out(**{"50_a": {"network": {"ethernets": document}}})


def test_networkmanager_from_nothing() -> None:
    file = network_files.networkmanager_file(settings=SETTINGS, present="")
    assert (file.path, file.mode) == (
        "/etc/NetworkManager/system-connections/bramble-eth0.nmconnection",
        0o600,
    )
    assert "type=ethernet\ninterface-name=eth0\nautoconnect-priority=100\n" in file.text
    assert file.text.endswith(
        "\n[ipv4]\nmethod=manual\naddress1=192.168.1.11/24,192.168.1.1\ndns=192.168.1.1;8.8.8.8;\n"
        "dns-search=rack.example.org;\n"
    )
    assert network_files.networkmanager_file(settings=SETTINGS, present=file.text) == file
    assert "address1=10.0.0.1/8\n" in network_files.networkmanager_file(settings=BARE, present="").text


def test_networkmanager_keeps_the_rest_of_a_profile() -> None:
    present = """[connection]
id=Wired connection 1
uuid=6f6c1f0e-6f43-4b9e-bb1a-4d3f6b6e2f10
type=ethernet
timestamp=1700000000

[ethernet]
mtu=1400

[802-1x]
eap=peap;
password=not-to-be-shown

[ipv4]
method=auto

[ipv6]
addr-gen-mode=default
method=auto

[proxy]
"""
    file = network_files.networkmanager_file(settings=SETTINGS, present=present)
    for kept in (
        "[ethernet]\nmtu=1400\n",
        "[ipv6]\naddr-gen-mode=default\nmethod=auto\n",
        "[802-1x]\neap=peap;\n",
    ):
        assert kept in file.text
    for gone in ("6f6c1f0e", "Wired", "timestamp", "[ipv4]\nmethod=auto"):
        assert gone not in file.text
    assert network_files.networkmanager_file(settings=SETTINGS, present=file.text) == file
    assert "not-to-be-shown" not in network_files.shown(text=file.text)


BLOCK = """# BEGIN bramble.pi
interface eth0
static ip_address=192.168.1.11/24
noarp
static routers=192.168.1.1
static domain_name_servers=192.168.1.1 8.8.8.8
static domain_search=rack.example.org
# END bramble.pi
"""


def test_dhcpcd() -> None:
    present = text("dhcpcd.conf")
    file = network_files.dhcpcd_file(settings=SETTINGS, present=present)
    assert file.text == present + BLOCK
    assert network_files.dhcpcd_file(settings=SETTINGS, present=file.text) == file


def test_dhcpcd_comments_out_what_the_owner_had() -> None:
    owners = (
        "interface eth0\nstatic ip_address=192.168.1.5/24\nnoipv6\n"
        "interface wlan0\nstatic ip_address=10.0.0.1/24\n"
    )
    file = network_files.dhcpcd_file(settings=SETTINGS, present=owners)
    assert file.text == (
        "interface eth0\n# bramble.pi: static ip_address=192.168.1.5/24\nnoipv6\n"
        f"interface wlan0\nstatic ip_address=10.0.0.1/24\n{BLOCK}"
    )
    assert network_files.dhcpcd_file(settings=SETTINGS, present=file.text) == file


def test_networkd() -> None:
    present = """# the owner's
[Match]
Name=en* eth*

[Link]
RequiredForOnline=no

[Network]
DHCP=yes
IPv6AcceptRA=yes
Address=192.168.1.5/24
Address=fd00::5/64
Gateway=192.168.1.1
DNS=9.9.9.9

[Address]
Address=192.168.1.6/24

[Route]
Gateway=192.168.1.1

[Route]
Destination=10.244.1.0/24
Gateway=192.168.1.12

[DHCPv4]
UseDNS=no
"""
    file = network_files.networkd_file(settings=SETTINGS, present=present)
    assert file.path == "/etc/systemd/network/00-bramble-eth0.network"
    assert (
        file.text
        == """# Written by the collection bramble.pi; changes are overwritten.
[Match]
Name=eth0

[Network]
Address=192.168.1.11/24
Gateway=192.168.1.1
DNS=192.168.1.1
DNS=8.8.8.8
Domains=rack.example.org
DHCP=ipv6
IPv6AcceptRA=yes
Address=fd00::5/64

[Link]
RequiredForOnline=no

[Route]
Destination=10.244.1.0/24
Gateway=192.168.1.12
"""
    )
    assert network_files.networkd_file(settings=SETTINGS, present=file.text) == file


@pytest.mark.parametrize(
    ("link", "resolv_conf", "name", "file"),
    [
        ("../run/systemd/resolve/stub-resolv.conf", "", "systemd-resolved", network_files.RESOLVED_FILE),
        ("/run/resolvconf/resolv.conf", "", "resolvconf", "/etc/resolvconf/resolv.conf.d/head"),
        ("", "# Generated by resolvconf\nnameserver 1.1.1.1\n", "openresolv", "/etc/resolv.conf.head"),
        ("", "nameserver 1.1.1.1\n", "file", "/etc/resolv.conf"),
        ("", "", "file", "/etc/resolv.conf"),
    ],
)
def test_resolver_keeper(link: str, resolv_conf: str, name: str, file: str) -> None:
    keeper = network_files.resolver_keeper(link=link, text=resolv_conf)
    assert (keeper.name, keeper.file) == (name, file)


LINES = "search rack.example.org\nnameserver 192.168.1.1\nnameserver 8.8.8.8\n"


@pytest.mark.parametrize(
    ("keeper", "present", "expected"),
    [
        (
            "file",
            "search home\nnameserver 1.1.1.1\noptions edns0\n",
            f"{network_files.MANAGED}{LINES}options edns0\n",
        ),
        ("openresolv", "", f"# BEGIN bramble.pi\n{LINES}# END bramble.pi\n"),
        ("resolvconf", "options rotate", f"# BEGIN bramble.pi\n{LINES}# END bramble.pi\noptions rotate\n"),
        (
            "systemd-resolved",
            "[Resolve]\nDNS=1.1.1.1\n",
            f"{network_files.MANAGED}[Resolve]\nDNS=192.168.1.1 8.8.8.8\nDomains=rack.example.org\n",
        ),
    ],
)
def test_resolver_file(keeper: str, present: str, expected: str) -> None:
    kept = network_files.Keeper(keeper, "/etc/x")
    file = network_files.resolver_file(settings=SETTINGS, keeper=kept, present=present)
    assert file == network_files.File("/etc/x", expected)
    assert network_files.resolver_file(settings=SETTINGS, keeper=kept, present=expected) == file


def test_shown() -> None:
    assert (
        network_files.shown(text='password: "a b"\npsk=abc\ndhcp4: true\n')
        == "password: ********\npsk=********\ndhcp4: true\n"
    )
