# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an update would do is read from what apt prints, and each reason for a reboot is one, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._node import os_update
from ansible_collections.bramble.pi.plugins.module_utils._node.os_update import Simulation, System, Upgrade

BOOKWORM = """\
Reading package lists...
Building dependency tree...
Reading state information...
Calculating upgrade...
The following packages have been kept back:
  kubeadm kubectl
  kubelet
The following NEW packages will be installed:
  linux-image-6.1.0-31-arm64
The following packages will be REMOVED:
  libold1
The following packages will be upgraded:
  libc6
1 upgraded, 1 newly installed, 1 to remove and 3 not upgraded.
Remv libold1 [1.0-1]
Inst libc6 [2.36-9+deb12u8] (2.36-9+deb12u9 Debian:12.9/stable, Debian-Security:12/stable-security [arm64]) []
Inst linux-image-6.1.0-31-arm64 (6.1.128-1 Debian:12.9/stable [arm64])
Conf libc6 (2.36-9+deb12u9 Debian:12.9/stable [arm64])
"""
#: As apt 3 says it.
KEPT_BACK = "Not upgrading yet due to phasing:\n  base-files  motd-news-config\n\nSummary:\n  Upgrading: 0\n"

RPI = "6.12.34+rpt-rpi-v8"
QUIET = System(kernel=RPI, kernels=[RPI], unpacked=[], asked=None, outdated={}, eeprom=False)
LIBC = "/usr/lib/aarch64-linux-gnu/libc.so.6"


def test_reads_what_apt_would_do() -> None:
    assert os_update.read_simulation(text=BOOKWORM) == Simulation(
        upgrades=[
            Upgrade("libc6", "2.36-9+deb12u8", "2.36-9+deb12u9"),
            Upgrade("linux-image-6.1.0-31-arm64", None, "6.1.128-1"),
        ],
        removed=["libold1"],
        kept_back=["kubeadm", "kubectl", "kubelet"],
    )
    assert os_update.read_simulation(text=KEPT_BACK) == Simulation([], [], ["base-files", "motd-news-config"])
    assert os_update.read_simulation(text="") == Simulation([], [], [])


@pytest.mark.parametrize(
    ("simulation", "text"),
    [
        pytest.param(
            Simulation([Upgrade("kubelet", "1.36.1-1.1", "1.36.2-1.1")], [], []),
            "kubelet 1.36.1-1.1 would become 1.36.2-1.1; expected packages of Kubernetes that are held",
            id="not held",
        ),
        pytest.param(
            Simulation([Upgrade("docker.io", None, "27")], ["containerd", "vim"], []),
            "apt would remove containerd; expected an update that leaves",
            id="runtime removed",
        ),
    ],
)
def test_refuses_what_an_update_is_not(simulation: Simulation, text: str) -> None:
    with pytest.raises(os_update.OsUpdateError, match=text):
        os_update.refuse(simulation=simulation)


def test_takes_what_an_update_is() -> None:
    os_update.refuse(
        simulation=Simulation([Upgrade("containerd", "1.7.24", "1.7.27")], ["libold1"], ["kubelet"])
    )


@pytest.mark.parametrize(
    ("running", "kernels", "newest"),
    [
        # Raspberry Pi OS has the kernels of all boards; another sort is none that this board starts.
        (RPI, [RPI, "6.12.47+rpt-rpi-v8", "6.12.62+rpt-rpi-2712"], "6.12.47+rpt-rpi-v8"),
        (RPI, [RPI, "6.12.62+rpt-rpi-2712"], None),
        ("6.1.0-9-arm64", ["6.1.0-9-arm64", "6.1.0-10-arm64"], "6.1.0-10-arm64"),
        (
            "6.12.43+deb13-arm64",
            ["6.12.48+deb13.1-arm64", "6.12.48+deb13.1-cloud-arm64"],
            "6.12.48+deb13.1-arm64",
        ),
        (
            "6.8.0-1013-raspi",
            ["6.8.0-1013-raspi", "6.8.0-1030-raspi", "6.8.0-1028-raspi"],
            "6.8.0-1030-raspi",
        ),
        ("6.8.0-1030-raspi", ["6.8.0-1013-raspi"], None),
        ("6.1.21-v8+", ["6.1.21-v8+", "6.1.21-v7l+"], None),
        ("custom", ["6.1.0-9-arm64"], None),
        (RPI, [], None),
    ],
)
def test_finds_a_newer_kernel_of_the_same_sort(running: str, kernels: list[str], newest: str | None) -> None:
    assert os_update.newer_kernel(running=running, kernels=kernels) == newest


@pytest.mark.parametrize(
    ("changed", "reasons"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param(
            {"kernels": [RPI, "6.12.47+rpt-rpi-v8"], "unpacked": ["linux-image-6.12.47+rpt-rpi-v8"]},
            ["kernel 6.12.47+rpt-rpi-v8 is installed and 6.12.34+rpt-rpi-v8 runs"],
            id="newer kernel",
        ),
        # Else each run would reboot it once more.
        pytest.param(
            {"kernels": [RPI, "6.12.47+rpt-rpi-v8"]}, [], id="newer kernel, not started by a boot since"
        ),
        pytest.param(
            {
                "kernel": "6.8.0-1013-raspi",
                "kernels": ["6.8.0-1030-raspi"],
                "unpacked": ["linux-image-6.8.0-1030-raspi-unsigned"],
            },
            ["kernel 6.8.0-1030-raspi is installed and 6.8.0-1013-raspi runs"],
            id="unsigned",
        ),
        pytest.param(
            {"unpacked": [f"linux-image-{RPI}"]},
            ["kernel 6.12.34+rpt-rpi-v8 was replaced by a newer build"],
            id="newer build",
        ),
        pytest.param(
            {"unpacked": ["linux-image-6.12.34+rpt-rpi-2712", "vim"]}, [], id="a kernel of another board"
        ),
        pytest.param(
            {"unpacked": ["raspi-firmware"]}, ["firmware (raspi-firmware) was replaced"], id="firmware"
        ),
        pytest.param({"eeprom": True}, ["a new EEPROM is written at the next boot"], id="EEPROM"),
        pytest.param(
            {"outdated": {"dbus.service": {LIBC}, "ssh.service": {LIBC}}},
            ["dbus.service uses libc.so.6 as it was before, and is not restarted while the node runs"],
            id="library",
        ),
        pytest.param({"outdated": {"ssh.service": {LIBC}}}, [], id="library of what can be restarted"),
        pytest.param(
            {"asked": {"linux-base", "libssl3"}},
            ["libssl3, linux-base asks for it (/run/reboot-required)"],
            id="asked for",
        ),
        pytest.param(
            {"asked": ()}, ["a package asks for it (/run/reboot-required)"], id="asked for by nobody"
        ),
        pytest.param(
            {"asked": {"linux-image-x"}, "unpacked": ["raspi-firmware"]},
            ["firmware (raspi-firmware) was replaced"],
            id="said once",
        ),
    ],
)
def test_says_why_a_node_needs_a_reboot(changed: dict[str, Any], reasons: list[str]) -> None:
    assert os_update.reboot_reasons(system=QUIET._replace(**changed)) == reasons


def test_a_kernel_that_boots_do_not_start_is_named() -> None:
    there = QUIET._replace(kernels=[RPI, "6.12.47+rpt-rpi-v8"])
    assert os_update.unstarted_kernel(system=there) == "6.12.47+rpt-rpi-v8"
    assert os_update.unstarted_kernel(system=QUIET) is None
    new = there._replace(unpacked=["linux-image-6.12.47+rpt-rpi-v8"])
    assert os_update.unstarted_kernel(system=new) is None


@pytest.mark.parametrize(
    ("upgrades", "in_use", "files", "number"),
    [
        pytest.param(["vim"], {"dbus.service": {LIBC}}, ["/usr/bin/vim"], 0, id="not in use"),
        pytest.param(["libc6"], {"dbus.service": {LIBC}}, [LIBC], 1, id="in use"),
        # As packaged before /lib was merged.
        pytest.param(["libc6"], {"dbus.service": {LIBC}}, [LIBC[4:]], 1, id="in use, by its old path"),
        pytest.param(["systemd"], {"init.scope": {LIBC}}, [LIBC], 0, id="the manager takes its own place"),
        pytest.param(["linux-image-6.12.47+rpt-rpi-v8"], {}, [], 1, id="kernel"),
        pytest.param(["linux-image-6.12.47+rpt-rpi-2712"], {}, [], 0, id="another board's kernel"),
        pytest.param(["linux-image-6.12.47+rpt-rpi-v8-dbg"], {}, [], 0, id="symbols of a kernel"),
        pytest.param(["raspi-firmware"], {}, [], 1, id="firmware"),
    ],
)
def test_foresees_a_reboot(
    upgrades: list[str], in_use: dict[str, set[str]], files: list[str], number: int
) -> None:
    simulation = Simulation([Upgrade(name, "1", "2") for name in upgrades], [], [])
    system = os_update.after_update(system=QUIET, simulation=simulation, in_use=in_use, files=files)
    assert len(os_update.reboot_reasons(system=system)) == number


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/dbus.service\n", "dbus.service"),
        ("0::/init.scope\n", "init.scope"),
        ("0::/system.slice/system-wpa.slice/wpa_supplicant@wlan0.service\n", "wpa_supplicant@wlan0.service"),
        ("5:memory:/system.slice\n1:name=systemd:/system.slice/ssh.service\n0::/\n", "ssh.service"),
        ("0::/system.slice/system-getty.slice/getty@tty1.service\n", None),
        ("0::/user.slice/user-1000.slice/session-4.scope\n", None),
        ("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-ab.scope\n", None),
        ("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-ab.scope/system.slice/dbus.service\n", None),
        ("0::/system.slice/docker-ab.scope\n", None),
        ("0::/\n", None),
    ],
)
def test_knows_the_unit_of_a_process(cgroup: str, unit: str | None) -> None:
    assert os_update.unit_of(cgroup=cgroup) == unit


def test_reads_libraries_of_a_process() -> None:
    maps = (
        "ffff8000-ffff9000 r-xp 00000000 b3:02 1234 /usr/lib/aarch64-linux-gnu/libc.so.6\n"
        "ffffa000-ffffb000 r--p 00000000 b3:02 1235 /usr/lib/aarch64-linux-gnu/libm.so.6 (deleted)\n"
        "ffffc000-ffffd000 r-xp 00000000 b3:02 1236     /lib/systemd/libsystemd-shared-252.so (deleted)\n"
        "ffffe000-fffff000 r-xp 00000000 00:01 1237 /memfd:x.so (deleted)\n"
        "fffff000-fffff800 r-xp 00000000 b3:02 1238 /usr/bin/dbus-daemon (deleted)\n"
    )
    shared = "/lib/systemd/libsystemd-shared-252.so"
    assert os_update.libraries(maps=maps) == ({LIBC, shared}, {shared})
