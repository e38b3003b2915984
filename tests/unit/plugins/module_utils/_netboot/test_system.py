# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._boot.cmdline import edit_line, split
from ansible_collections.bramble.pi.plugins.module_utils._netboot import system
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures"
CMDLINES = sorted(
    path
    for path in (FIXTURES / "cmdline").rglob("cmdline.txt")
    # Only what a kernel is started with, not the notes that stand in its place elsewhere.
    if "root=" in path.read_text(encoding="utf-8") and len(path.read_text(encoding="utf-8").splitlines()) == 1
)
BY_KERNEL = system.NfsBoot(False, "")
BY_INITRAMFS = system.NfsBoot(True, "")
USER = system.User("ada", "$6$salt$hash", ("ssh-ed25519 AAAA you",))


def line_for(line: str, boot: system.NfsBoot = BY_KERNEL) -> list[str]:
    having, kept = system.cmdline_desired(
        line=line, server="10.0.0.1", path="/srv/nfs/pi-2", boot=boot, present=["cgroup_enable=memory"]
    )
    return split(line=edit_line(line=kept, desired=having))


@pytest.mark.parametrize("path", CMDLINES, ids=lambda path: path.relative_to(FIXTURES / "cmdline").parts[0])
def test_command_lines_of_real_images(path: Path) -> None:
    line = path.read_text(encoding="utf-8").strip()
    tokens = line_for(line)
    assert [token for token in tokens if token.startswith("root=")] == ["root=/dev/nfs"]
    assert "nfsroot=10.0.0.1:/srv/nfs/pi-2,vers=4.1,proto=tcp,port=2049" in tokens
    for token in ("rw", "ip=dhcp", "rootwait", "cgroup_enable=memory"):
        assert tokens.count(token) == 1
    assert not [token for token in tokens if any(word in token for word in ("PARTUUID", "mmcblk", "LABEL="))]
    # What is not of the card stays: consoles, and what a user has put there.
    assert [token for token in tokens if token.startswith("console=")] == [
        token for token in split(line=line) if token.startswith("console=")
    ]
    assert sorted(line_for(" ".join(tokens))) == sorted(tokens)


def test_real_command_lines_are_tried() -> None:
    assert len(CMDLINES) >= 8


def test_first_boot_of_a_card_is_left_out() -> None:
    line = (
        "console=tty1 root=PARTUUID=1-02 rootfstype=ext4 fsck.repair=yes rootwait quiet"
        " init=/usr/lib/raspberrypi-sys-mods/firstboot resize systemd.run=/boot/firstrun.sh"
        " systemd.run_success_action=reboot systemd.unit=kernel-command-line.target ds=nocloud;i=1"
    )
    kept = [token for token in line_for(line) if token not in line_for("")]
    assert kept == ["console=tty1", "quiet"]
    assert "boot=nfs4" in line_for(line, BY_INITRAMFS)
    assert "boot=nfs4" not in line_for(" ".join(line_for(line, BY_INITRAMFS)))


FSTAB = """\
proc            /proc           proc    defaults          0       0
# a note about mmcblk0
PARTUUID=4d8097e2-01  /boot/firmware  vfat    defaults          0       2
/dev/mmcblk0p3 /data ext4 defaults 0 2
PARTUUID=4d8097e2-02  /               ext4    defaults,noatime  0       1
UUID=5d1f-11 /media/stick vfat noauto 0 0
"""


def fstab(text: str) -> str:
    return system.fstab(text=text, server="10.0.0.1", path="/srv/tftp/6a1b9c04", mount_point="/boot/firmware")


def test_fstab() -> None:
    lines = fstab(FSTAB).splitlines()
    assert [line.split()[1] for line in lines if not line.startswith("#")] == [
        *("/proc", "/media/stick", "/boot/firmware"),
    ]
    assert lines[1] == "# a note about mmcblk0"
    assert lines[-1].startswith("10.0.0.1:/srv/tftp/6a1b9c04 /boot/firmware nfs4 vers=4.1,")
    assert fstab(fstab(FSTAB)) == fstab(FSTAB)


@given(st.lists(st.sampled_from([*FSTAB.splitlines(), "", "tmpfs /tmp tmpfs defaults 0 0"])))
def test_fstab_names_no_card(lines: list[str]) -> None:
    text = fstab("\n".join(lines))
    used = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert not [line for line in used if "mmcblk" in line or "PARTUUID" in line]
    assert len([line for line in used if line.split()[1] == "/boot/firmware"]) == 1
    assert fstab(f"{text}UUID=1 /later ext4 defaults 0 0\n").endswith("/later ext4 defaults 0 0\n")
    assert fstab(text) == text


def test_hosts() -> None:
    text = system.hosts(text="127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n10.0.0.9 nas\n", hostname="pi-2")
    assert text == "127.0.0.1\tlocalhost\n10.0.0.9 nas\n127.0.1.1 pi-2\n"
    assert system.hosts(text=text, hostname="pi-2") == text
    assert system.hosts(text="", hostname="pi-2") == "127.0.0.1 localhost\n127.0.1.1 pi-2\n"


ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000:,,,:/home/pi:/bin/bash\n",
    "shadow": "root:*:20000:0:99999:7:::\npi:!:20000:0:99999:7:::\n",
    "group": "root:x:0:\nsudo:x:27:\nvideo:x:44:pi\npi:x:1000:\n",
}


def test_a_user_who_is_new() -> None:
    texts, uid, gid = system.accounts(files=ACCOUNTS, user=USER)
    assert (uid, gid) == (1001, 1001)
    assert texts["passwd"] == ACCOUNTS["passwd"] + "ada:x:1001:1001::/home/ada:/bin/bash\n"
    assert texts["shadow"] == ACCOUNTS["shadow"] + "ada:$6$salt$hash:19000:0:99999:7:::\n"
    assert texts["group"] == "root:x:0:\nsudo:x:27:ada\nvideo:x:44:pi,ada\npi:x:1000:\nada:x:1001:\n"
    assert "gshadow" not in texts
    assert system.home_of(passwd=texts["passwd"], user="ada") == "/home/ada"
    assert system.accounts(files=texts, user=USER) == (texts, 1001, 1001)


def test_a_user_who_is_there_keeps_ids_and_home() -> None:
    texts, uid, _gid = system.accounts(files=ACCOUNTS, user=USER._replace(name="pi", password_hash=""))
    assert uid == 1000
    assert texts["passwd"] == ACCOUNTS["passwd"]
    assert texts["shadow"] == ACCOUNTS["shadow"]
    assert "sudo:x:27:pi\n" in texts["group"]


CONFIG_BUILT_IN = "CONFIG_ROOT_NFS=y\nCONFIG_NFS_V4=y\nCONFIG_IP_PNP_DHCP=y\n"
CONFIG_MODULES = "# CONFIG_ROOT_NFS is not set\nCONFIG_NFS_V4=m\n"
INITRAMFS = ["scripts/nfs", "usr/bin/busybox", "usr/lib/modules/6.12/kernel/fs/nfs/nfsv4.ko.xz"]


@pytest.mark.parametrize(
    ("kernels", "initramfs", "by_initramfs"),
    [
        ({"6.12-v8": CONFIG_BUILT_IN, "6.12-2712": CONFIG_BUILT_IN}, None, False),
        ({"6.1": "kernel/fs/nfs/nfs.ko\nkernel/fs/nfs/nfsv4.ko\n"}, INITRAMFS, False),
        ({"6.12-arm64": CONFIG_MODULES}, INITRAMFS, True),
        ({"6.12": CONFIG_BUILT_IN, "6.12-other": CONFIG_MODULES}, INITRAMFS, True),
    ],
)
def test_ways_to_a_root_over_nfs(
    kernels: dict[str, str], initramfs: list[str] | None, by_initramfs: bool
) -> None:
    assert system.choose_nfs_boot(kernels=kernels, initramfs_files=initramfs).initramfs == by_initramfs


@pytest.mark.parametrize(
    ("initramfs", "words"),
    [
        (None, "without an initramfs"),
        (INITRAMFS[:2], "no module nfsv4"),
        (INITRAMFS[1:], "no script nfs of initramfs-tools"),
        ([INITRAMFS[0]], "no module nfsv4 and no busybox"),
    ],
)
def test_images_without_a_way(initramfs: list[str] | None, words: str) -> None:
    with pytest.raises(system.NetbootTreeError, match=words):
        system.choose_nfs_boot(kernels={"6.12": CONFIG_MODULES}, initramfs_files=initramfs)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("auto_initramfs=1\n", ([], True)),
        ("auto_initramfs = 1\nauto_initramfs=0\n", ([], False)),
        ("[all]\ninitramfs initrd.img followkernel # note\n#initramfs other\n", (["initrd.img"], False)),
        ("kernel=vmlinuz\n", ([], False)),
    ],
)
def test_initramfs_that_config_txt_names(config: str, expected: tuple[list[str], bool]) -> None:
    assert system.initramfs_names(config=config) == expected


def test_archive_is_one_that_cpio_reads(tmp_path: Path) -> None:
    archive = system.initramfs_archive(files={"scripts/nfs4": system.NFS4_SCRIPT, "note": ""})
    assert len(archive) % 512 == 0
    done = subprocess.run(
        ["cpio", "--extract", "--make-directories", "--quiet"], input=archive, cwd=tmp_path, check=True
    )
    assert done.returncode == 0
    assert (tmp_path / "scripts/nfs4").read_text(encoding="utf-8") == system.NFS4_SCRIPT
    # No folder is made that is not in it.
    listed = subprocess.run(["cpio", "--list", "--quiet"], input=archive, capture_output=True, check=True)
    assert listed.stdout.decode().split() == ["scripts", "scripts/nfs4", "note"]


@pytest.mark.parametrize(
    "serial", ["", "6A1B9C04", "6a1b9c0", "100000006a1b9c04", "../../etc", "6a1b9c04\n", "44444444"]
)
def test_serial_numbers_that_are_none(serial: str) -> None:
    with pytest.raises(system.NetbootTreeError, match="netboot_tree_serial"):
        system.check_serial(serial)


def test_script_is_one_that_a_shell_reads(tmp_path: Path) -> None:
    script = tmp_path / "nfs4"
    script.write_text(system.NFS4_SCRIPT, encoding="utf-8")
    subprocess.run(["sh", "-n", script], check=True)
