# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that was taken over plants what it likes in its trees; the server's own files stay out of reach."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._netboot.tree_files import TreeFiles

from tests.unit.boot_card import system_files
from tests.unit.plugins.modules.test_netboot_tree import KEY, SYSTEM, Lab, make_image, make_root

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees are made by root")

SECRET = "the server's own\n"
OTHER_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIPFr5nS4kYvgPm7dWdVjW5DVi4rUuxC1oiP7yWvLTSiT"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("hostile")
    make_root(folder / "root")
    boot = {**system_files(SYSTEM), "bootcode.bin": b"the first thing that a Pi 3 loads"}
    lab = Lab(folder, make_image(folder / "raspios.img", root=folder / "root", boot=boot))
    assert not lab.run().get("failed")
    subprocess.run(["cp", "-a", lab.top, lab.top.with_name("as-made")], check=True)
    return lab


class Rig(NamedTuple):
    """A tree that its node writes to, and the server beside it."""

    lab: Lab
    server: Path

    @property
    def root(self) -> Path:
        return self.lab.root

    @property
    def boot(self) -> Path:
        return self.lab.boot

    def plant(self, name: str, target: str | Path) -> None:
        """Put a link in place of whatever has this name in the root."""
        self.put(self.root / name, target)

    def put(self, path: Path, target: str | Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


def snapshot(folder: Path) -> dict[str, Any]:
    """Return all of a folder that a planted link might change."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_uid,
            path.lstat().st_gid,
            os.readlink(path)
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else path.lstat().st_mtime_ns,
        )
        for path in [folder, *sorted(folder.rglob("*"))]
    }


@pytest.fixture
def rig(made: Lab, tmp_path: Path) -> Iterator[Rig]:
    server = tmp_path / "server"
    (server / "folder").mkdir(parents=True)
    for name in ("shadow", "folder/id_ed25519", "folder/authorized_keys", "folder/passwd"):
        (server / name).write_text(SECRET)
        (server / name).chmod(0o600)
    yield Rig(made, server)
    for name in ("nfs", "tftp", "state"):
        shutil.rmtree(made.top / name)
        subprocess.run(["cp", "-a", made.top.with_name("as-made") / name, made.top], check=True)


def new_home(rig: Rig) -> None:
    """Have the user's home made again."""
    shutil.rmtree(rig.root / "home/ada")


def skel_absolute(rig: Rig) -> None:
    new_home(rig)
    rig.plant("etc/skel", rig.server / "folder")


def skel_climbing(rig: Rig) -> None:
    new_home(rig)
    rig.plant("etc/skel", os.path.relpath(rig.server / "folder", rig.root / "etc"))


def skel_of_devices(rig: Rig) -> None:
    new_home(rig)
    os.mkfifo(rig.root / "etc/skel/fifo")
    os.mknod(rig.root / "etc/skel/disk", stat.S_IFBLK | 0o600, os.makedev(7, 99))
    (rig.root / "etc/skel/link").symlink_to(rig.server / "shadow")


def home_elsewhere(rig: Rig) -> None:
    passwd = rig.root / "etc/passwd"
    passwd.write_text(passwd.read_text().replace("/home/ada", f"/../../../..{rig.server}/folder"))


def home_is_a_link(rig: Rig) -> None:
    rig.plant("home/ada", rig.server / "folder")


def ssh_is_a_link(rig: Rig) -> None:
    rig.plant("home/ada/.ssh", rig.server / "folder")


def authorized_keys_is_a_link(rig: Rig) -> None:
    rig.plant("home/ada/.ssh/authorized_keys", rig.server / "shadow")


def ssh_on_boot(rig: Rig) -> None:
    rig.put(rig.boot / "ssh", rig.server / "shadow")


def config_on_boot(rig: Rig) -> None:
    rig.put(rig.boot / "config.txt", rig.server / "shadow")


def config_of_another_folder(rig: Rig) -> None:
    rig.put(rig.boot / "config.txt", f"/proc/self/root{rig.server}/shadow")


def cmdline_in_a_link(rig: Rig) -> None:
    rig.put(rig.boot / "current", rig.server / "folder")
    with (rig.boot / "config.txt").open("a") as file:
        file.write("[all]\nos_prefix=current/\ncmdline=id_ed25519\n")


def staging_is_a_link(rig: Rig) -> None:
    rig.put(rig.boot / "bramble.new", rig.server / "folder")


def containers_being_made(rig: Rig) -> None:
    (rig.root / "var/lib/bramble/containers.img").unlink()
    rig.plant("var/lib/bramble/containers.img.new", rig.server / "shadow")


def containers_folder(rig: Rig) -> None:
    rig.plant("var/lib/bramble", rig.server / "folder")


def sudoers(rig: Rig) -> None:
    rig.plant("etc/sudoers.d", rig.server / "folder")


def etc(rig: Rig) -> None:
    rig.plant("etc", rig.server / "folder")


def units(rig: Rig) -> None:
    rig.plant("etc/systemd/system/multi-user.target.wants", rig.server / "folder")


def links_in_a_circle(rig: Rig) -> None:
    rig.plant("etc/sudoers.d", "sudoers.d")


def hostname_is_a_device(rig: Rig) -> None:
    (rig.root / "etc/hostname").unlink()
    os.mknod(rig.root / "etc/hostname", stat.S_IFBLK | 0o600, os.makedev(7, 99))


def hostname_is_a_fifo(rig: Rig) -> None:
    (rig.root / "etc/hostname").unlink()
    os.mkfifo(rig.root / "etc/hostname")


def fstab_without_end(rig: Rig) -> None:
    os.truncate(rig.root / "etc/fstab", 64 << 20)


def passwd_without_fields(rig: Rig) -> None:
    (rig.root / "etc/passwd").write_text("ada:x\n")


def passwd_without_numbers(rig: Rig) -> None:
    (rig.root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\neve:x:zero:0::/:/bin/sh\n")


PLANTED: dict[Callable[[Rig], None], str] = {
    # What the run ends with; empty where it goes on, as what was planted is replaced or left alone.
    skel_absolute: "",
    skel_climbing: "",
    skel_of_devices: "",
    home_elsewhere: "out of the node's tree",
    home_is_a_link: "out of the node's tree",
    ssh_is_a_link: "out of the node's tree",
    authorized_keys_is_a_link: "",
    ssh_on_boot: "",
    config_on_boot: "config.txt",
    config_of_another_folder: "config.txt",
    cmdline_in_a_link: "cmdline",
    staging_is_a_link: "",
    containers_being_made: "",
    containers_folder: "out of the node's tree",
    sudoers: "out of the node's tree",
    etc: "out of the node's tree",
    units: "out of the node's tree",
    links_in_a_circle: "out of the node's tree",
    hostname_is_a_device: "",
    hostname_is_a_fifo: "",
    fstab_without_end: "more than",
    passwd_without_fields: "passwd",
    passwd_without_numbers: "passwd",
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_planted(rig: Rig, plant: Callable[[Rig], None]) -> None:
    plant(rig)
    before = snapshot(rig.server)
    results = [rig.lab.run(check=check) for check in (True, False)]
    assert snapshot(rig.server) == before
    leaked = [
        path
        for folder in (rig.root, rig.boot)
        for path in folder.rglob("*")
        if stat.S_ISREG(path.lstat().st_mode) and path.lstat().st_size < 1 << 20
        if SECRET.encode() in path.read_bytes()
    ]
    assert leaked == []
    for result in results:
        assert bool(result.get("failed")) == bool(PLANTED[plant]), result
        assert PLANTED[plant] in result.get("msg", "")


def test_links_within_the_tree_are_its_own(rig: Rig) -> None:
    # As Debian has /var/run, an absolute link means the root of the tree.
    shutil.move(rig.root / "etc/sudoers.d", rig.root / "usr/sudoers")
    rig.plant("etc/sudoers.d", "/usr/../usr/sudoers")
    (rig.root / "usr/sudoers/010-bramble-ada").unlink()
    assert rig.lab.run()["changes"] == ["etc/sudoers.d/010-bramble-ada"]
    assert (rig.root / "usr/sudoers/010-bramble-ada").exists()


@pytest.mark.parametrize(
    "text",
    [
        f"ssh-ed25519 {OTHER_KEY} root@pi-2\n@cert-authority * ssh-ed25519 {OTHER_KEY}\n",
        f"ssh-ed25519 {OTHER_KEY}\n* ssh-ed25519 {OTHER_KEY}\n",
        f"ssh-ed25519 {OTHER_KEY}\r* ssh-ed25519 {OTHER_KEY}\n",
        f"@cert-authority * ssh-ed25519 {OTHER_KEY}\n",
        f"ssh-ed25519 {OTHER_KEY[:-8]}\n",
        f"ssh-ed25519 {OTHER_KEY}AAAA\n",
        f"ssh-rsa {OTHER_KEY}\n",
        "",
    ],
)
def test_host_keys_that_are_none(rig: Rig, text: str) -> None:
    (rig.root / "etc/ssh/ssh_host_ed25519_key.pub").write_text(text)
    result = rig.lab.run()
    assert result.get("failed"), result
    assert "ssh_host_ed25519_key.pub" in result["msg"]
    assert "ssh-keygen -y" in result["msg"]


def test_of_a_host_key_type_and_key_count(rig: Rig) -> None:
    (rig.root / "etc/ssh/ssh_host_ed25519_key.pub").write_text(f"ssh-ed25519 {OTHER_KEY} @cert-authority\n")
    assert rig.lab.run()["host_key"] == f"ssh-ed25519 {OTHER_KEY} root@pi-2"
    (rig.root / "etc/ssh/ssh_host_ed25519_key.pub").unlink()
    (rig.server / "key.pub").write_text(f"{KEY}\n")
    rig.plant("etc/ssh/ssh_host_ed25519_key.pub", rig.server / "key.pub")
    assert "missing, or no file" in rig.lab.run()["msg"]


def test_only_root_comes_to_trees_and_images(rig: Rig) -> None:
    for name in ("nfs", "images", "state"):
        assert stat.S_IMODE((rig.lab.top / name).stat().st_mode) == 0o700
        (rig.lab.top / name).chmod(0o755)
    assert stat.S_IMODE((rig.lab.top / "tftp").stat().st_mode) == 0o755
    changes = [f"let nobody but root into {rig.lab.top}/{name}" for name in ("images", "nfs", "state")]
    assert rig.lab.run(check=True)["changes"] == changes
    assert rig.lab.run()["changes"] == changes
    assert rig.lab.run()["changes"] == []
    assert stat.S_IMODE((rig.lab.top / "nfs").stat().st_mode) == 0o700


def test_trees_on_the_root_file_system_take_consent(tmp_path: Path, made: Lab) -> None:
    own = tmp_path / "own"
    own.mkdir()
    options = {**made.options, "root_file_system": False}
    root = Path("/var/lib/bramble-test-trees")
    lab = Lab(tmp_path, Path(made.options["image"]))
    lab.top = root
    message = lab.refused(**{**options, "dir": str(root)})
    for word in (f"{root} is on the root file system", "netboot_tree_root_file_system", "docs/netboot.md"):
        assert word in message
    assert not root.exists()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", own], check=True)
    try:
        checked = lab.run(check=True, **{**options, "dir": str(own / "netboot")})
        assert checked["changes"] == ["make the tree"]
    finally:
        subprocess.run(["umount", own], check=True)


class Swap:
    """Swaps a folder for a link when the n-th thing happens to files, as a node can at any moment."""

    def __init__(self) -> None:
        self._left = -1
        self._swap: Callable[[], None] = lambda: None
        sys.addaudithook(self._hear)

    def arm(self, moment: int, swap: Callable[[], None]) -> None:
        self._left, self._swap = moment, swap

    def disarm(self) -> bool:
        """Tell whether it came to that moment."""
        came = self._left < 0
        self._left = -1
        return came

    def _hear(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if self._left < 0 or not event.startswith(("open", "os.", "tempfile.", "shutil.")):
            return
        self._left -= 1
        if self._left < 0:
            self._swap()


@pytest.fixture(scope="module")
def swap() -> Swap:
    # There is no way to take such a hook away again.
    return Swap()


ACTS: dict[str, Callable[[TreeFiles], object]] = {
    "write": lambda tree: tree.write("etc/sudoers.d/shadow", "ours\n", mode=0o440),
    "link": lambda tree: tree.link("etc/sudoers.d/shadow", "/dev/null"),
    "remove": lambda tree: tree.remove("etc/sudoers.d/shadow"),
    "folder": lambda tree: tree.folder("etc/sudoers.d/new", owner=(7, 7)),
    "read": lambda tree: tree.read("etc/sudoers.d/shadow"),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_swap_between_check_and_use(tmp_path: Path, swap: Swap, act: str) -> None:
    server, folder = tmp_path / "server", tmp_path / "tree/etc/sudoers.d"
    server.mkdir()
    (server / "shadow").write_text(SECRET)
    before = snapshot(server)
    for moment in range(100):
        shutil.rmtree(tmp_path / "tree", ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "shadow").write_text("the node's\n")

        def swapped() -> None:
            folder.rename(folder.with_name("taken"))
            folder.symlink_to(server)

        read: object = None
        swap.arm(moment, swapped)
        try:
            read = ACTS[act](TreeFiles(root=str(tmp_path / "tree"), dry_run=False))
        except (BrambleError, OSError):
            # A node that does this gets nothing.
            pass
        finally:
            came = swap.disarm()
        assert snapshot(server) == before, f"at moment {moment}"
        assert read != SECRET, f"at moment {moment}"
        if not came:
            assert moment > 2
            return
    pytest.fail("it goes on and on")
