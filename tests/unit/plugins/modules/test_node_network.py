# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on a node of its own: its namespaces, with file systems that can be full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.namespace_node import NamespaceNode

TRIAL = "/var/lib/bramble/network-trial"
# So long that what is removed first makes no room for it.
BEFORE = "auto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\n" + "# long\n" * 4000
NEW = "192.168.7.11/24"
# What a unit of systemd would do goes on beside the module.
SYSTEMD_RUN = 'while [ "${1#-}" != "$1" ]; do shift; done\n"$@" </dev/null >/dev/null 2>&1 &'


@pytest.fixture
def node(tmp_path: Path) -> NamespaceNode:
    node = NamespaceNode(tmp_path, size="256k", folders=["/etc/network", "/etc/systemd", "/var/lib/bramble"])
    node.write("/etc/network/interfaces", BEFORE + "source interfaces.d/*\n")
    node.write("/run/network/ifstate", "eth0=eth0\n")
    node.program("systemctl", "exit 3")
    node.program("systemd-run", SYSTEMD_RUN)
    node.program("ifdown", "ip -4 address flush dev eth0")
    node.program(
        "ifup",
        "for file in /etc/network/interfaces /etc/network/interfaces.d/eth0; do\n"
        "  address=$(sed -n 's/^ *address //p' $file 2>/dev/null)\n"
        '  [ -z "$address" ] || ip address add "$address/24" dev eth0\ndone',
    )
    return node


FILL = "dd if=/dev/zero of=/etc/network/full bs=1k >/dev/null 2>&1; "
WAIT = f"while [ -e {TRIAL}/pending ] && [ ! -e {TRIAL}/applied ]; do sleep 0.1; done"
GONE = f"for i in $(seq 100); do [ -e {TRIAL}/files ] || break; sleep 0.1; done"


def change(node: NamespaceNode, *then: str, timeout: int = 1) -> list[str]:
    """Try a change, and run further commands on the node; return the outputs of both."""
    step = node.module("node_network", interface="eth0", address=NEW, confirm_timeout=timeout)
    return node.run(step, *then)


def test_a_disk_that_is_full_when_a_change_is_taken_back(node: NamespaceNode) -> None:
    report = node.module("node_network", address=NEW, step="report", trial="@TRIAL@")
    trial, _waited, _filled, _gone, text, left, address, reported = change(
        node,
        WAIT,
        FILL,
        GONE,
        "cat /etc/network/interfaces",
        "ls -A /etc/network /etc/network/interfaces.d /etc/systemd/system",
        "ip -brief -4 address show dev eth0",
        report,
        timeout=4,
    )
    assert node.result(trial)["trial"]
    assert text == BEFORE + "source interfaces.d/*\n"
    assert "bramble" not in left
    assert "eth0\n" not in left.partition("interfaces.d:")[2]
    assert "192.168.7.11" not in address
    assert node.result(reported)["state"] == "taken_back"


def test_a_disk_that_is_full_before_anything_is_changed(node: NamespaceNode) -> None:
    trial, text, left = node.run(
        FILL,
        node.module("node_network", interface="eth0", address=NEW),
        "cat /etc/network/interfaces",
        f"find /etc/network /etc/systemd {TRIAL}* -name '*bramble*' -o -name 'network-trial*'",
    )[1:]
    assert "expected room for it" in node.result(trial)["msg"]
    assert text == BEFORE + "source interfaces.d/*\n"
    assert left == ""


def test_what_was_confirmed_is_known_when_the_answer_was_lost(node: NamespaceNode) -> None:
    confirm = node.module("node_network", address=NEW, step="confirm", trial="@TRIAL@")
    report = node.module("node_network", address=NEW, step="report", trial="@TRIAL@")
    other = node.module("node_network", address=NEW, step="report", trial="0123456789abcdef")
    outputs = change(node, WAIT, confirm, confirm, report, other, "ls -A /etc/network", timeout=60)
    assert [node.result(output)["state"] for output in outputs[2:6]] == [
        "confirmed",
        "confirmed",
        "confirmed",
        # One of which nothing is known is not confirmed.
        "unknown",
    ]
    assert "bramble" not in outputs[6]


def after(result: dict[str, Any], path: str) -> str:
    """Return what a file would be."""
    texts: list[str] = [diff["after"] for diff in result["diff"] if diff["after_header"] == path]
    assert len(texts) == 1, result
    return texts[0]


STANZA = """    address 192.168.7.11
    netmask 255.255.255.0
    network 192.168.7.0
    broadcast 192.168.7.255
"""


@pytest.mark.parametrize(
    ("interface", "stanza", "expected"),
    [
        (
            "eth0",
            """auto lo
iface lo inet loopback

auto eth0
iface eth0 inet dhcp
    mtu 9000
    hwaddress ether dc:a6:32:01:02:03
    up ip route add 10.8.0.0/16 via 192.168.1.5
    pre-up iptables-restore < /etc/iptables.rules
    post-up ethtool -s eth0 wol g
""",
            f"""auto eth0
iface eth0 inet static
{STANZA}    mtu 9000
    hwaddress ether dc:a6:32:01:02:03
    up ip route add 10.8.0.0/16 via 192.168.1.5
    pre-up iptables-restore < /etc/iptables.rules
    post-up ethtool -s eth0 wol g
""",
        ),
        (
            "br0",
            "auto br0\niface br0 inet dhcp\n    bridge_ports eth0\n    bridge_stp off\n    bridge_fd 0\n",
            f"auto br0\niface br0 inet static\n{STANZA}"
            "    bridge_ports eth0\n    bridge_stp off\n    bridge_fd 0\n",
        ),
        (
            "wlan0",
            "allow-hotplug wlan0\niface wlan0 inet dhcp\n"
            "    wpa-conf /etc/wpa_supplicant/wpa_supplicant.conf\n",
            f"allow-hotplug wlan0\niface wlan0 inet static\n{STANZA}"
            "    wpa-conf /etc/wpa_supplicant/wpa_supplicant.conf\n",
        ),
        (
            # What is the stanza's own address goes; what several stanzas say is there once.
            "eth0",
            """iface eth0 inet static inherits wired
  address 192.168.7.9/24
  gateway 192.168.7.1
  dns-nameservers 192.168.7.1
  dns-search example.org
  metric 100
  up first \\
    second
iface eth0 inet static
  address 192.168.8.9/24
  metric 200
  up first of the other
iface eth0 inet6 auto
  accept_ra 2
""",
            f"""allow-hotplug eth0
iface eth0 inet static inherits wired
{STANZA}    metric 100
    up first \\
    second
    up first of the other
""",
        ),
    ],
)
def test_ifupdown_options_stay(tmp_path: Path, interface: str, stanza: str, expected: str) -> None:
    node = NamespaceNode(tmp_path, folders=["/etc/network"])
    node.write("/etc/network/interfaces", stanza + "source interfaces.d/*\n")
    node.write("/run/network/ifstate", f"{interface}={interface}\n")
    for program in ("ifup", "ifdown"):
        node.program(program, "")
    there = {"eth0": ":", "br0": "ip link add br0 type bridge", "wlan0": "ip link set peer name wlan0"}
    step = node.module("node_network", check=True, interface=interface, address=NEW)
    result = node.result(node.run(there[interface], step)[1])
    managed = "# Written by the collection bramble.pi; changes are overwritten.\n"
    assert after(result, f"/etc/network/interfaces.d/{interface}") == managed + expected


PROFILE = """[connection]
id=Wired connection 1
uuid=6f6c1f0e-6f43-4b9e-bb1a-4d3f6b6e2f10
type=ethernet
autoconnect=false
permissions=user:pi:;
zone=trusted

[ethernet]
mtu=1400

[ipv4]
method=auto
address1=192.168.7.9/24,192.168.7.1
dns=192.168.7.1;
route1=10.8.0.0/16,192.168.7.5,100
route1_options=mtu=1400
route2=0.0.0.0/0,192.168.7.254
route2_options=mtu=1300
route-metric=50
never-default=true

[ipv6]
method=auto
"""


def test_networkmanager_keys_stay(tmp_path: Path) -> None:
    node = NamespaceNode(tmp_path, folders=["/etc/NetworkManager"])
    path = "/etc/NetworkManager/system-connections/Wired.nmconnection"
    node.write(path, PROFILE)
    node.write("/run/NetworkManager/there", "")
    uuid = "6f6c1f0e-6f43-4b9e-bb1a-4d3f6b6e2f10"
    node.program(
        "nmcli",
        f"""case "$*" in
*device*) printf 'GENERAL.STATE:100 (connected)\\nGENERAL.NM-MANAGED:yes\\nGENERAL.CON-UUID:{uuid}\\n' ;;
*) echo "{uuid}:{path}" ;;
esac""",
    )
    step = node.module("node_network", check=True, address=NEW, gateway="192.168.7.1")
    text = after(
        node.result(node.run(step)[0]), "/etc/NetworkManager/system-connections/bramble-eth0.nmconnection"
    )
    _managed, _bracket, profile = text.partition("[connection]\nid=bramble eth0\n")
    assert (
        profile.partition("\n")[2]
        == """type=ethernet
interface-name=eth0
autoconnect-priority=100
permissions=user:pi:;
zone=trusted

[ipv4]
method=manual
address1=192.168.7.11/24,192.168.7.1
route1=10.8.0.0/16,192.168.7.5,100
route1_options=mtu=1400
route-metric=50

[ethernet]
mtu=1400

[ipv6]
method=auto
"""
    )


CLOUD_INIT = "/etc/netplan/50-cloud-init.yaml"
OWN_NETPLAN = "/etc/netplan/90-bramble.yaml"
#: Network cards as a Raspberry Pi has them: lo and cni0 are none.
CARDS = """mount -t tmpfs tmpfs /sys/class/net
for card in lo: cni0: eth0:bcmgenet eth1:lan78xx wlan0:brcmfmac; do
  mkdir -p /sys/class/net/${card%:*}
  echo 02:00:00:00:00:01 >/sys/class/net/${card%:*}/address
  [ -z "${card#*:}" ] || mkdir /sys/class/net/${card%:*}/device
  [ -z "${card#*:}" ] || ln -s /drivers/${card#*:} /sys/class/net/${card%:*}/device/driver
done"""


def change_netplan(scratch: Path, text: str) -> dict[str, Any]:
    """Return the result, and the texts of netplan's files as they are after the change, by their paths."""
    node = NamespaceNode(scratch, folders=["/etc/netplan", "/etc/systemd", "/var/lib/bramble"])
    node.write(CLOUD_INIT, text)
    node.write("/run/systemd/netif/there", "")
    node.program("systemctl", "exit 3")
    node.program("systemd-run", SYSTEMD_RUN)
    node.program("netplan", "")
    node.program(
        "networkctl",
        "echo 'State: routable (configured)'\n"
        "echo 'Network File: /run/systemd/network/10-netplan-eth0.network'",
    )
    step = node.module("node_network", address=NEW, confirm_timeout=60)
    outputs = node.run(CARDS, step, WAIT, f"cat {CLOUD_INIT}", f"cat {OWN_NETPLAN}")
    return {**node.result(outputs[1]), CLOUD_INIT: outputs[3], OWN_NETPLAN: outputs[4]}


def test_netplan_scalars_stay_the_text_that_they_were(tmp_path: Path) -> None:
    """What netplan reads as text is not a number, no boolean and no time to us."""
    others = """  wifis:
    wlan0:
      dhcp4: true
      optional: true
      regulatory-domain: NO
      access-points:
        0123:
          password: 01234567
        1.10:
          password: 1234_5678
        on:
          password: 12:34:56:17
        2017-06-27:
          password: "0x1F"
        ~:
          password: '1e3'
        Grüße:
          password: no
"""
    mine = "  ethernets:\n    eth0: {dhcp4: true, optional: yes, macaddress: 02:03:04:05:06:07}\n"
    result = change_netplan(tmp_path, f"network:\n  version: 2\n{mine}{others}")
    assert result[CLOUD_INIT] == f"# eth0 is in {OWN_NETPLAN}.\nnetwork:\n  version: 2\n{others}"
    assert "      optional: yes\n" in result[OWN_NETPLAN]
    assert "      macaddress: 02:03:04:05:06:07\n" in result[OWN_NETPLAN]


def test_netplan_definition_by_drivers(tmp_path: Path) -> None:
    """As the images of Ubuntu 20.04 come; eth1 has one of these drivers as well, and another name."""
    lines = """
    eth0:
      match:
        driver: bcmgenet smsc95xx lan78xx
      set-name: eth0
      dhcp4: true
      optional: true
"""
    result = change_netplan(tmp_path, f"network:\n  version: 2\n  ethernets:{lines}")
    assert result[CLOUD_INIT] == f"# eth0 is in {OWN_NETPLAN}.\nnetwork:\n  version: 2\n"
    for kept in ("        driver: bcmgenet smsc95xx lan78xx\n", "      set-name: eth0\n"):
        assert kept in result[OWN_NETPLAN]
