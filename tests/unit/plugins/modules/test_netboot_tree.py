# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself, as root, on a small image with the file systems that images have."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.boot_card import system_files
from tests.unit.kill import Moment, moment_name
from tests.unit.python_server import run_python

REPOSITORY = Path(__file__).parents[4]
MODULE = REPOSITORY / "plugins/modules/netboot_tree.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".collections")}
SYSTEM = "raspios-trixie"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPFr5nS4kYvgPm7dWdVjW5DVi4rUuxC1oiP7yWvLTSiT you@laptop"
VERSION = "6.12.47+rpt-rpi-v8"
ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000:,,,:/home/pi:/bin/bash\n",
    "shadow": "root:*:20000:0:99999:7:::\npi:!:20000:0:99999:7:::\n",
    "group": "root:x:0:\nsudo:x:27:\nvideo:x:44:pi\npi:x:1000:\n",
    "gshadow": "root:*::\nsudo:*::\nvideo:*::pi\npi:!::\n",
    "hostname": "raspberrypi\n",
    "hosts": "127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n",
    "fstab": (
        "proc            /proc           proc    defaults          0       0\n"
        "PARTUUID=4d8097e2-01  /boot/firmware  vfat    defaults          0       2\n"
        "PARTUUID=4d8097e2-02  /               ext4    defaults,noatime  0       1\n"
    ),
    "machine-id": "0123456789abcdef0123456789abcdef\n",
    "ssh/ssh_host_rsa_key": "shared by all\n",
    "ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\n",
    "sudoers": "@includedir /etc/sudoers.d\n",
    "skel/.profile": "# profile\n",
}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking a root file system needs root")


def make_root(root: Path) -> None:
    """Make a tree with all that a copy may lose."""
    for name, text in ETC.items():
        (root / "etc" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "etc" / name).write_text(text)
    (root / "etc/shadow").chmod(0o640)
    os.chown(root / "etc/shadow", 0, 42)
    for folder in ("boot/firmware", "dev", "home/pi", "tmp", "usr/bin", "usr/lib/systemd/system", "var/lib"):
        (root / folder).mkdir(parents=True)
    os.chown(root / "home/pi", 1000, 1000)
    (root / "tmp").chmod(0o1777)
    (root / "bin").symlink_to("usr/bin")
    (root / "lib").symlink_to("usr/lib")
    (root / "etc/resolv.conf").symlink_to("/run/NetworkManager/resolv.conf")
    (root / "usr/lib/systemd/system/ssh.service").write_text("[Service]\n")
    modules = root / "usr/lib/modules" / VERSION
    modules.mkdir(parents=True)
    (modules / "modules.builtin").write_text("kernel/fs/nfs/nfs.ko\nkernel/fs/nfs/nfsv4.ko\n")
    program = root / "usr/bin/ping"
    program.write_bytes(random.Random(1).randbytes(70000))
    program.chmod(0o755)
    # cap_net_raw+ep, as setcap writes it.
    os.setxattr(program, "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    os.link(program, root / "usr/bin/ping4")
    (root / "usr/bin/sudo").write_bytes(b"sudo")
    (root / "usr/bin/sudo").chmod(0o4755)
    os.setxattr(root / "home/pi", "user.note", b"kept")
    os.mkfifo(root / "var/lib/fifo")
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with (root / "var/lib/sparse").open("wb") as file:
        file.truncate(8 << 20)


def make_image(path: Path, *, root: Path, boot: dict[str, bytes]) -> Path:
    """Make the image of a card: MBR, FAT, ext4."""
    fat, whole = 40, 104
    with path.open("wb") as file:
        file.truncate(whole << 20)
    table = (
        f"label: dos\nlabel-id: 0x4d8097e2\nstart=1MiB, size={fat}MiB, type=c\nstart={fat + 1}MiB, type=83\n"
    )
    subprocess.run(["sfdisk", "--quiet", path], input=table, text=True, check=True)
    subprocess.run(
        ["mkfs.vfat", "--offset", "2048", "-F", "32", "-s", "1", path, str(fat * 1024)],
        check=True,
        capture_output=True,
    )
    folder = path.with_suffix(".boot")
    for name, data in boot.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    subprocess.run(["mcopy", "-s", "-i", f"{path}@@1M", *sorted(folder.iterdir()), "::/"], check=True)
    shutil.rmtree(folder)
    made = f"mke2fs -q -t ext4 -E offset={(fat + 1) << 20} -d {root} {path} {whole - fat - 1}M"
    subprocess.run(made.split(), check=True)
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    make_root(folder / "root")
    boot = {
        **system_files(SYSTEM),
        "bootcode.bin": b"the first thing that a Pi 3 loads",
        "start4.elf": b"firmware",
    }
    return make_image(folder / "raspios.img", root=folder / "root", boot=boot)


class Lab:
    """The folder of the trees, and the module on it."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.top = folder / "netboot"
        self.root = self.top / "nfs/pi-2"
        self.boot = self.top / "tftp/6a1b9c04"
        self.options: dict[str, Any] = {
            "dir": str(self.top),
            "image": str(image),
            "node": "pi-2",
            "serial": "6a1b9c04",
            "server": "10.0.0.1",
            "user": "ada",
            "authorized_keys": [KEY],
            "resolvers": ["10.0.0.1"],
            "cmdline_present": ["cgroup_enable=memory"],
            "container_storage_size": 64 << 20,
        }

    def start(
        self, *, check: bool = False, moment: Moment | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start the module, to be killed at a moment."""
        arguments = {**self.options, **options, "_ansible_check_mode": check}
        process = subprocess.Popen(
            moment.command(MODULE) if moment else [sys.executable, str(MODULE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        arguments = {**self.options, **options, "_ansible_check_mode": check}
        text = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        done = run_python([MODULE], text=text, environment=ENVIRONMENT)
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def refused(self, **options: Any) -> str:
        before = listing(self.top)
        result = self.run(**options)
        assert result.get("failed"), result
        assert [line for line in listing(self.top) if line.startswith(("nfs", "tftp", "state"))] == [
            line for line in before if line.startswith(("nfs", "tftp", "state"))
        ]
        return str(result["msg"])


@pytest.fixture
def lab(tmp_path: Path, image: Path) -> Lab:
    return Lab(tmp_path, image)


def describe(path: Path) -> tuple[Any, ...]:
    """Return all of a file that a copy has to keep."""
    status = path.lstat()
    attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in xattrs(path)}
    content: Any = None
    if path.is_symlink():
        content = os.readlink(path)
    elif path.is_file():
        content = path.read_bytes()
    elif stat.S_ISCHR(status.st_mode):
        content = status.st_rdev
    return status.st_mode, status.st_uid, status.st_gid, attributes, content


def xattrs(path: Path) -> list[str]:
    return os.listxattr(path, follow_symlinks=False)


def listing(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*")) if top.exists() else []


def test_check_apply_check_apply(lab: Lab, image: Path) -> None:
    checked = lab.run(check=True)
    assert (checked["changed"], checked["changes"]) == (True, ["make the tree"])
    assert not lab.top.exists()

    applied = lab.run()
    assert not applied.get("failed"), applied
    assert applied["changed"]
    assert (applied["root"], applied["boot"]) == (str(lab.root), str(lab.boot))
    assert applied["why"] == "the kernel mounts it by itself"
    assert applied["host_key"] == (lab.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().strip()

    before = {name: describe(lab.top / name) for name in listing(lab.top)}
    for check in (True, False):
        again = lab.run(check=check)
        assert (again["changed"], again["changes"]) == (False, [])
        assert {name: describe(lab.top / name) for name in listing(lab.top)} == before
    assert sorted(path.name for path in lab.top.iterdir()) == [
        *(".lock", "images", "new", "nfs", "state", "tftp")
    ]


def test_all_that_is_not_the_nodes_own_is_as_in_the_image(lab: Lab, image: Path) -> None:
    lab.run()
    source = image.parent / "root"
    own = {
        *(f"etc/{name}" for name in ("passwd", "shadow", "group", "gshadow", "hostname", "hosts", "fstab")),
        *("etc/machine-id", "etc/resolv.conf", "etc/ssh/ssh_host_rsa_key"),
    }
    for path in sorted(source.rglob("*")):
        name = str(path.relative_to(source))
        if name in own or path.is_socket():
            continue
        mine = describe(lab.root / name)
        assert mine == describe(path), name
    assert (lab.root / "usr/bin/ping").samefile(lab.root / "usr/bin/ping4")
    assert (lab.root / "usr/bin/ping").stat().st_nlink == 2, "no links between trees"
    # A hole stays one.
    assert (lab.root / "var/lib/sparse").stat().st_blocks == 0
    boot = {path.name: path.read_bytes() for path in lab.boot.iterdir() if path.is_file()}
    assert boot["start4.elf"] == b"firmware"
    assert (lab.top / "tftp/bootcode.bin").read_bytes() == boot["bootcode.bin"]


def test_what_is_the_nodes_own(lab: Lab) -> None:
    lab.run(timezone="Europe/Berlin", password_hash="$6$salt$hash")
    root = lab.root
    line = (lab.boot / "cmdline.txt").read_text()
    tokens = line.split()
    assert line.count("\n") == 1
    assert f"nfsroot=10.0.0.1:{root},vers=4.1,proto=tcp,port=2049" in tokens
    assert {"root=/dev/nfs", "rw", "ip=dhcp", "rootwait", "cgroup_enable=memory"} <= set(tokens)
    assert not [token for token in tokens if "PARTUUID" in token or token.startswith(("init=", "boot="))]
    assert (lab.boot / "ssh").read_bytes() == b""
    assert "auto_initramfs=0" in (lab.boot / "config.txt").read_text().splitlines()
    fstab = (root / "etc/fstab").read_text()
    assert "PARTUUID" not in fstab
    assert f"10.0.0.1:{lab.boot} /boot/firmware nfs4 vers=4.1" in fstab
    assert (root / "etc/hostname").read_text() == "pi-2\n"
    assert (root / "etc/hosts").read_text().split("\n")[-2] == "127.0.1.1 pi-2"
    machine_id = (root / "etc/machine-id").read_text()
    assert machine_id != ETC["machine-id"]
    assert len(machine_id) == 33
    assert not (root / "etc/resolv.conf").is_symlink()
    assert "nameserver 10.0.0.1\n" in (root / "etc/resolv.conf").read_text()
    assert not (root / "etc/ssh/ssh_host_rsa_key").exists()
    key = root / "etc/ssh/ssh_host_ed25519_key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert os.readlink(root / "etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin"
    # The user is new; the one that the image has is left as it is.
    passwd = (root / "etc/passwd").read_text().splitlines()
    assert passwd[-1] == "ada:x:1001:1001::/home/ada:/bin/bash"
    assert passwd[1] == ETC["passwd"].splitlines()[1]
    assert (root / "etc/shadow").read_text().splitlines()[-1].startswith("ada:$6$salt$hash:")
    assert stat.S_IMODE((root / "etc/shadow").stat().st_mode) == 0o640
    assert "sudo:x:27:ada" in (root / "etc/group").read_text()
    keys = root / "home/ada/.ssh/authorized_keys"
    assert keys.read_text() == f"{KEY}\n"
    assert (keys.stat().st_uid, stat.S_IMODE(keys.stat().st_mode)) == (1001, 0o600)
    assert (keys.parent.stat().st_uid, stat.S_IMODE(keys.parent.stat().st_mode)) == (1001, 0o700)
    assert (root / "home/ada/.profile").stat().st_uid == 1001
    assert os.readlink(root / "etc/systemd/system/regenerate_ssh_host_keys.service") == "/dev/null"
    wants = root / "etc/systemd/system/multi-user.target.wants"
    assert os.readlink(wants / "ssh.service") == "/usr/lib/systemd/system/ssh.service"


def test_containers_have_a_file_system_of_their_own(lab: Lab) -> None:
    lab.run()
    image = lab.root / "var/lib/bramble/containers.img"
    assert image.stat().st_size == 64 << 20
    assert image.stat().st_blocks * 512 < 8 << 20
    subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)
    units = lab.root / "etc/systemd/system"
    names = [f"{name}.mount" for name in ("var-lib-bramble-containers", "var-lib-docker", "var-lib-kubelet")]
    if shutil.which("systemd-analyze"):
        command: list[str | Path] = ["systemd-analyze", "verify", *(units / name for name in names)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert not [line for line in done.stderr.splitlines() if str(units) in line], done.stderr
    disk = lab.run(container_storage="disk", container_storage_device="LABEL=containers")
    assert disk["changes"] == ["etc/systemd/system/var-lib-bramble-containers.mount"]
    assert "What=LABEL=containers\n" in (units / names[0]).read_text()
    lab.run(container_storage="none")
    assert not (units / names[0]).exists()


def test_what_the_node_has_written_is_kept(lab: Lab) -> None:
    lab.run()
    (lab.root / "home/ada/thesis").write_text("years of work")
    with (lab.boot / "cmdline.txt").open("r+") as file:
        line = file.read().strip()
        file.seek(0)
        file.write(f"panic=10 {line}\n")
    with (lab.root / "etc/fstab").open("a") as file:
        file.write("UUID=5d1f-11 /data vfat defaults 0 0\n")
    (lab.root / "etc/hostname").write_text("lost\n")
    result = lab.run()
    assert result["changes"] == ["etc/hostname"]
    assert (lab.root / "home/ada/thesis").read_text() == "years of work"
    assert "panic=10" in (lab.boot / "cmdline.txt").read_text()
    assert "/data" in (lab.root / "etc/fstab").read_text()
    assert (lab.root / "etc/hostname").read_text() == "pi-2\n"


def test_what_is_taken_out_is_gone(lab: Lab, image: Path, tmp_path: Path) -> None:
    lab.run()
    names = ("config.txt", "cmdline.txt")
    before = {name: sorted((lab.boot / name).read_text().split()) for name in names}
    files = sorted(path.name for path in lab.boot.iterdir())
    more: dict[str, Any] = {
        "files": {"token.txt": "secret", "start4.elf": "mine"},
        "config_txt": [{"setting": "dtoverlay", "value": "disable-wifi"}],
        "cmdline_present": ["cgroup_enable=memory", "swapaccount=1"],
    }
    lab.run(**more)
    assert (lab.boot / "token.txt").read_text() == "secret"
    assert "swapaccount=1" in (lab.boot / "cmdline.txt").read_text()

    # Another image does not have what was there before.
    newer = tmp_path / "newer.img"
    shutil.copyfile(image, newer)
    with newer.open("r+b") as file:
        file.seek(4096)
        file.write(b"newer")
    left = lab.run(image=str(newer))
    assert "stays on its boot partition" in json.dumps(left["warnings"])
    assert (lab.boot / "token.txt").exists()

    checked, done = lab.run(check=True), lab.run()
    assert done["changes"] == checked["changes"]
    assert "token.txt on the boot partition" in done["changes"]
    assert {name: sorted((lab.boot / name).read_text().split()) for name in names} == before
    assert sorted(path.name for path in lab.boot.iterdir()) == files
    assert (lab.boot / "start4.elf").read_bytes() == b"firmware"
    assert not lab.run()["changed"]


def test_another_image_is_a_decision(lab: Lab, image: Path, tmp_path: Path) -> None:
    lab.run()
    (lab.root / "home/ada/thesis").write_text("years of work")
    newer = tmp_path / "newer.img"
    shutil.copyfile(image, newer)
    with newer.open("r+b") as file:
        # Behind the table, before the first partition.
        file.seek(4096)
        file.write(b"newer")
    left = lab.run(image=str(newer))
    assert not left["changed"]
    assert "netboot_tree_replace" in json.dumps(left["warnings"])
    assert lab.run(image=str(newer), replace=True, check=True)["changes"] == ["make the tree"]
    replaced = lab.run(image=str(newer), replace=True)
    assert "make the tree" in replaced["changes"]
    assert not (lab.root / "home/ada/thesis").exists()
    kept = lab.top / "before/pi-2"
    assert (kept / "root/home/ada/thesis").read_text() == "years of work"
    assert (kept / "boot/cmdline.txt").exists()
    assert not lab.run(image=str(newer), replace=True)["changed"]
    # What the node does at the end of a boot.
    (lab.root / "var/lib/bramble/booted").touch()
    assert lab.run(image=str(newer))["changes"] == [f"remove {kept}"]
    assert not kept.exists()


def test_another_board_takes_the_tree_along(lab: Lab) -> None:
    lab.run()
    (lab.boot / "note").write_text("mine")
    moved = lab.run(serial="00ff00ff")
    assert moved["changes"][0] == f"move {lab.boot} to {lab.top}/tftp/00ff00ff"
    assert (lab.top / "tftp/00ff00ff/note").read_text() == "mine"
    assert "tftp/00ff00ff" in (lab.root / "etc/fstab").read_text()
    assert not lab.boot.exists()
    assert not lab.run(serial="00ff00ff")["changed"]


def test_two_nodes_have_trees_of_two_images(lab: Lab, image: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_root(root)
    (root / "etc/os-release").write_text("VERSION_CODENAME=bookworm\n")
    other = make_image(tmp_path / "other.img", root=root, boot=system_files("raspios-bookworm"))
    lab.run()
    assert not lab.run(node="pi-3", serial="00000003", image=str(other)).get("failed")
    assert (lab.top / "nfs/pi-3/etc/os-release").exists()
    assert not (lab.root / "etc/os-release").exists()
    assert len(list((lab.top / "images").iterdir())) == 2
    assert not lab.run()["changed"]


def test_two_nodes_have_nothing_in_common(lab: Lab) -> None:
    lab.run()
    lab.run(node="pi-3", serial="00000003")
    for name in ("etc/machine-id", "etc/ssh/ssh_host_ed25519_key", "etc/hostname"):
        assert (lab.root / name).read_bytes() != (lab.top / "nfs/pi-3" / name).read_bytes()
    message = lab.refused(node="pi-4", serial="00000003")
    assert "pi-4 has the serial number 00000003, as pi-3 has" in message
    assert "netboot_tree_serial" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"serial": "6A1B9C04"}, ("'6A1B9C04'", "netboot_tree_serial", "lower case")),
        ({"serial": "100000006a1b9c04"}, ("last eight digits",)),
        ({"container_storage": "disk"}, ("netboot_tree_container_device", "LABEL=containers")),
        ({"image": "/nowhere.img"}, ("/nowhere.img",)),
        ({"cmdline_present": ["two words"]}, ("more than one token",)),
        ({"files": {"notes.txt": 5}}, ("'notes.txt' of 'files' is a number", "set flash_files")),
        ({"files": {"a": "", "a/b": ""}}, ("'a' is a file and, for 'a/b', a folder",)),
        ({"config_txt": [{"value": "audio=off"}]}, ("setting of entry 1 is null",)),
    ],
)
def test_refusals(lab: Lab, options: dict[str, Any], words: tuple[str, ...]) -> None:
    message = lab.refused(**options)
    for word in words:
        assert word in message


def test_images_that_no_tree_can_be_made_of(lab: Lab, image: Path, tmp_path: Path) -> None:
    no_boot = tmp_path / "no-boot.img"
    no_boot.write_bytes(image.read_bytes())
    subprocess.run(["sfdisk", "--quiet", "--delete", no_boot, "1"], check=True)
    assert "FAT file system" in lab.refused(image=str(no_boot))
    no_root = tmp_path / "no-root.img"
    no_root.write_bytes(image.read_bytes())
    subprocess.run(["sfdisk", "--quiet", "--delete", no_root, "2"], check=True)
    assert "root file system" in lab.refused(image=str(no_root))
    make_root(tmp_path / "root")
    (tmp_path / "root/usr/lib/modules" / VERSION / "modules.builtin").write_text("kernel/fs/nfs/nfs.ko\n")
    boot = {"config.txt": b"", "cmdline.txt": b"root=/dev/mmcblk0p2 rootwait\n"}
    modular = make_image(tmp_path / "modular.img", root=tmp_path / "root", boot=boot)
    assert "without an initramfs" in lab.refused(image=str(modular))


def test_a_link_of_the_node_leads_nowhere(lab: Lab, tmp_path: Path) -> None:
    lab.run()
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(lab.root / "etc/sudoers.d")
    (lab.root / "etc/sudoers.d").symlink_to(outside)
    assert "out of the node's tree" in lab.run()["msg"]
    assert list(outside.iterdir()) == []
    (lab.root / "etc/sudoers.d").unlink()
    # A file that is a link is replaced, and not followed.
    (outside / "hostname").write_text("the server's\n")
    (lab.root / "etc/hostname").unlink()
    (lab.root / "etc/hostname").symlink_to(outside / "hostname")
    assert not lab.run().get("failed")
    assert (outside / "hostname").read_text() == "the server's\n"
    assert (lab.root / "etc/hostname").read_text() == "pi-2\n"


@pytest.fixture(scope="module")
def newer_image(image: Path) -> Path:
    """Return another image, by its checksum: what differs lies before its partitions."""
    newer = image.with_name("newer.img")
    subprocess.run(["cp", "--sparse=always", image, newer], check=True)
    with newer.open("r+b") as file:
        file.seek(4096)
        file.write(b"newer")
    return newer


# What becomes a tree: the image is unpacked beside, copied, made the node's own, and takes its place.
MAKING = [
    Moment("before the image is unpacked", "os.mkdir", r"images/\w+\.part "),
    Moment("while the image is unpacked", "open", r"\.part/disk x", during=True),
    Moment("while its file systems are copied", "subprocess.Popen", r"\.part/mnt|\.part/disk", during=True),
    Moment("before the image counts as unpacked", "os.rename", r"images/\w+\.part "),
    Moment("while the tree is copied", "subprocess.Popen", "cp.*--reflink=auto", during=True),
    Moment("while the node's key is made", "subprocess.Popen", "ssh-keygen", during=True),
    Moment("before it has an identity", "os.rename", "machine-id"),
    Moment("before its command line counts", "os.rename", r" cmdline\.txt$"),
    Moment("between two files of accounts", "os.rename", " shadow$"),
    Moment("while the containers get their file system", "subprocess.Popen", "mke2fs", during=True),
    Moment("before the tree counts as complete", "os.rename", r"new/pi-2/\.state\.json"),
    Moment("before the tree is served", "os.rename", "new/pi-2/root"),
    Moment("before the boot files are served", "os.rename", "new/pi-2/boot"),
    Moment("before the tree is known", "os.rename", r"new/pi-2/state\.json"),
    Moment("before what a Pi 3 asks for is served", "os.rename", r"\.bootcode\.bin"),
]
REPLACING = [
    Moment("before the old tree goes", "os.rename", "nfs/pi-2 "),
    Moment("after the old tree went", "os.rename", "new/pi-2/root"),
    Moment("before the old boot files go", "os.rename", "tftp/6a1b9c04 "),
    Moment("after the old boot files went", "os.rename", "new/pi-2/boot"),
]
MOVING = [
    Moment("before the folder has the other number", "os.rename", "tftp/6a1b9c04"),
    Moment("before the other number is known", "os.rename", r"state/\.pi-2\.json"),
]


@pytest.mark.some(8)
@pytest.mark.parametrize(
    ("operation", "moment"),
    [
        *(("make", moment) for moment in MAKING),
        *(("replace", moment) for moment in REPLACING),
        *(("move", moment) for moment in MOVING),
    ],
    ids=moment_name,
)
def test_killed_at_any_moment_it_goes_on(lab: Lab, newer_image: Path, operation: str, moment: Moment) -> None:
    options: dict[str, Any] = {}
    if operation != "make":
        lab.run()
    if operation == "replace":
        options = {"image": str(newer_image), "replace": True}
    elif operation == "move":
        options = {"serial": "00000009"}
        lab.boot = lab.top / "tftp/00000009"
    process = lab.start(moment=moment, **options)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    # What is served is whole or not there.
    if lab.root.exists():
        assert (lab.root / "etc/hostname").read_text() == "pi-2\n"
        assert (lab.root / "var/lib/bramble/containers.img").exists()
    result = lab.run(**options)
    assert not result.get("failed"), result
    assert not lab.run(**options)["changed"]
    assert (lab.boot / "ssh").exists()
    assert (lab.root / "usr/bin/ping").samefile(lab.root / "usr/bin/ping4")
    assert listing(lab.top / "new") == []
    state = json.loads((lab.top / "state/pi-2.json").read_text())
    assert state["image"]["name"] == Path(options.get("image", lab.options["image"])).name


def test_no_room(lab: Lab, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", small], check=True)
    try:
        with (small / "taken").open("wb") as file:
            file.write(bytes(60 << 20))
        message = lab.refused(dir=str(small / "netboot"))
        for word in ("no room", "netboot_tree_dir", "bytes are free"):
            assert word in message
        assert not (small / "netboot/nfs").exists()
    finally:
        subprocess.run(["umount", small], check=True)
