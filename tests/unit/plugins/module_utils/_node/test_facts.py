# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._node import facts
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures" / "node_facts"


def sample(name: str) -> str:
    return (FIXTURES / name).read_text()


@pytest.mark.parametrize(
    ("name", "has_rpi_issue", "expected"),
    [
        ("raspberry-pi-os-bullseye-32", True, ("raspbian", "11", "bullseye", True)),
        ("raspberry-pi-os-bookworm-32", True, ("raspbian", "12", "bookworm", True)),
        ("raspberry-pi-os-trixie-32", True, ("raspbian", "13", "trixie", True)),
        # 64-bit Raspberry Pi OS has Debian's os-release.
        ("debian-bullseye", True, ("debian", "11", "bullseye", True)),
        ("debian-bookworm", True, ("debian", "12", "bookworm", True)),
        ("debian-trixie", True, ("debian", "13", "trixie", True)),
        ("debian-bookworm", False, ("debian", "12", "bookworm", False)),
        ("debian-trixie", False, ("debian", "13", "trixie", False)),
        ("ubuntu-noble", False, ("ubuntu", "24.04", "noble", False)),
        ("fedora", False, ("fedora", "39", "", False)),
    ],
)
def test_distribution(name: str, has_rpi_issue: bool, expected: tuple[str, str, str, bool]) -> None:
    found = facts.distribution(os_release=sample(f"os-release.{name}"), has_rpi_issue=has_rpi_issue)
    assert found.pop("name") in sample(f"os-release.{name}")
    assert tuple(found.values()) == expected
    assert tuple(found) == ("id", "version", "codename", "raspberry_pi_os")


def test_distribution_without_os_release() -> None:
    assert facts.distribution(os_release="", has_rpi_issue=False)["id"] == "linux"


@pytest.mark.parametrize(
    ("model", "raspberry_pi_os", "boot_files", "expected"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4\0", False, [], True),
        (None, True, [], True),
        (None, False, ["/boot/firmware/cmdline.txt"], True),
        (None, False, [], False),
        ("Hardkernel ODROID-N2\0", False, [], False),
    ],
)
def test_pi_firmware(model: str | None, raspberry_pi_os: bool, boot_files: list[str], expected: bool) -> None:
    assert (
        facts.has_pi_firmware(model=model, raspberry_pi_os=raspberry_pi_os, boot_files=boot_files) == expected
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", []),
        ("zram", ["/dev/zram0"]),
        ("several", ["/var/swap", "/dev/zram0", "/media/usb disk/swap"]),
    ],
)
def test_active_swaps(name: str, expected: list[str]) -> None:
    assert facts.active_swaps(text=sample(f"swaps.{name}")) == expected


def test_no_proc_swaps() -> None:
    assert facts.active_swaps(text="") == []


def test_cgroup_v2_counts_where_it_is() -> None:
    # A kernel without the memory controller of version 1 says nothing of it in /proc/cgroups.
    found = facts.cgroup(
        v2_controllers="cpuset cpu io memory pids\n", v1_table=sample("cgroups.pi-without-memory")
    )
    assert found == {"version": 2, "controllers": ["cpuset", "cpu", "io", "memory", "pids"]}


def test_cgroup_v2_without_controllers() -> None:
    assert facts.cgroup(v2_controllers="\n", v1_table="") == {"version": 2, "controllers": []}


def test_cgroup_v1() -> None:
    everything = facts.cgroup(v2_controllers=None, v1_table=sample("cgroups.all"))
    assert everything["version"] == 1
    assert {"cpuset", "memory"} <= set(everything["controllers"])
    switched_off = facts.cgroup(v2_controllers=None, v1_table=sample("cgroups.pi-without-memory"))
    assert "cpuset" in switched_off["controllers"]
    assert "memory" not in switched_off["controllers"]


def test_installed_packages() -> None:
    found = facts.installed_packages(text=sample("dpkg-query.trixie-arm64"))
    assert found["dpkg"] == ("1.22.21", "arm64")
    assert found["docker.io"][0] == "26.1.5+dfsg1-9+b9"
    # Neither what was never installed nor what was removed counts.
    assert "chrony" not in found
    assert "kubernetes-cni" not in found


@pytest.mark.parametrize(
    ("output", "synchronized", "available", "enabled"),
    [
        (sample("timedatectl.synchronized"), True, True, True),
        (sample("timedatectl.no-service"), False, False, False),
        ("Failed to connect to bus: No such file or directory\n", False, False, False),
        ("", False, False, False),
    ],
)
def test_clock(output: str, synchronized: bool, available: bool, enabled: bool) -> None:
    assert facts.clock(timedatectl=output, utc="2026-10-01T12:00:00Z") == {
        "synchronized": synchronized,
        "ntp_available": available,
        "ntp_enabled": enabled,
        "utc": "2026-10-01T12:00:00Z",
    }


@given(st.text())
def test_parsers_take_any_text(text: str) -> None:
    facts.distribution(os_release=text, has_rpi_issue=False)
    facts.active_swaps(text=text)
    facts.cgroup(v2_controllers=None, v1_table=text)
    facts.installed_packages(text=text)
    facts.clock(timedatectl=text, utc="")


@pytest.mark.parametrize(
    ("in_kernel", "modules_dep", "modules_builtin", "expected"),
    [
        (True, None, None, True),
        (False, "kernel/drivers/net/vxlan/vxlan.ko.xz: kernel/net/ipv4/udp_tunnel.ko.xz\n", "", True),
        (False, "kernel/drivers/net/vxlan.ko: kernel/net/ipv4/udp_tunnel.ko\n", None, True),
        (False, "", "kernel/fs/ext4/ext4.ko\nkernel/drivers/net/vxlan/vxlan.ko\n", True),
        # Ubuntu's kernels for the Pi from 21.10 to 23.x, without linux-modules-extra-raspi.
        (False, "kernel/drivers/net/veth.ko:\nkernel/net/openvswitch/vport-vxlan.ko: x\n", "", False),
        # A container: the modules are the machine's.
        (False, None, None, None),
    ],
)
def test_vxlan(
    in_kernel: bool, modules_dep: str | None, modules_builtin: str | None, expected: bool | None
) -> None:
    found = facts.has_vxlan(in_kernel=in_kernel, modules_dep=modules_dep, modules_builtin=modules_builtin)
    assert found is expected


def test_cni_configurations_in_the_order_in_which_they_count() -> None:
    texts = {
        "10-flannel.conflist": '{"name": "cbr0", "plugins": [{"type": "flannel"}, {"type": "portmap"}]}',
        "00-multus.conf": '{"type": "multus-shim", "clusterNetwork": "/host/10-flannel.conflist"}',
        "05-broken.conf": "{",
        "06-empty.conf": "[]",
        "87-x.conflist": '{"plugins": [{"type": "bridge", "ipam": {"type": "host-local"}, "token": "x"}]}',
    }
    assert facts.cni_configurations(texts=texts) == [
        {"file": "00-multus.conf", "types": ["multus-shim"]},
        {"file": "05-broken.conf", "types": []},
        {"file": "06-empty.conf", "types": []},
        {"file": "10-flannel.conflist", "types": ["flannel", "portmap"]},
        {"file": "87-x.conflist", "types": ["bridge", "host-local"]},
    ]


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("", []),
        (
            'KUBELET_KUBEADM_ARGS="--container-runtime=remote --container-runtime-endpoint=unix:///run/a-b.sock"\n',
            ["container-runtime", "container-runtime-endpoint"],
        ),
        (
            "# KUBELET_EXTRA_ARGS=--network-plugin=cni\nKUBELET_EXTRA_ARGS=-v 2 --node-ip=10.0.0.7\n",
            ["node-ip", "v"],
        ),
        ("KUBELET_EXTRA_ARGS='--cni-bin-dir /opt/cni/bin'", ["cni-bin-dir"]),
    ],
)
def test_flags_in_a_file_of_variables(text: str, flags: list[str]) -> None:
    assert facts.flags(environment=text) == flags
