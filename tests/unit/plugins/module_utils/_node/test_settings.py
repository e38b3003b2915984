# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._node import settings as node_settings
from hypothesis import given
from hypothesis import strategies as st

RACK = [{"address": "192.168.1.11", "names": ["pi-1"]}, {"address": "192.168.1.12", "names": ["pi-2", "b"]}]
BLOCK = "# BEGIN bramble.pi\n192.168.1.11 pi-1\n192.168.1.12 pi-2 b\n# END bramble.pi\n"
RASPBERRY_PI_OS = """\
127.0.0.1\tlocalhost
::1\t\tlocalhost ip6-localhost ip6-loopback
ff02::1\t\tip6-allnodes
ff02::2\t\tip6-allrouters

127.0.1.1\traspberrypi
"""
CLOUD_INIT_TEMPLATE = """\
## template:jinja
{#
This file (/etc/cloud/templates/hosts.debian.tmpl) is only utilized
if enabled in cloud-config.  Specifically, in order to enable it
you need to add the following to config:
   manage_etc_hosts: True
-#}
{# The value '{{hostname}}' will be replaced with the local-hostname -#}
127.0.1.1 {{fqdn}} {{hostname}}
127.0.0.1 localhost
"""
FSTAB = """\
proc            /proc           proc    defaults          0       0
PARTUUID=4d8097e2-01  /boot/firmware  vfat    defaults          0       2
PARTUUID=4d8097e2-02  /               ext4    defaults,noatime  0       1
# a swapfile is not a swap partition, no line here
#   use  dphys-swapfile swap[on|off]  for that
"""


@pytest.mark.parametrize("name", ["pi-1", "node0", "1pi", "pi.example.org", "a" * 63])
def test_hostnames(name: str) -> None:
    node_settings.check_hostname(name)


@pytest.mark.parametrize(
    "name",
    ["", "Pi", "pi_1", "-pi", "pi-", "pi 1", "pi..org", "a" * 64, "pi\n", "a." * 32 + "a", "12", "1.2"],
)
def test_refused_hostnames(name: str) -> None:
    with pytest.raises(node_settings.SettingsError, match="expected a-z, 0-9 and hyphens"):
        node_settings.check_hostname(name)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"address": "pi-2.local", "names": ["pi-2"]},
            "'pi-2.local' for pi-2; expected an IPv4 or IPv6 address",
        ),
        ({"address": "192.168.1.256", "names": ["pi-2"]}, "expected an IPv4 or IPv6 address"),
        ({"address": "192.168.1.12", "names": ["pi 2"]}, "a name of 192.168.1.12 is 'pi 2'; expected"),
        ({"address": "192.168.1.12", "names": ["pi-2\n127.0.0.1"]}, "expected letters, digits and hyphens"),
        ({"address": "192.168.1.12", "names": []}, "no names for 192.168.1.12"),
    ],
)
def test_refused_hosts(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(node_settings.SettingsError, match=message):
        node_settings.check_hosts([entry])


@pytest.mark.parametrize("name", ["overlay; reboot", "", "a b", "../x"])
def test_refused_modules(name: str) -> None:
    with pytest.raises(node_settings.SettingsError, match=r"a kernel module is .*; expected its name"):
        node_settings.check_modules(["overlay", name])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"forwarding": 1}, "is 'forwarding'; expected one such as net.ipv4.ip_forward"),
        ({"net.ipv4.ip forward": 1}, "expected one such as"),
        ({"net.ipv4.ip_forward": True}, "net.ipv4.ip_forward is the boolean true; expected a whole number"),
        ({"net.ipv4.ip_forward": "1\nx"}, "expected a whole number or one line"),
        ({"net.ipv4.ip_forward": ""}, "expected a whole number or one line"),
        ({"net.ipv4.ip_forward": None}, "is null; expected a whole number or one line"),
        ({"net.ipv4.ip_forward": [1]}, "is a list; expected a whole number or one line"),
        ({4: 1}, "the number 4 as a key; expected text: put it in quotes: set os_prep_sysctl"),
    ],
)
def test_refused_sysctl(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(node_settings.SettingsError, match=message):
        node_settings.check_sysctl(settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "pi-1\n"),
        ("raspberrypi\n", "pi-1\n"),
        ("pi-1\n", "pi-1\n"),
        ("pi-1", "pi-1"),
        ("# the first\npi-1\n", "# the first\npi-1\n"),
        ("pi-1\nraspberrypi\n", "pi-1\n"),
    ],
)
def test_hostname_text(text: str, expected: str) -> None:
    assert node_settings.hostname_text(text=text, hostname="pi-1") == expected


def test_hosts_of_raspberry_pi_os() -> None:
    text = node_settings.hosts_text(text=RASPBERRY_PI_OS, hostname="pi-1", entries=RACK)
    assert text == RASPBERRY_PI_OS.replace("raspberrypi", "pi-1") + BLOCK


def test_hosts_template_of_cloud_init() -> None:
    text = node_settings.hosts_text(text=CLOUD_INIT_TEMPLATE, hostname="pi-1", entries=RACK)
    assert text == CLOUD_INIT_TEMPLATE.replace("{{fqdn}} {{hostname}}\n", "pi-1 {{hostname}}\n") + BLOCK


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("127.0.1.1\traspberrypi", "127.0.1.1\tpi-1"),
        ("127.0.1.1 raspberrypi.lan raspberrypi", "127.0.1.1 pi-1.lan pi-1"),
        ("127.0.1.1 raspberrypi printer # mine", "127.0.1.1 pi-1 printer # mine"),
        ("127.0.1.1 pi-1", "127.0.1.1 pi-1"),
        ("127.0.1.1 other pi-1", "127.0.1.1 other pi-1"),
        ("127.0.1.1 {{ fqdn }} {{ hostname }}", "127.0.1.1 pi-1 {{ hostname }}"),
        ("#127.0.1.1 raspberrypi", "#127.0.1.1 raspberrypi"),
        ("127.0.1.10 raspberrypi", "127.0.1.10 raspberrypi"),
        ("192.168.1.9 raspberrypi", "192.168.1.9 raspberrypi"),
    ],
)
def test_own_line(before: str, after: str) -> None:
    assert node_settings.hosts_text(text=before + "\n", hostname="pi-1") == after + "\n"


def test_block_is_replaced_where_it_is() -> None:
    text = "127.0.0.1 localhost\n" + BLOCK + "192.168.1.1 router\n"
    new = node_settings.hosts_text(text=text, entries=[{"address": "fd00::11", "names": ["pi-1"]}])
    assert new == (
        "127.0.0.1 localhost\n# BEGIN bramble.pi\nfd00::11 pi-1\n# END bramble.pi\n192.168.1.1 router\n"
    )
    assert node_settings.hosts_text(text=text, entries=[]) == "127.0.0.1 localhost\n192.168.1.1 router\n"
    assert node_settings.hosts_text(text=text, entries=None) == text


@pytest.mark.parametrize(
    "text",
    [
        "# BEGIN bramble.pi\n192.168.1.11 pi-1\n",
        "192.168.1.11 pi-1\n# END bramble.pi\n",
        "# END bramble.pi\n# BEGIN bramble.pi\n",
        BLOCK + BLOCK,
    ],
)
def test_broken_marks_are_refused(text: str) -> None:
    with pytest.raises(node_settings.SettingsError, match="expected one pair"):
        node_settings.hosts_text(text=text, entries=RACK)


@pytest.mark.parametrize(
    ("line", "conflicts"),
    [
        ("192.168.1.99 pi-1 old", ["192.168.1.99 pi-1 (expected 192.168.1.11)"]),
        ("127.0.0.1 localhost pi-1", ["127.0.0.1 pi-1 (expected 192.168.1.11)"]),
        ("127.0.1.1 pi-1", []),
        ("192.168.1.11 pi-1", []),
        ("fd00::11 pi-1", []),
        ("# 192.168.1.99 pi-1", []),
        ("192.168.1.99 other # pi-1", []),
    ],
)
def test_hosts_conflicts(line: str, conflicts: list[str]) -> None:
    text = f"{line}\n{BLOCK}"
    assert node_settings.hosts_conflicts(text=text, entries=RACK) == conflicts
    # After the block such a line does no harm.
    assert node_settings.hosts_conflicts(text=f"{BLOCK}{line}\n", entries=RACK) == []


MARKS = {node_settings.HOSTS_BEGIN, node_settings.HOSTS_END}
# Lines of others: a mark of ours among them is refused or is a block of ours, which the tests above show.
lines = st.lists(
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])).filter(
        lambda part: part.strip() not in MARKS
    )
).map(lambda parts: "".join(f"{part}\n" for part in parts))


@given(lines)
def test_hosts_keep_foreign_lines_and_settle(text: str) -> None:
    new = node_settings.hosts_text(text=text, entries=RACK)
    assert new == text + BLOCK
    assert node_settings.hosts_text(text=new, entries=RACK) == new
    assert node_settings.hosts_text(text=new, entries=[]) == text


@given(lines)
def test_own_line_settles(text: str) -> None:
    new = node_settings.hosts_text(text=text + "127.0.1.1 raspberrypi\n", hostname="pi-1")
    assert node_settings.hosts_text(text=new, hostname="pi-1") == new
    assert new.endswith("127.0.1.1 pi-1\n")


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("overlay", True),  # /proc/filesystems
        ("loop", True),  # modules.builtin
        ("nf-conntrack", True),
        ("br_netfilter", False),
        ("over", False),
    ],
)
def test_is_built_in(module: str, expected: bool) -> None:
    assert (
        node_settings.is_built_in(
            module=module,
            filesystems="nodev\tsysfs\nnodev\toverlay\n\text4\n",
            modules_builtin="kernel/drivers/block/loop.ko\nkernel/net/netfilter/nf_conntrack.ko.xz\n",
        )
        == expected
    )


def test_module_evidence() -> None:
    assert node_settings.module_evidence("nf-conntrack") == ["/sys/module/nf_conntrack"]
    assert "/proc/sys/net/bridge" in node_settings.module_evidence("br_netfilter")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("net.bridge.bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-iptables"),
        # An interface with a dot in its name, in both notations of sysctl.d(5).
        ("net.ipv4.conf.eth0/100.forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
        ("net/ipv4/conf/eth0.100/forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
    ],
)
def test_sysctl_path(key: str, path: str) -> None:
    assert node_settings.sysctl_path(key) == path


def test_sysctl_values() -> None:
    text = (
        "# net.ipv4.ip_forward=0\n;x=1\n\n-net.ipv4.ip_forward = 1\n"
        "net/ipv4/tcp_rmem=4096\t131072  6291456\nodd\n=\n"
    )
    assert node_settings.sysctl_values(text) == {
        "/proc/sys/net/ipv4/ip_forward": "1",
        "/proc/sys/net/ipv4/tcp_rmem": "4096 131072 6291456",
    }


def test_sysctl_text_is_read_back() -> None:
    text = node_settings.sysctl_text(
        settings={"net.ipv4.ip_forward": 1, "net.ipv4.tcp_rmem": "4096 131072 6291456"}
    )
    assert node_settings.sysctl_values(text) == {
        "/proc/sys/net/ipv4/ip_forward": "1",
        "/proc/sys/net/ipv4/tcp_rmem": "4096 131072 6291456",
    }


@pytest.mark.parametrize(
    ("running", "desired", "same"),
    [("1\n", 1, True), ("0\n", 1, False), ("4096\t131072\t6291456\n", "4096 131072 6291456", True)],
)
def test_is_same_sysctl(running: str, desired: Any, same: bool) -> None:
    assert node_settings.is_same_sysctl(running=running, desired=desired) == same


def test_fstab_of_raspberry_pi_os_has_no_swap() -> None:
    assert node_settings.fstab_without_swap(text=FSTAB) == FSTAB


@pytest.mark.parametrize(
    "line",
    [
        "/swap.img\tnone\tswap\tsw\t0\t0",
        "UUID=0a1b none swap sw,noauto 0 0",
        "  /dev/sda2 swap swap defaults",
        "/var/swap swap swap",
    ],
)
def test_fstab_without_swap(line: str) -> None:
    new = node_settings.fstab_without_swap(text=f"{FSTAB}{line}\n")
    assert new == f"{FSTAB}# swap off by bramble.pi: {line}\n"
    assert node_settings.fstab_without_swap(text=new) == new


@given(st.text())
def test_fstab_settles_and_can_be_undone(text: str) -> None:
    new = node_settings.fstab_without_swap(text=text)
    assert node_settings.fstab_without_swap(text=new) == new
    if node_settings.FSTAB_MARK not in text:
        assert new.replace(node_settings.FSTAB_MARK, "") == text


@given(st.text())
def test_sysctl_values_take_any_text(text: str) -> None:
    node_settings.sysctl_values(text)
