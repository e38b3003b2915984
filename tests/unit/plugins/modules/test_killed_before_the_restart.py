# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed after it wrote files, and before they count, is finished by the next one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.namespace_node import NamespaceNode

RACK: dict[str, Any] = {
    "interface": "eth0",
    "address": "10.0.0.1",
    "network": "10.0.0.0/24",
    "domain": "rack.internal",
}
NAT = {"inner_interface": "eth0", "outer_interface": "peer"}
#: What a module is given first and then, and the unit that it restarts for that.
MODULES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "nat_forwarding": ({**NAT, "ipv6": "routed"}, {**NAT, "ipv6": "off"}, "bramble-nat.service"),
    "rack_services": (RACK, {**RACK, "domain": "rack2.internal"}, "dnsmasq"),
    "time_servers": ({"servers": ["10.0.0.1"]}, {"servers": ["10.0.0.2"]}, "systemd-timesyncd"),
}
STEPS = ("stop", "daemon-reload", "start")
PREPARE = "ip address add 10.0.0.1/24 dev eth0; echo 1 >/run/started-systemd-timesyncd"


@pytest.fixture
def node(tmp_path: Path) -> NamespaceNode:
    node = NamespaceNode(tmp_path, folders=["/etc/systemd/system"])
    node.systemd()
    for program in ("iptables", "iptables-restore", "ip6tables", "ip6tables-restore"):
        node.program(program, "")
    return node


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        *((name, verb) for name in ("nat_forwarding", "rack_services") for verb in STEPS),
        ("time_servers", "restart"),
    ],
)
def test_the_next_run_finishes_it(node: NamespaceNode, name: str, verb: str) -> None:
    first, then, unit = MODULES[name]
    step = node.module(name, **then)
    outputs = node.run(
        PREPARE,
        node.module(name, **first),
        f"echo {verb} >/run/kill-at",
        step,
        ": >/run/systemctl",
        node.module(name, check=True, **then),
        step,
        "cat /run/systemctl",
        step,
    )
    assert node.result(outputs[1])["changed"]
    assert outputs[3] == "", "the run was not killed"
    for finished in outputs[5:7]:
        assert f"restart {unit}" in node.result(finished)["changes"]
    assert f"start {unit}" in outputs[7].split("\n")
    assert node.result(outputs[8])["changes"] == []


@pytest.mark.parametrize("verb", STEPS)
def test_what_others_wrote_is_brought_into_effect(node: NamespaceNode, verb: str) -> None:
    """The files are those of a role, which knows in the run that wrote them that it did."""
    unit = "proxy.service"
    given: dict[str, Any] = {"unit": unit, "files": [f"/etc/systemd/system/{unit}", "/run/configuration"]}
    outputs = node.run(
        f"echo '[Service]' >/etc/systemd/system/{unit}",
        node.module("systemd_unit", **given),
        f"sleep 0.1; echo new >/run/configuration; echo {verb} >/run/kill-at",
        node.module("systemd_unit", changed=True, **given),
        node.module("systemd_unit", check=True, **given),
        node.module("systemd_unit", **given),
        node.module("systemd_unit", **given),
        node.module("systemd_unit", check=True, changed=True, **given),
    )
    assert node.result(outputs[1])["changes"] == [f"start {unit} at each boot", f"restart {unit}"]
    assert outputs[3] == "", "the run was not killed"
    assert node.result(outputs[4])["changes"] == [f"restart {unit}"]
    assert node.result(outputs[5])["changes"] == [f"restart {unit}"]
    assert not node.result(outputs[6])["changed"]
    assert node.result(outputs[7])["changes"] == [f"restart {unit}"]


#: As much of dpkg and apt as an upgrade of the kubelet takes.
APT = {
    "dpkg-query": r"""printf 'kubelet\tii \t%s\n' "$(cat /run/kubelet)" """,
    "apt-cache": "echo 'kubelet | 1.36.2-1.1 | http://127.0.0.1:8000/deb  Packages'",
    "apt-get": """case "$*" in *install*) ;; *) exit 0 ;; esac
echo 1.36.2-1.1 >/run/kubelet
touch /var/lib/dpkg/info/kubelet.list
[ "$(cat /run/kill-at 2>/dev/null)" != install ] || { rm /run/kill-at; kill -9 "$PPID"; }""",
}
KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQEN\n-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.mark.parametrize("moment", ["install", "daemon-reload", "try-restart"])
def test_the_kubelet_becomes_its_new_version(node: NamespaceNode, moment: str) -> None:
    for program, text in APT.items():
        node.program(program, text)
    node.write("/run/key/Release.key", KEY)
    given: dict[str, Any] = {
        "version": "1.36.2",
        "repository": "http://127.0.0.1:8000/",
        "packages": ["kubelet"],
        "hold": False,
    }
    step = node.module("kube_packages", **given)
    outputs = node.run(
        f"{sys.executable} -m http.server --directory /run/key 8000 >/dev/null 2>&1 & echo $! >/run/server",
        "while ! ss --listening --tcp --numeric | grep -q :8000; do sleep 0.1; done",
        "mkdir -p /var/lib/dpkg/info; touch /var/lib/dpkg/info/kubelet.list; echo 1.36.1-1.1 >/run/kubelet",
        "systemctl enable kubelet.service; systemctl start kubelet.service",
        f"sleep 0.1; echo {moment} >/run/kill-at",
        step,
        node.module("kube_packages", check=True, **given),
        step,
        step,
        "kill $(cat /run/server)",
    )
    assert outputs[5] == "", "the run was not killed"
    assert node.result(outputs[6])["changes"] == ["restart kubelet.service"]
    assert node.result(outputs[7])["changes"] == ["restart kubelet.service"]
    assert not node.result(outputs[8])["changed"]


def test_time_goes_on_whatever_is_killed(node: NamespaceNode) -> None:
    """Nothing starts it again where it is not known to run."""
    step = node.module("time_servers", servers=["10.0.0.1"])
    _prepared, output, asked = node.run(PREPARE, step, "cat /run/systemctl")
    assert node.result(output)["changes"][1] == "restart systemd-timesyncd"
    assert asked.startswith("restart systemd-timesyncd\n")


def test_an_uplink_is_brought_up_by_the_next_run(node: NamespaceNode) -> None:
    kill = "[ ! -e /run/kill-at ] || { rm /run/kill-at; kill -9 $PPID; exit 1; }"
    node.program("networkctl", f"{kill}\necho $1 >>/run/log")
    step = node.module("uplink", interface="eth0", manager="networkd")
    outputs = node.run(": >/run/kill-at", step, step, "cat /run/log", step, "ls /run/bramble")
    assert outputs[1] == "", "the run was not killed"
    assert node.result(outputs[2])["changes"] == ["bring eth0 up"]
    assert outputs[3] == "reload\n"
    assert node.result(outputs[4])["changes"] == []
    assert outputs[5] == ""
