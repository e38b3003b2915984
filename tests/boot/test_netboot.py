# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes without cards: a server in a virtual rack, what it gives to whom, and a board that boots from it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.boot import build
from tests.boot.network import Board, Port

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
RACK = "netboot"
SERVER = "10.89.91.11"
#: Not an overlay file system, which NFS servers cannot export.
VOLUME = "/var/lib/containerd"
TREES = f"{VOLUME}/netboot"
SERIALS = {"pi-2": "6a1b9c04", "pi-3": "6a1b9c05"}
MACS = {"pi-2": "b8:27:eb:00:00:02", "pi-3": "b8:27:eb:00:00:03"}
ADDRESSES = {"pi-2": "10.89.91.12", "pi-3": "10.89.91.13"}
FOREIGN = "10.89.91.77/24"
UNITS = "dnsmasq bramble-tftp nfs-ganesha"
#: How dnsmasq was told to serve the files itself, links included, and with them all that it could read.
BEFORE = f"enable-tftp=eth0\\ntftp-root={TREES}/tftp\\n"


class Rack:
    """The rack, and what a user does with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventory"
        self.key = folder / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        shutil.copytree(ROOT / "inventories/virtual", self.inventory)
        # Kubernetes is not used here.
        (self.inventory / "kubernetes.yml").unlink()
        shutil.rmtree(self.inventory / "group_vars/kubernetes_debian")
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(self._hosts()))

    def _hosts(self) -> dict[str, Any]:
        nodes = {
            name: {
                "ansible_host": ADDRESSES[name],
                "netboot_tree_serial": SERIALS[name],
                "rack_services_mac": MACS[name],
            }
            for name in SERIALS
        }
        known_hosts = self.folder / "known_hosts"
        server: dict[str, Any] = {"server": {"ansible_host": SERVER}}
        return {
            "all": {
                "vars": {
                    "virtual_rack_name": RACK,
                    "virtual_rack_subnet": "10.89.91.0/24",
                    "virtual_rack_kubernetes": "none",
                    "preflight_node_network": "10.89.91.0/24",
                    "netboot_tree_dir": TREES,
                    "os_prep_time_sync": False,
                }
            },
            "rack": {"children": {"control_plane": {"hosts": server}}},
            "netboot_server": {"hosts": {"server": None}},
            "rack_services": {"hosts": {"server": None}},
            "workers": {"children": {"netboot": None}},
            "netboot": {
                "hosts": nodes,
                "vars": {
                    "ansible_user": "ada",
                    "ansible_ssh_private_key_file": str(self.key),
                    "ansible_ssh_common_args": (
                        f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={known_hosts}"
                        " -o GlobalKnownHostsFile=/dev/null"
                    ),
                    "ssh_access_known_hosts_file": str(known_hosts),
                    "flash_authorized_keys": [self.key.with_suffix(".pub").read_text().strip()],
                    "flash_image": f"{VOLUME}/image/{build.image().name}",
                    "netboot_tree_container_size": 2,
                },
            },
        }

    def run(self, *command: str) -> str:
        """Run one of Ansible's commands, show what it prints, and return it."""
        line = (str(BIN / command[0]), "-i", str(self.inventory), *command[1:])
        print(f"\n$ {' '.join(line)}", flush=True)
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_FORCE_COLOR": "0"}
        done = subprocess.run(
            line,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(done.stdout, flush=True)
        assert done.returncode == 0, done.stdout
        assert "DEPRECATION WARNING" not in done.stdout
        return done.stdout

    def playbook(self, *arguments: str) -> list[str]:
        """Run a playbook; return its tasks' lines that say changed."""
        output = self.run("ansible-playbook", *arguments)
        return [line for line in output.splitlines() if line.startswith("changed:")]

    def shell(self, node: str, script: str) -> str:
        """Run a script on a node as root, by Ansible; return what it printed."""
        output = self.run("ansible", node, "--become", "-m", "ansible.builtin.shell", "-a", script)
        return output.partition(" >>\n")[2].strip()

    def server(self, script: str) -> str:
        """Run a script on the server, not by Ansible."""
        command = ["podman", "exec", f"{RACK}-server", "sh", "-c", script]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def trees(self) -> Path:
        """Return where the trees are on this machine."""
        where = '{{range .Mounts}}{{if eq .Destination "' + VOLUME + '"}}{{.Source}}{{end}}{{end}}'
        command = ["podman", "inspect", "--format", where, f"{RACK}-server"]
        return (
            Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
            / "netboot"
        )


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    rack = Rack(tmp_path_factory.mktemp("netboot"))
    rack.playbook("playbooks/virtual_rack_create.yml")
    rack.server(f"mkdir {VOLUME}/image")
    image = build.image()
    for path in (image, image.with_name(f"{image.name}.sha256")):
        subprocess.run(["podman", "cp", path, f"{RACK}-server:{VOLUME}/image/"], check=True)
    yield rack
    rack.playbook("playbooks/virtual_rack_destroy.yml")


@pytest.fixture(scope="module")
def port(rack: Rack) -> Iterator[Port]:
    with Port(name="netboot-port", network=RACK, folder=rack.folder) as port:
        yield port


def test_check_apply_check_apply(rack: Rack) -> None:
    rack.playbook("playbooks/netboot.yml", "--check", "--diff")
    assert rack.server(f"ls {TREES} 2>/dev/null || true") == ""
    assert rack.playbook("playbooks/netboot.yml")
    assert rack.playbook("playbooks/netboot.yml", "--check") == []
    assert rack.playbook("playbooks/netboot.yml") == []
    known = (rack.folder / "known_hosts").read_text()
    for name, address in ADDRESSES.items():
        key = rack.server(f"cut -d ' ' -f 2 {TREES}/nfs/{name}/etc/ssh/ssh_host_ed25519_key.pub")
        assert f"{address} ssh-ed25519 {key}" in known


def describe(path: Path) -> tuple[Any, ...]:
    status = path.lstat()
    names = os.listxattr(path, follow_symlinks=False)
    content: Any = None
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        content = path.read_bytes()
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        content = status.st_rdev
    attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    return status.st_mode, status.st_uid, status.st_gid, attributes, content


#: What is the node's own, and what the image has that the tree that it was made from has not.
OWN = {
    *(
        f"etc/{name}"
        for name in ("passwd", "passwd-", "shadow", "group", "gshadow", "hostname", "hosts", "fstab")
    ),
    *("etc/machine-id", "etc/resolv.conf", "etc/default/raspi-firmware", "etc/default/raspi-extra-cmdline"),
    *("etc/systemd/system/multi-user.target.wants", "var/lib/dbus/machine-id"),
}


def test_the_tree_is_that_of_the_image(rack: Rack) -> None:
    source, tree = build.tree(), rack.trees() / "nfs/pi-3"
    files = 0
    different = []
    for folder, folders, names in os.walk(source):
        inside = Path(folder).relative_to(source)
        if inside == Path("boot/firmware"):
            folders.clear()
            continue
        for name in [*folders, *names]:
            files += 1
            mine, theirs = tree / inside / name, source / inside / name
            if not os.path.lexists(mine) or describe(mine) != describe(theirs):
                different.append(str(inside / name))
            elif theirs.lstat().st_nlink != mine.lstat().st_nlink and theirs.is_file():
                different.append(f"{inside / name} (hard links)")
    own = [name for name in different if name not in OWN and not name.startswith("etc/ssh/ssh_host_")]
    assert own == []
    assert files > 5000


def test_a_board_is_told_where_to_boot_from(rack: Rack, port: Port) -> None:
    for name, mac in MACS.items():
        answer = port.ask(mac=mac)
        assert (answer["ip"], answer["siaddr"], answer["tftp"]) == (ADDRESSES[name], SERVER, SERVER)
        assert answer["bootfile"] == "bootcode.bin"
        assert b"Raspberry Pi Boot" in bytes.fromhex(answer["opt43"])
    assert port.ask(mac="b8:27:eb:00:00:99") == {}, "a board that the inventory does not know"


def test_files_come_as_the_firmware_asks(rack: Rack, port: Port) -> None:
    port.plug_in(mac=MACS["pi-2"], address=f"{ADDRESSES['pi-2']}/24")
    firmware = build.tree() / "boot/firmware"
    # A Pi 3 asks for the first at the root, and for all else by its serial number, then without.
    assert port.fetch(server=SERVER, name="bootcode.bin") == (firmware / "bootcode.bin").read_bytes()
    for serial in SERIALS.values():
        start = port.fetch(server=SERVER, name=f"{serial}/start.elf")
        assert start == (firmware / "start.elf").read_bytes()
    for name in ("start.elf", "6a1b9c04/recovery.elf", "00000000/start.elf"):
        assert port.fetch(server=SERVER, name=name) is None
    for name in ("../state/pi-2.json", "6a1b9c04/../../state/pi-2.json", "/etc/passwd", f"{TREES}/.lock"):
        assert port.fetch(server=SERVER, name=name) is None, "out of its root"
    note = rack.folder / "note"
    note.write_text("written")
    port.command("curl", "--silent", "--max-time", "10", "--upload-file", note, f"tftp://{SERVER}/note")
    assert not (rack.trees() / "tftp/note").exists()


def test_links_that_a_node_planted_lead_nowhere(rack: Rack, port: Port) -> None:
    boot = f"{TREES}/tftp/{SERIALS['pi-2']}"
    rack.server("umask 022; echo own >/tmp/own; echo own >/dev/shm/own")
    reader = "runuser -u dnsmasq -- cat"
    targets = ("/etc/passwd", "/tmp/own", "/dev/shm/own", "/proc/self/mounts", "../../../../../../etc/passwd")
    for target in targets:
        rack.server(f"ln -sfn {target} {boot}/x")
        # The TFTP server's user might read it.
        assert rack.server(f"{reader} {target if target.startswith('/') else boot + '/x'}")
        assert port.fetch(server=SERVER, name=f"{SERIALS['pi-2']}/x") is None, target
    # A folder below which there is something, and a link that does no harm.
    rack.server(f"ln -sfn /etc {boot}/x")
    assert port.fetch(server=SERVER, name=f"{SERIALS['pi-2']}/x/hostname") is None
    rack.server(f"ln -sfn start.elf {boot}/x")
    assert port.fetch(server=SERVER, name=f"{SERIALS['pi-2']}/x")
    rack.server(f"rm {boot}/x /tmp/own /dev/shm/own")


def test_a_node_comes_and_goes_while_the_server_runs(rack: Rack, port: Port) -> None:
    folder = f"{TREES}/tftp/6a1b9c06"
    started = rack.server("systemctl show --property=MainPID bramble-tftp")
    rack.server(f"mkdir {folder}; echo come >{folder}/start.elf")
    assert port.fetch(server=SERVER, name="6a1b9c06/start.elf") == b"come\n"
    rack.server(f"mv {folder} {TREES}/gone; mkdir {folder}; echo new >{folder}/start.elf; rm -r {TREES}/gone")
    assert port.fetch(server=SERVER, name="6a1b9c06/start.elf") == b"new\n"
    rack.server(f"rm -r {folder}")
    assert port.fetch(server=SERVER, name="6a1b9c06/start.elf") is None
    assert rack.server("systemctl show --property=MainPID bramble-tftp") == started


def test_each_node_is_let_in_to_its_own_tree_alone(rack: Rack, port: Port) -> None:
    def url(path: str) -> str:
        return f"nfs://{SERVER}{TREES}/{path}?version=4"

    for mine, other in (("pi-2", "pi-3"), ("pi-3", "pi-2")):
        port.plug_in(mac=MACS[mine], address=f"{ADDRESSES[mine]}/24")
        # From a port that only root may use, as a kernel does.
        hostname = port.command("nfs-cat", url(f"nfs/{mine}/etc/hostname"))
        assert hostname.stdout.strip() == mine, hostname.stderr
        assert "config.txt" in port.command("nfs-ls", url(f"tftp/{SERIALS[mine]}")).stdout
        note = rack.folder / "note"
        note.write_text(mine)
        written = port.command("nfs-cp", note, url(f"nfs/{mine}/root/note"))
        assert (rack.trees() / "nfs" / mine / "root/note").read_text() == mine, written.stderr
        for path in (f"nfs/{other}", f"nfs/{other}/etc", f"tftp/{SERIALS[other]}", "state", "images"):
            refused = port.command("nfs-ls", url(path))
            assert refused.returncode != 0, f"{mine} sees {path}: {refused.stdout}"
        # Of the others not even the names are seen.
        assert port.command("nfs-ls", url("nfs")).stdout.split()[-1:] == [mine]
    port.plug_in(mac="02:00:00:00:00:77", address=FOREIGN)
    for path in ("nfs/pi-2", "nfs/pi-3", "tftp/6a1b9c04", "nfs", "tftp"):
        assert port.command("nfs-ls", url(path)).stdout.split() == []


def test_nothing_is_served_elsewhere(rack: Rack) -> None:
    sockets = rack.server("ss --listening --numeric --tcp --udp --no-header | awk '{print $5}'").splitlines()
    assert any(socket.endswith(":2049") for socket in sockets)
    assert f"{SERVER}:69" in sockets
    for socket in sockets:
        address, _colon, number = socket.rpartition(":")
        if number not in ("22", "323"):
            assert SERVER in address or "%eth0" in address, socket


@pytest.mark.long
def test_a_board_without_a_card_becomes_a_node(rack: Rack, port: Port) -> None:
    node = "pi-2"
    with Board(name="netboot", mac=MACS[node], serial=SERIALS[node], port=port, folder=rack.folder) as board:
        print(f"\nssh answers after {board.wait_for_ssh(ADDRESSES[node]):.0f} s", flush=True)
        shown = rack.shell(
            node, "hostname; cat /etc/machine-id; cat /proc/mounts; cat /proc/cmdline; cat /etc/resolv.conf"
        )
        tree = rack.trees() / "nfs" / node
        lines = shown.splitlines()
        assert lines[0] == node
        assert lines[1] == (tree / "etc/machine-id").read_text().strip()
        mounts = {line.split()[1]: line for line in lines if line.count(" ") == 5}
        for place, path in (("/", f"nfs/{node}"), ("/boot/firmware", f"tftp/{SERIALS[node]}")):
            assert mounts[place].startswith(f"{SERVER}:{TREES}/{path} {place} nfs4 ")
            assert "vers=4.1" in mounts[place]
        # Where pods live, overlayfs works.
        for place in ("/var/lib/containerd", "/var/lib/docker", "/var/lib/kubelet"):
            assert " ext4 " in mounts[place]
        folder = "/var/lib/containerd/trial"
        rack.shell(
            node,
            f"mkdir -p {folder}/lower {folder}/upper {folder}/work {folder}/merged &&"
            " mount -t overlay overlay -o "
            f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
            f" {folder}/merged && touch {folder}/merged/file && test -e {folder}/upper/file && umount "
            f"{folder}/merged",
        )
        assert f"nameserver {SERVER}" in shown
        os_prep = rack.folder / "os_prep.yml"
        os_prep.write_text(
            "- hosts: netboot\n  gather_facts: false\n  become: true\n  roles: [bramble.pi.os_prep]\n"
        )
        boot_id = rack.shell(node, "cat /proc/sys/kernel/random/boot_id")
        rack.playbook(str(os_prep), "--limit", node)
        assert rack.playbook(str(os_prep), "--limit", node) == []
        # The control groups were on from the start, so that nothing had to be rebooted.
        assert rack.shell(node, "cat /proc/sys/kernel/random/boot_id") == boot_id
        # What is edited on the node is what its firmware loads.
        token = "bramble.test=1"
        words = ["ansible", node, "--become", "-m", "bramble.pi.kernel_cmdline"]
        rack.run(*words, "-a", f'{{"present": ["{token}"]}}')
        assert token in (rack.trees() / "tftp" / SERIALS[node] / "cmdline.txt").read_text().split()
        # The node waits for a server that is restarted, and goes on.
        reboot_server(rack)
        rack.shell(node, "echo after >/root/after; sync")
        assert (tree / "root/after").read_text() == "after\n"
    # What the node wrote is its own, and is left as it is.
    assert (tree / "var/lib/bramble/booted").exists()
    assert rack.playbook("playbooks/netboot.yml") == []


def reboot_server(rack: Rack) -> None:
    """Reboot the server, and wait until it serves again."""
    before = rack.server("cat /proc/sys/kernel/random/boot_id")
    subprocess.run(["podman", "exec", f"{RACK}-server", "systemctl", "reboot"], check=False)
    deadline = time.monotonic() + 180
    while True:
        try:
            if (
                rack.server(f"systemctl is-active --quiet {UNITS}; cat /proc/sys/kernel/random/boot_id")
                != before
            ):
                rack.server(f"systemctl is-active {UNITS}")
                return
        except subprocess.CalledProcessError:
            pass
        assert time.monotonic() < deadline, "the server did not come back"
        time.sleep(1)


def test_all_is_there_after_a_reboot_of_the_server(rack: Rack, port: Port) -> None:
    reboot_server(rack)
    test_a_board_is_told_where_to_boot_from(rack, port)
    test_files_come_as_the_firmware_asks(rack, port)
    test_each_node_is_let_in_to_its_own_tree_alone(rack, port)


def test_a_server_of_before_beside_another_dhcp_server(rack: Rack, port: Port) -> None:
    # As on a server that gives no addresses; another one does, and knows nothing of boot files.
    rack.server("rm /etc/dnsmasq.d/bramble.conf")
    # And as a run of before has left it.
    rack.server("systemctl disable --now bramble-tftp; rm /etc/systemd/system/bramble-tftp.service")
    rack.server(f"printf '{BEFORE}' >>/etc/dnsmasq.d/bramble-netboot.conf")
    rack.server("systemctl daemon-reload; systemctl restart dnsmasq")
    link = f"{TREES}/tftp/{SERIALS['pi-2']}/x"
    rack.server(f"ln -s /etc/passwd {link}")
    port.plug_in(mac=MACS["pi-2"], address=f"{ADDRESSES['pi-2']}/24")
    assert port.fetch(server=SERVER, name=f"{SERIALS['pi-2']}/x"), (
        "which shows that the link is one that matters"
    )
    arguments = ("--tags", "netboot_server", "-e", "netboot_server_dhcp=proxy")
    assert rack.playbook("playbooks/netboot.yml", *arguments)
    assert rack.playbook("playbooks/netboot.yml", *arguments) == []
    assert port.fetch(server=SERVER, name=f"{SERIALS['pi-2']}/x") is None
    assert port.fetch(server=SERVER, name=f"{SERIALS['pi-2']}/start.elf")
    rack.server(f"rm {link}")
    mac = MACS["pi-2"]
    with Port(name="netboot-other", network=RACK, folder=rack.folder) as other:
        other.plug_in(mac="02:00:00:00:00:50", address="10.89.91.50/24")
        dnsmasq = [
            *("ip", "netns", "exec", other.name, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null"),
            *("--port=0", "--interface=eth0", "--bind-interfaces", "--dhcp-authoritative", "--user=root"),
            *("--dhcp-range=10.89.91.0,static,255.255.255.0,1h", f"--dhcp-host={mac},{ADDRESSES['pi-2']}"),
            *(f"--dhcp-leasefile={rack.folder}/leases", f"--pid-file={rack.folder}/dnsmasq.pid"),
        ]
        with subprocess.Popen(dnsmasq) as server:
            try:
                offers = offers_to(port, mac)
                unknown = offers_to(port, "b8:27:eb:00:00:99")
            finally:
                server.terminate()
    (lease,) = [offer for offer in offers if offer["yiaddr"] != "0.0.0.0"]
    assert lease["yiaddr"] == ADDRESSES["pi-2"]
    assert "43" not in lease
    (proxy,) = [offer for offer in offers if offer["yiaddr"] == "0.0.0.0"]
    assert proxy["54"] == bytes(int(part) for part in SERVER.split(".")).hex()
    assert b"Raspberry Pi Boot" in bytes.fromhex(proxy["43"])
    assert unknown == [], "a board that the inventory does not know"


def offers_to(port: Port, mac: str) -> list[dict[str, str]]:
    """Return what each DHCP server offers a board; asked again, as one may not listen yet."""
    port.plug_in(mac=mac)
    offers: list[dict[str, str]] = []
    for _attempt in range(3):
        done = port.command(sys.executable, Path(__file__).with_name("dhcp_offers.py"), mac)
        assert done.returncode == 0, done.stderr
        offers = json.loads(done.stdout)
        if len(offers) > 1:
            break
    return offers
