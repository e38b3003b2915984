# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An update of a system of its own by the real apt and dpkg: check mode, update, both again, and killed."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.apt import ENVIRONMENT, AptError
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._node.apply_os_update import OsUpdate
from ansible_collections.bramble.pi.plugins.module_utils._node.os_update import OsUpdateError

from tests.apt_repository import publish

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="dpkg needs root")

RUNNING = os.uname().release
#: Ends all of the run, once.
KILL = '[ ! -e "$DPKG_ROOT/kill" ] || { rm "$DPKG_ROOT/kill"; kill -9 0; }'


class Node:
    """A folder that has what dpkg and apt have on a node, and a repository beside it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.repository = folder / "repository"
        self.warnings: list[str] = []
        self.commands: list[list[str]] = []
        self.maps = ""
        for path in (
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/log/apt",
            "var/tmp",
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "boot",
            "run",
            "proc/1",
            "proc/77",
            "usr/bin",
        ):
            (self.root / path).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        (self.root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{self.repository} ./\n")
        (self.root / "proc/stat").write_text(f"cpu 1\nbtime {int(time.time()) - 1000}\n")
        (self.root / "proc/1/stat").write_text("1 (systemd (x) y) S " + "0 " * 18 + "100 0\n")
        (self.root / "proc/1/cgroup").write_text("0::/init.scope\n")
        (self.root / "proc/77/cgroup").write_text("0::/system.slice/dbus.service\n")
        configuration = folder / "apt.conf"
        configuration.write_text(
            f'Dir "{self.root}";\nDir::State::status "{self.root}/var/lib/dpkg/status";\n'
            'Dir::Bin::methods "/usr/lib/apt/methods";\nDPkg::Use-Pty "false";\nAPT::Sandbox::User "root";\n'
        )
        self.environment = {
            **os.environ,
            **ENVIRONMENT,
            "APT_CONFIG": str(configuration),
            "DPKG_ROOT": str(self.root),
            "DPKG_FORCE": "script-chrootless,security-mac",
        }
        self.publish("base", "1", conffiles={"etc/base.conf": "a setting\n"})
        self.publish("libfake", "1", files={"usr/lib/libfake.so.1": "one"})
        self.publish("kubelet", "1.36.1")
        self.run(["apt-get", "update"])
        self.run(["apt-get", "install", "--yes", "base", "libfake", "kubelet"])
        for listing in (self.root / "var/lib/dpkg/info").glob("*.list"):
            os.utime(listing, (1, 1))

    def run(self, command: list[str]) -> tuple[int, str, str]:
        """Run a command on the node; systemd is none."""
        self.commands.append(command)
        if command[0] == "systemctl":
            return 0, "Id=dbus.service\nMainPID=77\n\nId=ssh.service\nMainPID=78\n", ""
        done = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout, done.stderr

    def publish(self, name: str, version: str, **content: Any) -> None:
        """Put a package into the repository."""
        publish(self.repository, name, version, **content)

    def update(self, *, check: bool = False, prepare: bool = False) -> dict[str, Any]:
        """Do what the module does."""
        changes = Changes(check_mode=check, run=self.run, root=str(self.root))
        work = OsUpdate(run=self.run, changes=changes, warn=self.warnings.append, root=str(self.root))
        result = (work.prepare if prepare else work.update)(refresh=True)
        return {**changes.result(), **result}

    def files(self) -> dict[str, bytes]:
        """Return all files of the node."""
        return {
            str(path): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and not path.name.endswith("cache.bin")
        }

    def uses(self, *, replaced: bool) -> None:
        """Have dbus use the library, as it is or as it was."""
        (self.root / "proc/77/maps").write_text(
            f"1-2 r-xp 0 0:1 5 /usr/lib/libfake.so.1{' (deleted)' if replaced else ''}\n"
        )


@pytest.fixture
def node(tmp_path: Path) -> Node:
    # apt's own user has to get there.
    tmp_path.chmod(0o755)
    return Node(tmp_path)


def test_check_update_check_update(node: Node) -> None:
    node.run(["apt-mark", "hold", "kubelet"])
    (node.root / "etc/base.conf").write_text("another setting\n")
    (node.root / "usr/bin/unattended-upgrade").touch()
    (node.root / "etc/needrestart/conf.d").mkdir(parents=True)
    node.publish("kubelet", "1.36.2")
    node.publish("base", "3", conffiles={"etc/base.conf": "a newer setting\n"})
    before = node.files()

    checked = node.update(check=True)
    assert node.files() == before
    assert checked["packages"] == [{"name": "base", "before": "1", "after": "3"}]
    assert (checked["changed"], checked["update_required"], checked["reboot_required"]) == (True, True, False)
    assert checked["kept_back"] == ["kubelet"]
    assert checked["lists"] == "fetched into a temporary folder"

    done = node.update()
    assert done["packages"] == checked["packages"]
    assert (done["changed"], done["update_required"], done["reboot_required"]) == (True, False, False)
    assert done["kept_conffiles"] == ["/etc/base.conf"]
    assert (node.root / "etc/base.conf").read_text() == "another setting\n"
    assert (node.root / "etc/base.conf.dpkg-dist").read_text() == "a newer setting\n"
    assert '"^docker\\.io$";' in (node.root / "etc/apt/apt.conf.d/52bramble-unattended-upgrades").read_text()
    assert "override_rc" in (node.root / "etc/needrestart/conf.d/bramble.conf").read_text()
    assert "1.36.1" in node.run(["dpkg-query", "-W", "kubelet"])[1]

    assert node.update(check=True)["changed"] is False
    assert node.update()["changed"] is False
    assert node.warnings == []


def test_a_new_kernel_is_foreseen_and_due_until_the_boot(node: Node) -> None:
    node.run(["apt-mark", "hold", "kubelet"])
    kernel = "99." + RUNNING.partition(".")[2]
    reason = f"kernel {kernel} is installed and {RUNNING} runs"
    # Through a package that asks for the newest one, as linux-image-rpi-v8 does.
    node.publish("metakernel", "1")
    node.run(["apt-get", "update"])
    node.run(["apt-get", "install", "--yes", "metakernel"])
    node.publish(f"linux-image-{kernel}", "1", files={f"boot/vmlinuz-{kernel}": "k"})
    node.publish("metakernel", "2", depends=f"linux-image-{kernel}")
    node.publish("unrelated", "1")
    prepared = node.update(prepare=True)
    assert (prepared["changed"], prepared["update_required"]) == (False, True)
    assert prepared["reboot_reasons"] == [reason]
    assert node.update()["reboot_reasons"] == [reason]
    # Nothing is left to be done, and the reboot still is.
    again = node.update()
    assert (again["changed"], again["reboot_reasons"]) == (False, [reason])
    # Booted since, and another kernel was started: another boot would not change that.
    (node.root / "proc/stat").write_text(f"cpu 1\nbtime {int(time.time()) + 1000}\n")
    assert node.update()["reboot_reasons"] == []
    assert f"kernel {kernel} is installed, and the last boot started {RUNNING}" in node.warnings[0]


def test_a_library_in_use_is_foreseen_and_due(node: Node) -> None:
    node.uses(replaced=False)
    node.publish("libfake", "2", files={"usr/lib/libfake.so.1": "two"})
    reason = "dbus.service uses libfake.so.1 as it was before, and is not restarted while the node runs"
    assert node.update(check=True)["reboot_reasons"] == [reason]
    node.uses(replaced=True)
    assert node.update()["reboot_reasons"] == [reason]


def test_what_can_be_restarted_is(node: Node) -> None:
    (node.root / "proc/78").mkdir()
    (node.root / "proc/78/cgroup").write_text("0::/system.slice/ssh.service\n")
    (node.root / "proc/78/maps").write_text("1-2 r-xp 0 0:1 5 /usr/lib/libfake.so.1 (deleted)\n")
    checked = node.update(check=True)
    assert checked["changes"] == ["restart ssh.service, which uses libraries as they were before"]
    assert ["systemctl", "try-restart", "ssh.service"] not in node.commands
    assert node.update()["reboot_reasons"] == []
    assert ["systemctl", "try-restart", "ssh.service"] in node.commands


def test_what_is_killed_is_finished_by_the_next_run(node: Node) -> None:
    node.publish("base", "2", conffiles={"etc/base.conf": "a setting\n"}, postinst=KILL)
    (node.root / "kill").touch()

    def run() -> None:
        os.setsid()
        node.update()

    killed = multiprocessing.get_context("fork").Process(target=run)
    killed.start()
    killed.join()
    assert killed.exitcode == -9
    checked = node.update(check=True)
    assert (checked["half_way"], checked["update_required"]) == (["base"], True)
    done = node.update()
    assert (done["changed"], done["half_way"]) == (True, [])
    assert node.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Version}", "base"])[1] == "ii 2"
    assert node.update()["changed"] is False


def test_a_package_that_fails_says_so_itself(node: Node) -> None:
    node.publish("base", "2", postinst="exit 7")
    with pytest.raises(
        AptError, match="installed base package post-installation script subprocess returned error exit"
    ):
        node.update()
    node.publish("base", "3")
    assert node.update()["packages"] == [{"name": "base", "before": "2", "after": "3"}]


def test_a_full_disk_says_so_itself(node: Node) -> None:
    cache = node.root / "var/cache/apt/archives"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(node.root / "usr")], check=True)
    try:
        node.publish("base", "2", files={"usr/share/large": "x" * 1_000_000})
        with pytest.raises(AptError, match=r"No space left on device|enough free space"):
            node.update()
    finally:
        subprocess.run(["umount", str(node.root / "usr")], check=True)
    assert cache.is_dir()
    assert node.update()["update_required"] is False


def test_kubernetes_that_is_not_held_is_left(node: Node) -> None:
    node.publish("kubelet", "1.36.2")
    before = node.files()
    for check in (True, False):
        with pytest.raises(OsUpdateError, match="apt-mark hold kubelet"):
            node.update(check=check)
    assert {path for path in before if "lists" not in path} <= node.files().keys()
    assert "1.36.1" in node.run(["dpkg-query", "-W", "kubelet"])[1]


def test_without_a_repository_check_mode_goes_by_what_is_known(node: Node) -> None:
    node.publish("base", "2")
    node.run(["apt-get", "update"])
    with (node.root / "etc/apt/sources.list").open("a") as sources:
        sources.write("deb [trusted=yes] file:/nowhere ./\n")
    checked = node.update(check=True)
    assert (checked["lists"], checked["update_required"]) == ("as they were", True)
    assert "package lists were not fetched, so that those of the node count" in node.warnings[0]
    with pytest.raises(AptError, match="/nowhere"):
        node.update()
