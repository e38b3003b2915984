# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's work below a root of its own: files are real, commands are played from a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._node.apply_settings import NodeSettings
from ansible_collections.bramble.pi.plugins.module_utils._node.settings import SettingsError

SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
UNIT = "[Unit]\nDescription=some unit\n"


class Node:
    """A node in a folder."""

    def __init__(self, root: Path, files: Mapping[str, str]) -> None:
        self.root = root
        self.commands: list[list[str]] = []
        self.warnings: list[str] = []
        self.results: dict[str, tuple[int, str, str]] = {}
        self.effects: dict[str, Callable[[], Any]] = {}
        self.running = {"swapspace.service"}
        for path, text in files.items():
            self.write(path, text)

    def write(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): str(path.readlink()) if path.is_symlink() else path.read_text()
            for path in self.root.rglob("*")
            if path.is_symlink() or path.is_file()
        }

    def run(self, command: list[str]) -> tuple[int, str, str]:
        if command[:2] == ["systemctl", "is-active"]:
            return (0 if command[-1] in self.running else 3), "", ""
        self.commands.append(command)
        line = " ".join(command)
        if line in self.results:
            return self.results[line]
        if command[:2] == ["systemctl", "mask"]:
            link = self.root / "etc/systemd/system" / command[2]
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to("/dev/null")
        if command[:2] == ["systemctl", "stop"]:
            self.running.discard(command[2])
        if line in self.effects:
            self.effects[line]()
        return 0, "", ""

    def settings(self, *, check_mode: bool = False) -> NodeSettings:
        root = str(self.root)
        changes = Changes(check_mode=check_mode, run=self.run, root=root)
        return NodeSettings(run=self.run, warn=self.warnings.append, changes=changes, root=root)


# A Raspberry Pi OS bookworm, with the files that matter here.
FILES = {
    "/etc/hostname": "raspberrypi\n",
    "/etc/hosts": "127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n",
    "/etc/fstab": "PARTUUID=4d8097e2-02  /  ext4  defaults,noatime  0  1\n",
    "/proc/sys/kernel/hostname": "raspberrypi\n",
    "/proc/sys/kernel/osrelease": "6.12.47+rpt-rpi-v8\n",
    "/proc/sys/net/ipv4/ip_forward": "0\n",
    "/proc/filesystems": "nodev\tproc\n\text4\n",
    "/proc/swaps": SWAPS,
    "/lib/modules/6.12.47+rpt-rpi-v8/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
    "/lib/modules/6.12.47+rpt-rpi-v8/modules.dep": "",
}
RACK = [{"address": "192.168.1.11", "names": ["pi-1"]}, {"address": "192.168.1.12", "names": ["pi-2"]}]
BLOCK = "# BEGIN bramble.pi\n192.168.1.11 pi-1\n192.168.1.12 pi-2\n# END bramble.pi\n"
BRIDGE = "/proc/sys/net/bridge/bridge-nf-call-iptables"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path, FILES)
    node.effects["modprobe br_netfilter"] = lambda: node.write(BRIDGE, "0\n")
    node.effects["modprobe overlay"] = lambda: node.write("/proc/filesystems", "nodev\toverlay\n")
    return node


def everything(settings: NodeSettings) -> NodeSettings:
    settings.set_hostname("pi-1")
    settings.set_hosts("pi-1", RACK)
    settings.load_modules(["overlay", "br_netfilter"])
    settings.set_sysctl({"net.bridge.bridge-nf-call-iptables": 1, "net.ipv4.ip_forward": "1"})
    settings.switch_swap_off()
    return settings


def test_everything_on_a_fresh_node(node: Node) -> None:
    before = node.files()
    expected = [
        "write /etc/hostname",
        "set the running host name from raspberrypi to pi-1",
        "write /etc/hosts",
        "write /etc/modules-load.d/bramble.conf",
        "load the kernel module overlay",
        "load the kernel module br_netfilter",
        "write /etc/sysctl.d/99-bramble.conf",
        "set net.bridge.bridge-nf-call-iptables from 0 to 1",
        "set net.ipv4.ip_forward from 0 to 1",
        "mask swap.target",
    ]

    checked = everything(node.settings(check_mode=True))
    # Before the module is loaded nobody knows what its parameter is.
    assert checked.changes.sentences == [
        change.replace("iptables from 0 to 1", "iptables to 1") for change in expected
    ]
    assert node.commands == []
    assert node.files() == before

    done = everything(node.settings())
    assert done.changes.sentences == expected
    assert done.pending == []
    assert done.changes.diffs == checked.changes.diffs
    assert node.commands == [
        ["modprobe", "overlay"],
        ["modprobe", "br_netfilter"],
        ["systemctl", "mask", "swap.target"],
    ]
    assert node.read("/etc/hosts") == "127.0.0.1\tlocalhost\n127.0.1.1\tpi-1\n" + BLOCK
    assert node.read("/proc/sys/kernel/hostname") == "pi-1"
    assert node.read(BRIDGE) == "1"
    assert node.warnings == []

    node.commands.clear()
    again = everything(node.settings())
    assert (again.changes.sentences, again.pending, again.changes.diffs, node.commands) == ([], [], [], [])


def test_running_value_is_repaired_although_the_file_is_right(node: Node) -> None:
    everything(node.settings())
    node.write("/proc/sys/net/ipv4/ip_forward", "0\n")
    assert everything(node.settings()).changes.sentences == ["set net.ipv4.ip_forward from 0 to 1"]


def test_cloud_init(node: Node) -> None:
    node.write("/etc/cloud/cloud.cfg.d/README", "")
    node.write("/etc/cloud/templates/hosts.debian.tmpl", "127.0.1.1 {{fqdn}} {{hostname}}\n")
    settings = node.settings()
    settings.set_hosts("pi-1", RACK)
    drop_in = node.read("/etc/cloud/cloud.cfg.d/99-bramble.cfg")
    assert drop_in.endswith("\npreserve_hostname: true\nmanage_etc_hosts: false\n")
    assert node.read("/etc/cloud/templates/hosts.debian.tmpl").endswith(BLOCK)
    assert len(settings.changes.sentences) == 3


def test_contradicting_hosts_are_named(node: Node) -> None:
    node.write("/etc/hosts", "127.0.0.1 localhost\n10.0.0.2 pi-2\n")
    node.settings().set_hosts("pi-1", RACK)
    assert len(node.warnings) == 1
    assert "10.0.0.2 pi-2 (expected 192.168.1.12)" in node.warnings[0]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/sys/module/br_netfilter/refcnt", "0\n"),
        (BRIDGE, "1\n"),
        ("/lib/modules/6.12.47+rpt-rpi-v8/modules.builtin", "kernel/net/bridge/br_netfilter.ko\n"),
    ],
)
def test_loaded_or_built_in(node: Node, path: str, text: str) -> None:
    node.write(path, text)
    node.settings().load_modules(["br_netfilter"])
    assert node.commands == []


def test_module_that_is_not_there(node: Node) -> None:
    node.results["modprobe vxlan"] = (1, "", "modprobe: FATAL: Module vxlan not found in directory /lib\n")
    with pytest.raises(BrambleError, match="vxlan") as error:
        node.settings().load_modules(["vxlan"])
    for part in (
        "6.12.47+rpt-rpi-v8",
        "FATAL: Module vxlan not found",
        "Ubuntu 21.10 to 23.10 linux-modules-extra-raspi",
    ):
        assert part in str(error.value)


def test_kernel_was_upgraded_since_boot(node: Node) -> None:
    node.write("/proc/sys/kernel/osrelease", "6.1.21-v8+\n")
    for _run in range(2):
        settings = node.settings()
        settings.load_modules(["br_netfilter"])
        # The parameter cannot be set before the reboot, which brings module and parameter.
        settings.set_sysctl({"net.bridge.bridge-nf-call-iptables": 1})
        assert len(settings.pending) == 1
        assert "/lib/modules/6.1.21-v8+ is gone" in settings.pending[0]
    assert settings.changes.sentences == []
    assert node.commands == []


def test_parameter_without_its_module(node: Node) -> None:
    with pytest.raises(SettingsError, match=r"no parameter net\.bridge\..*kernel_modules"):
        node.settings().set_sysctl({"net.bridge.bridge-nf-call-iptables": 1})


def test_file_that_would_undo_a_parameter(node: Node) -> None:
    node.write("/usr/lib/sysctl.d/50-default.conf", "net.ipv4.ip_forward = 0\n")
    node.write("/etc/sysctl.d/99-sysctl.conf", "net.ipv4.ip_forward=1\n")
    node.settings().set_sysctl({"net.ipv4.ip_forward": 1})
    node.write("/etc/sysctl.d/99-sysctl.conf", "net/ipv4/ip_forward=0\n")
    message = re.escape("/etc/sysctl.d/99-sysctl.conf sets net.ipv4.ip_forward to 0")
    with pytest.raises(SettingsError, match=message):
        node.settings().set_sysctl({"net.ipv4.ip_forward": 1})


@pytest.mark.parametrize(
    ("files", "active", "changes", "commands"),
    [
        pytest.param(
            {"/lib/systemd/system/dphys-swapfile.service": UNIT},
            "/var/swap",
            ["mask swap.target", "mask dphys-swapfile.service", "switch off swap on /var/swap"],
            ["systemctl mask swap.target", "systemctl mask dphys-swapfile.service", "swapoff /var/swap"],
            id="Raspberry Pi OS bullseye and bookworm",
        ),
        pytest.param(
            {"/etc/rpi/swap.conf": "[Main]\n#Mechanism=auto\n"},
            "/dev/zram0",
            [
                "write /etc/rpi/swap.conf.d/99-bramble.conf",
                "mask swap.target",
                "switch off swap on /dev/zram0",
            ],
            ["systemctl mask swap.target", "swapoff /dev/zram0"],
            id="Raspberry Pi OS trixie",
        ),
        pytest.param(
            {"/etc/fstab": "/dev/sda1 / ext4 defaults 0 1\n/swap.img none swap sw 0 0\n"},
            "/swap.img",
            [
                "keep /etc/fstab as /etc/fstab.bramble-original",
                "comment out the swap lines of /etc/fstab",
                "mask swap.target",
                "switch off swap on /swap.img",
            ],
            ["systemctl mask swap.target", "swapoff /swap.img"],
            id="Ubuntu and Debian",
        ),
        pytest.param(
            {"/usr/lib/systemd/system/zramswap.service": UNIT},
            "/dev/zram0",
            ["mask swap.target", "mask zramswap.service", "switch off swap on /dev/zram0"],
            ["systemctl mask swap.target", "systemctl mask zramswap.service", "swapoff /dev/zram0"],
            id="zram-tools",
        ),
        *(
            pytest.param(
                {path: UNIT},
                "/dev/zram0",
                [
                    "mask swap.target",
                    f"mask {service}.service",
                    *(f"{verb} {service}.service" for verb in stops),
                    "switch off swap on /dev/zram0",
                ],
                [
                    "systemctl mask swap.target",
                    f"systemctl mask {service}.service",
                    *(f"systemctl {verb} {service}.service" for verb in stops),
                    "swapoff /dev/zram0",
                ],
                id=f"{service} of {path}",
            )
            for service, path, stops in [
                ("zram-config", "/lib/systemd/system/zram-config.service", []),
                ("zram-config", "/etc/init.d/zram-config", []),
                ("zram-swap", "/lib/systemd/system/zram-swap.service", []),
                ("armbian-zram-config", "/lib/systemd/system/armbian-zram-config.service", []),
                ("swapspace", "/usr/lib/systemd/system/swapspace.service", ["stop"]),
                ("systemd-swap", "/usr/lib/systemd/system/systemd-swap.service", []),
            ]
        ),
        pytest.param(
            {
                "/etc/systemd/system/zram-swap.service": UNIT,
                "/etc/systemd/system/multi-user.target.wants/zram-swap.service": UNIT,
            },
            "/dev/zram0",
            ["mask swap.target", "disable zram-swap.service", "switch off swap on /dev/zram0"],
            ["systemctl mask swap.target", "systemctl disable zram-swap.service", "swapoff /dev/zram0"],
            id="a service that a script installed",
        ),
        pytest.param(
            {
                "/etc/systemd/system/swapfile.swap": UNIT,
                "/etc/systemd/system/multi-user.target.wants/swapfile.swap": UNIT,
                "/etc/systemd/system/swap.target.wants/other.swap": UNIT,
            },
            "",
            ["mask swap.target", "disable swapfile.swap"],
            ["systemctl mask swap.target", "systemctl disable swapfile.swap"],
            id="a swap unit of the administrator",
        ),
    ],
)
def test_swap_off(
    node: Node, files: Mapping[str, str], active: str, changes: list[str], commands: list[str]
) -> None:
    for path, text in files.items():
        node.write(path, text)
    if active:
        node.write("/proc/swaps", f"{SWAPS}{active}  partition\t102396\t\t0\t\t-2\n")
        node.effects[f"swapoff {active}"] = lambda: node.write("/proc/swaps", SWAPS)
    wants = node.root / "etc/systemd/system/multi-user.target.wants/swapfile.swap"
    node.effects["systemctl disable swapfile.swap"] = wants.unlink
    node.effects["systemctl disable zram-swap.service"] = wants.with_name("zram-swap.service").unlink

    checked = node.settings(check_mode=True)
    checked.switch_swap_off()
    assert (checked.changes.sentences, node.commands) == (changes, [])

    settings = node.settings()
    settings.switch_swap_off()
    assert settings.changes.sentences == changes
    assert [" ".join(command) for command in node.commands] == commands

    again = node.settings()
    again.switch_swap_off()
    assert (again.changes.sentences, again.pending) == ([], [])


def test_a_service_that_a_killed_run_masked_and_did_not_stop(node: Node) -> None:
    """It would make swap again as soon as memory is short."""
    node.write("/usr/lib/systemd/system/swapspace.service", UNIT)

    def kill() -> None:
        raise KeyboardInterrupt

    stop = "stop swapspace.service"
    node.effects["systemctl mask swapspace.service"] = kill
    with pytest.raises(KeyboardInterrupt):
        node.settings().switch_swap_off()
    checked, settled = node.settings(check_mode=True), node.settings()
    for settings in (checked, settled):
        settings.switch_swap_off()
        assert settings.changes.sentences == [stop]
    again = node.settings()
    again.switch_swap_off()
    assert not again.changes


def test_fstab_is_kept_as_it_was_at_first(node: Node) -> None:
    original = node.read("/etc/fstab") + "/swap.img none swap sw 0 0\n"
    node.write("/etc/fstab", original)
    node.settings().switch_swap_off()
    node.write("/etc/fstab", node.read("/etc/fstab") + "/dev/sda2 none swap sw 0 0\n")
    node.settings().switch_swap_off()
    assert node.read("/etc/fstab.bramble-original") == original
    assert node.read("/etc/fstab").count("# swap off by bramble.pi: ") == 2


def test_swap_that_does_not_fit_into_memory(node: Node) -> None:
    node.write("/proc/swaps", f"{SWAPS}/var/swap  file\t102396\t\t99999\t\t-2\n")
    node.results["swapoff /var/swap"] = (255, "", "swapoff: /var/swap: Cannot allocate memory\n")
    settings = node.settings()
    settings.switch_swap_off()
    assert settings.pending == [
        "swap on /var/swap is still in use: swapoff: /var/swap: Cannot allocate memory"
    ]


def test_unit_that_cannot_be_masked(node: Node) -> None:
    node.results["systemctl mask swap.target"] = (1, "", "Failed to mask unit: File exists\n")
    with pytest.raises(BrambleError, match=r"'systemctl mask swap\.target' ended with 1: Failed to mask"):
        node.settings().switch_swap_off()
