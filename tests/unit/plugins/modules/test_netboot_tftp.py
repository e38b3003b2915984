# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot files by TFTP: links that a node plants among them lead nowhere, and what runs is what was written."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._netboot.tftp_server import TftpServer
from ansible_collections.bramble.pi.plugins.module_utils._netboot.tftp_unit import (
    NAME,
    PATH,
    TftpError,
    check,
    unit_text,
)

from tests.unit.namespace_node import NamespaceNode
from tests.unit.run_module import REPOSITORY

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are made by root")
needs_dnsmasq = pytest.mark.skipif(not os.path.exists("/usr/sbin/dnsmasq"), reason="there is no dnsmasq")

ADDRESS = "10.0.0.1"
SECRET = "the server's own\n"


@pytest.mark.parametrize(
    "folder", ["/srv/netboot/tftp", "/srv/größe/my_boards-1.5/tftp", "/srv//netboot/tftp"]
)
@pytest.mark.parametrize("interface", ["eth0", "br-lan", "eth0.10", "wlx00c0ca000001"])
def test_names_that_a_unit_can_have(folder: str, interface: str) -> None:
    check(folder=folder, interface=interface)
    text = unit_text(folder=folder, real_folder=folder, interface=interface)
    assert f" --interface={interface} " in text
    assert f"\nBindReadOnlyPaths={folder}\n" in text
    assert f"\nRequiresMountsFor={folder}\n" in text


@pytest.mark.parametrize(
    ("folder", "interface", "variable"),
    [
        ("srv/netboot", "eth0", "netboot_tree_dir"),
        ("/srv/my boards", "eth0", "netboot_tree_dir"),
        ("/srv/net\nExecStartPre=/bin/sh", "eth0", "netboot_tree_dir"),
        ("/srv/%h", "eth0", "netboot_tree_dir"),
        ("/srv/a:/etc", "eth0", "netboot_tree_dir"),
        ('/srv/"', "eth0", "netboot_tree_dir"),
        ("", "eth0", "netboot_tree_dir"),
        ("/srv/netboot", "", "netboot_server_interface"),
        ("/srv/netboot", "eth0 --tftp-root=/", "netboot_server_interface"),
        ("/srv/netboot", "eth%i", "netboot_server_interface"),
    ],
)
def test_names_that_would_mean_something_else(folder: str, interface: str, variable: str) -> None:
    with pytest.raises(TftpError, match=rf"expected .*: set {variable}$"):
        check(folder=folder, interface=interface)


def test_a_link_on_the_way_to_the_folder() -> None:
    text = unit_text(folder="/srv/netboot/tftp", real_folder="/mnt/disk/tftp", interface="eth0")
    assert "\nRequiresMountsFor=/srv/netboot/tftp /mnt/disk/tftp\n" in text


def lines(text: str, name: str) -> list[str]:
    """Return the values of a setting of the unit."""
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{name}=")]


def seen(text: str, root: Path) -> list[str]:
    """Return the commands that make the root which the unit says."""
    assert lines(text, "TemporaryFileSystem") == ["/:ro"]
    commands = [f"mount -t tmpfs tmpfs {root}"]
    for word in " ".join(lines(text, "BindReadOnlyPaths")).split():
        path = word.removeprefix("-")
        if word != path and not os.path.exists(path):
            continue
        place = f"{root}{path}"
        kind = f"mkdir -p {place}" if os.path.isdir(path) else f"touch {place}"
        commands += [f"mkdir -p {os.path.dirname(place)}", kind]
        commands.append(f"mount --bind {os.path.realpath(path)} {place}")
    return commands


#: What a node might have its link point to, besides the secret file.
TARGETS = {
    "absolute": "@SECRET@",
    "relative": "../../../../../../../../../../@SECRET@",
    "beside": "../../nfs/pi-2/secret",
    "folder": "/etc",
    "process": "/proc/self/environ",
    "memory": "/dev/shm",
    "configuration": "/etc/passwd",
}


@needs_root
@needs_dnsmasq
@pytest.mark.parametrize("sealed", [True, False], ids=["as its unit says", "as dnsmasq alone"])
def test_planted_links_lead_nowhere(tmp_path: Path, sealed: bool) -> None:
    secret, folder = tmp_path / "secret", tmp_path / "netboot/tftp"
    secret.write_text(SECRET)
    boot = folder / "6a1b9c04"
    boot.mkdir(parents=True)
    (boot / "start.elf").write_text("firmware\n")
    (tmp_path / "netboot/nfs/pi-2").mkdir(parents=True)
    (tmp_path / "netboot/nfs/pi-2/secret").write_text(SECRET)
    for name, target in TARGETS.items():
        (boot / name).symlink_to(target.replace("@SECRET@", str(secret)))
    (boot / "same").symlink_to("start.elf")
    text = unit_text(folder=str(folder), real_folder=str(folder), interface="eth0")
    root = tmp_path / "root"
    root.mkdir()
    (program,) = lines(text, "ExecStart")
    # Root, here: not even that is of any use to a link.
    server = f"{f'chroot {root} ' if sealed else ''}{program}"
    names = ["start.elf", "same", *TARGETS, "folder/passwd"]
    script = [
        "ip link set lo up",
        "ip link add eth0 type veth peer name peer",
        "ip link set eth0 up",
        f"ip address add {ADDRESS}/24 dev eth0",
        *(seen(text, root) if sealed else []),
        server,
        # Nodes come while it runs.
        f"mkdir {folder}/6a1b9c05",
        f"echo new >{folder}/6a1b9c05/start.elf",
        f"{sys.executable} {REPOSITORY}/tests/unit/tftp_client.py {ADDRESS} 6a1b9c05/start.elf "
        + " ".join(f"6a1b9c04/{name}" for name in names),
    ]
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec", "\n".join(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        timeout=120,
    )
    served: dict[str, str | None] = json.loads(done.stdout)
    assert served.pop("6a1b9c05/start.elf") == "new\n"
    assert served.pop("6a1b9c04/start.elf") == served.pop("6a1b9c04/same") == "firmware\n"
    if sealed:
        assert {name: content for name, content in served.items() if content is not None} == {}
    else:
        # It is the unit that helps, not what dnsmasq does by itself.
        for name in ("absolute", "beside"):
            assert served[f"6a1b9c04/{name}"] == SECRET
        assert "root:" in str(served["6a1b9c04/folder/passwd"])


def test_dnsmasq_itself_serves_no_files() -> None:
    template = (REPOSITORY / "roles/netboot_server/templates/dnsmasq.conf.j2").read_text()
    assert "enable-tftp" not in template
    assert "tftp-root" not in template


class Server:
    """A host on which the unit runs as process 42; its view of the files is a folder."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "tftp"
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.view = tmp_path / "proc/42/root"
        (self.view / str(self.folder.parent).lstrip("/")).mkdir(parents=True)
        self.seen = self.view / str(self.folder).lstrip("/")
        # As a mount has the same folder in two places.
        self.seen.symlink_to(self.folder)
        self.commands: list[str] = []
        self.changes = Changes(check_mode=False, root=str(tmp_path))
        self.server = TftpServer(run=self.run, changes=self.changes, proc=str(tmp_path / "proc"))
        text = unit_text(folder=str(self.folder), real_folder=str(self.folder), interface="eth0")
        unit = tmp_path / PATH.lstrip("/")
        unit.parent.mkdir(parents=True)
        unit.write_text(text)

    def run(self, command: list[str]) -> tuple[int, str, str]:
        if command[1] == "show":
            return 0, f"Id={NAME}\nMainPID=42\nActiveState=active\nActiveEnterTimestampMonotonic=1\n", ""
        if not command[1].startswith("is-"):
            self.commands.append(" ".join(command[1:]))
        return 0, "", ""

    def ensure(self) -> list[str]:
        self.server.ensure(folder=str(self.folder), interface="eth0")
        return self.changes.sentences


def test_nothing_is_done_where_all_is_as_it_should_be(tmp_path: Path) -> None:
    server = Server(tmp_path)
    assert server.ensure() == []
    assert server.commands == []


@pytest.mark.parametrize("how", ["another folder is there now", "what it sees is gone"])
def test_it_is_restarted_where_it_sees_another_folder(tmp_path: Path, how: str) -> None:
    server = Server(tmp_path)
    server.seen.unlink()
    if how == "another folder is there now":
        server.seen.mkdir()
    assert server.ensure() == [f"restart {NAME}"]


def test_a_folder_that_only_root_enters_is_opened(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.folder.chmod(0o700)
    assert server.ensure() == [f"let the TFTP server into {server.folder}"]
    assert server.folder.stat().st_mode & 0o777 == 0o755


def test_one_that_sees_the_files_of_the_system_is_stopped(tmp_path: Path) -> None:
    server = Server(tmp_path)
    (server.view / "etc").mkdir()
    with pytest.raises(TftpError, match=f"{NAME} sees /etc of this host.* it is stopped now"):
        server.ensure()
    assert server.commands == [f"disable --now {NAME}"]


@needs_root
@pytest.mark.parametrize("verb", ["stop", "start"])
def test_a_run_that_was_killed_is_finished_by_the_next(tmp_path: Path, verb: str) -> None:
    node = NamespaceNode(tmp_path, folders=["/etc/systemd/system"])
    node.systemd()
    node.program("dnsmasq", "")
    first = node.module("netboot_tftp", dir="/srv/tftp", interface="eth0")
    then = node.module("netboot_tftp", dir="/srv/tftp", interface="eth1")
    outputs = node.run(
        "umask 077",
        first,
        f"echo {verb} >/run/kill-at",
        then,
        ": >/run/systemctl",
        then,
        "cat /run/systemctl",
        then,
        f"cat {PATH}",
        "stat --format %a /srv/tftp",
    )
    assert node.result(outputs[1])["changes"][:2] == ["make /srv/tftp", f"write {PATH}"]
    assert outputs[3] == "", "the run was not killed"
    assert f"restart {NAME}" in node.result(outputs[5])["changes"]
    assert f"start {NAME}" in outputs[6].splitlines()
    assert node.result(outputs[7])["changes"] == []
    assert "--interface=eth1 " in outputs[8]
    assert outputs[9] == "755\n"


@needs_root
def test_check_mode_says_the_same(tmp_path: Path) -> None:
    node = NamespaceNode(tmp_path, folders=["/etc/systemd/system"])
    node.systemd()
    node.program("dnsmasq", "")
    options: dict[str, Any] = {"dir": "/srv/tftp", "interface": "eth0"}
    outputs = node.run(
        node.module("netboot_tftp", check=True, **options),
        f"ls {shlex.quote(PATH)} /run/systemctl 2>/dev/null || true",
        node.module("netboot_tftp", **options),
    )
    assert outputs[1] == ""
    assert node.result(outputs[0])["changes"] == node.result(outputs[2])["changes"]
