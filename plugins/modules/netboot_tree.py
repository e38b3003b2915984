#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.netboot_tree``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: netboot_tree
short_description: Take the file systems of an OS image into the trees that a node boots from over the network
version_added: '0.1.0'
description:
  - Unpacks the boot partition of an image into the folder that the TFTP server has for the node's serial
    number, and its root file system into the folder that the node mounts over NFS, and makes both those of
    this node.
  - The image is unpacked once and copied for each node, by reference where the file system can do that.
    There are no hard links between nodes, as a file that one node writes in place would change for the
    others.
  - A tree is made beside what is served, and takes its place at the end. A run that was cut short at any
    moment is run again, and goes on or begins anew.
  - A tree that is there keeps all that its node has written. Only what makes it this node's tree is put
    right again.
notes:
  - Runs on the machine that serves the trees, as root. Needs mtools, e2fsprogs, zstd, and lsinitramfs of
    initramfs-tools-core for images that boot with an initramfs.
  - Growing of file systems, cloud-init, and what else a first boot from a card does is switched off. User,
    keys, host name and the rest are in the tree before the first boot.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  dir:
    description: The folder of all trees, in which C(tftp) and C(nfs) are served.
    type: path
    default: /srv/netboot
  image:
    description: The image, as M(bramble.pi.os_image) returns its path, or any image file.
    type: path
    required: true
  node:
    description: The name of the node, which its tree has in C(nfs), and its host name.
    type: str
    required: true
  serial:
    description: The last eight hexadecimal digits of the board's serial number, in lower case.
    type: str
    required: true
  server:
    description: The address at which the node reaches the NFS server.
    type: str
    required: true
  user:
    description: Who logs in; is made if the image does not have this user.
    type: str
    required: true
  authorized_keys:
    description: The public keys that the user logs in by.
    type: list
    elements: str
    default: []
  password_hash:
    description: The hash of the user's password, for a screen and a keyboard; empty for none.
    type: str
    default: ''
  timezone:
    description: The time zone, such as V(Europe/Berlin); empty to leave that of the image.
    type: str
    default: ''
  resolvers:
    description: The name servers of the node.
    type: list
    elements: str
    default: []
  cmdline_present:
    description: Tokens that the kernel command line is to have, beside those of the network boot.
    type: list
    elements: str
    default: []
  config_txt:
    description: Settings of config.txt, as O(bramble.pi.boot_files#module:config_txt).
    type: list
    elements: dict
    default: []
  files:
    description: Names and texts of further files for the boot partition.
    type: dict
    default: {}
  container_storage:
    description:
      - Where images and containers are, as overlayfs does not work on NFS.
      - V(loop) is a file in the tree with a file system in it, V(disk) a device of the node's own, V(none)
        the tree itself.
    type: str
    choices: [loop, disk, none]
    default: loop
  container_storage_size:
    description: The largest size of that file, in bytes; it takes only what is written to it.
    type: int
    default: 17179869184
  container_storage_device:
    description: The device, with ext4 on it, such as V(LABEL=containers). For V(container_storage=disk).
    type: str
    default: ''
  replace:
    description:
      - Whether to make a tree of another image anew. What the node has written into the old one is kept in
        C(before) until the new one has booted.
      - With V(false), a tree of another image is left as it is, with a warning.
    type: bool
    default: false
seealso:
  - module: bramble.pi.os_image
"""

EXAMPLES = r"""
- name: Make the tree of a node
  bramble.pi.netboot_tree:
    image: "{{ os_image.image.path }}"
    node: pi-2
    serial: 6a1b9c04
    server: 10.0.0.1
    user: pi
    authorized_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPFr5nS4kYvgPm7dWdVjW5DVi4rUuxC1oiP7yWvLTSiT you@laptop
    resolvers: [10.0.0.1]
    cmdline_present: [cgroup_enable=memory]
  become: true
  delegate_to: pi-1
"""

RETURN = r"""
changes:
  description: What was changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [make the tree, etc/fstab]
root:
  description: The folder that the node mounts as its root.
  returned: success
  type: str
  sample: /srv/netboot/nfs/pi-2
boot:
  description: The folder that the firmware loads from.
  returned: success
  type: str
  sample: /srv/netboot/tftp/6a1b9c04
why:
  description: How the node comes to its root over NFS 4.1; empty if there is no tree yet.
  returned: success
  type: str
  sample: the kernel mounts it by itself
host_key:
  description: The public SSH host key of the node; empty if there is no tree yet.
  returned: success
  type: str
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPFr5nS4kYvgPm7dWdVjW5DVi4rUuxC1oiP7yWvLTSiT root@pi-2
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._boot.cmdline import (
    CmdlineError,
    edit_line,
    read_line,
    split,
    wanted,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.layout import (
    RASPI_FIRMWARE_EXTRA,
    RASPI_FIRMWARE_HOOK,
    RASPI_FIRMWARE_SETTINGS,
    BootLayoutError,
    find_card_cmdline,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import (
    BootPartitionError,
    FatBoot,
    FolderBoot,
    apply_seed,
    make_seed,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._netboot import system
from ansible_collections.bramble.pi.plugins.module_utils._netboot.tree_files import TreeError, TreeFiles
from ansible_collections.bramble.pi.plugins.module_utils._os_image.formats import ImageFormatError, open_image
from ansible_collections.bramble.pi.plugins.module_utils._os_image.partition_table import (
    DiskImageError,
    Partition,
    find_boot_partition,
    read_partition_table,
)
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.plan import (
    CardPlanError,
    Prepared,
    prepare_image,
)

_BUFFER = 4 << 20
#: Beside what is copied, for what is made in the tree.
_SPARE = 64 << 20
_HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
_WANTS = "etc/systemd/system/local-fs.target.wants"
#: Commands that a killed run leaves behind would go on writing into what the next run makes.
_WITH_ME = ("setpriv", "--pdeathsig", "KILL")


class NetbootTree:
    """Makes the two folders of a node, and puts them right."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._options = module.params
        self._dry_run = module.check_mode
        self.changes: list[str] = []
        node, top = self._options["node"], self._options["dir"]
        self._top = top
        self._new = f"{top}/new/{node}"
        self._before = f"{top}/before/{node}"
        self._state_path = f"{top}/state/{node}.json"
        self.root = f"{top}/nfs/{node}"
        self.boot = f"{top}/tftp/{self._options['serial']}"
        self.nfs = system.NfsBoot(False, "")
        self.host_key = ""

    # What is there

    def _state(self, path: str) -> dict[str, Any]:
        state = json.loads(read_text(path) or "{}")
        return state if isinstance(state, dict) else {}

    def check(self) -> None:
        """Refuse what no tree can be made of, before anything is touched."""
        node, serial = self._options["node"], self._options["serial"]
        system.check_serial(serial=serial, node=node)
        wanted(present=self._options["cmdline_present"], absent=(), settings={})
        if self._options["container_storage"] == "disk" and not self._options["container_storage_device"]:
            raise system.NetbootTreeError(
                f"{node} is to have its containers on a disk of its own, and it is not told which; wanted is "
                "one such as LABEL=containers: set netboot_tree_container_device"
            )
        for entry in self._entries(f"{self._top}/state"):
            state = self._state(entry.path)
            if state.get("serial") == serial and state.get("node") != node:
                raise system.NetbootTreeError(
                    f"{node} has the serial number {serial}, as {state.get('node')} has, whose tree is "
                    f"{self._top}/nfs/{state.get('node')}; wanted is one for each: correct "
                    f"netboot_tree_serial, or remove {entry.path} if that node is no more"
                )

    @staticmethod
    def _entries(folder: str) -> list[os.DirEntry[str]]:
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
        return []

    # Making

    def _command(self, *command: str, hint: str = "") -> str:
        status, stdout, stderr = self._module.run_command([*_WITH_ME, *command])
        if status != 0:
            if "No space left" in stderr:
                raise self._no_room(stderr.strip().splitlines()[-1])
            raise system.NetbootTreeError(f"{' '.join(command)} ended with {status}: {stderr.strip()}{hint}")
        return str(stdout)

    def _no_room(self, why: str) -> system.NetbootTreeError:
        room = os.statvfs(self._top)
        return system.NetbootTreeError(
            f"there is no room in {self._top} ({room.f_bavail * room.f_frsize} bytes are free): {why}; "
            "remove something there, or set netboot_tree_dir to another file system. Nothing that is served "
            "was changed"
        )

    def _require_room(self, wanted: int) -> None:
        room = os.statvfs(self._top)
        if room.f_bavail * room.f_frsize < wanted + _SPARE:
            raise self._no_room(f"wanted are {wanted + _SPARE}")

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        if self._dry_run:
            yield
            return
        os.makedirs(self._top, exist_ok=True)
        with open(f"{self._top}/.lock", "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _unpack(self, prepared: Prepared) -> str:
        """Return the folder with the image's two file systems, unpacked if it is not there."""
        folder = f"{self._top}/images/{prepared.image_map.sha256}"
        if os.path.isdir(folder):
            return folder
        part = f"{folder}.part"
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(f"{part}/boot")
        os.makedirs(f"{part}/root")
        # The disk as a file, and what is copied out of it.
        self._require_room(2 * prepared.image_map.data_bytes)
        FatBoot(path=prepared.boot_path, offset=prepared.boot_offset, run=self._module.run_command).extract(
            f"{part}/boot"
        )
        partition = self._unpack_disk(prepared, f"{part}/disk")
        where = f"offset={partition.offset},sizelimit={partition.size}"
        # Mounted for this command alone, so that no run leaves a mount behind.
        script = 'mount -o "ro,loop,$1" "$2" "$3" && exec cp -a "$3/." "$4"'
        os.mkdir(f"{part}/mnt")
        self._command(
            *("unshare", "--mount", "sh", "-c", script, "sh", where),
            *(f"{part}/disk", f"{part}/mnt", f"{part}/root"),
            hint="; wanted is a root file system that this machine's kernel mounts, and loop devices",
        )
        os.rmdir(f"{part}/mnt")
        os.unlink(f"{part}/disk")
        self._command("sync", "--file-system", part)
        os.rename(part, folder)
        return folder

    def _unpack_disk(self, prepared: Prepared, path: str) -> Partition:
        buffer = bytearray(_BUFFER)
        with open_image(path=prepared.path) as reader, open(path, "xb") as disk:
            position = 0
            while count := reader.readinto(buffer):
                view = memoryview(buffer)[:count]
                for first, length in prepared.image_map.data:
                    begin, end = max(first, position), min(first + length, position + count)
                    if begin < end:
                        os.pwrite(disk.fileno(), view[begin - position : end - position], begin)
                position += count
            disk.truncate(position)
        with open(path, "rb", buffering=0) as disk:
            table = read_partition_table(read=lambda offset, length: os.pread(disk.fileno(), length, offset))
        boot = find_boot_partition(table=table)
        others = [partition for partition in table.partitions if partition.offset >= boot.end]
        if not others:
            raise system.NetbootTreeError(
                f"{prepared.name} has no partition after the one that a Pi boots from; wanted is one with "
                "the root file system: set flash_image to the image of a whole card"
            )
        return max(others, key=lambda partition: partition.size)

    def _make(self, prepared: Prepared) -> None:
        """Make both folders beside what is served."""
        source = self._unpack(prepared)
        shutil.rmtree(self._new, ignore_errors=True)
        os.makedirs(self._new)
        used = int(self._command("du", "--summarize", "--block-size=1", source).split()[0])
        if not self._shares(source):
            self._require_room(used)
        self._command("cp", "-a", "--reflink=auto", f"{source}/root", f"{source}/boot", self._new)
        root = TreeFiles(root=f"{self._new}/root", dry_run=False)
        nfs = self._judge(root)
        self._put_right(root, f"{self._new}/boot", nfs, fresh=True)
        state = {
            "node": self._options["node"],
            "serial": self._options["serial"],
            "image": {"name": prepared.name, "sha256": prepared.image_map.sha256},
            "initramfs": nfs.initramfs,
            "why": nfs.why,
        }
        self._command("sync", "--file-system", self._new)
        # From here on the tree is complete, and a run that finds this takes it.
        write_text(f"{self._new}/state.json", f"{json.dumps(state, indent=4)}\n")

    def _shares(self, source: str) -> bool:
        """Tell whether copies of this folder take no room until they are written to."""
        trial = f"{self._new}/trial"
        with open(f"{source}/boot/config.txt", "rb") as file, open(trial, "wb") as copy:
            ficlone = 0x40049409
            try:
                fcntl.ioctl(copy.fileno(), ficlone, file.fileno())
            except OSError:
                return False
            finally:
                os.unlink(trial)
        return True

    def _take_place(self) -> None:
        """Put a complete tree in the place of the one that is served; goes on where it was cut short."""
        if not os.path.exists(f"{self._new}/state.json"):
            return
        for kind, place in (("root", self.root), ("boot", self.boot)):
            new, before = f"{self._new}/{kind}", f"{self._before}/{kind}"
            if not os.path.isdir(new):
                continue
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if os.path.isdir(place):
                os.makedirs(self._before, mode=0o700, exist_ok=True)
                shutil.rmtree(before, ignore_errors=True)
                os.rename(place, before)
            os.rename(new, place)
        os.makedirs(os.path.dirname(self._state_path), exist_ok=True)
        os.rename(f"{self._new}/state.json", self._state_path)
        shutil.rmtree(self._new, ignore_errors=True)
        bootcode = f"{self.boot}/bootcode.bin"
        if os.path.exists(bootcode):
            # The one file that a Pi 3 asks for without its serial number.
            shutil.copyfile(bootcode, f"{self._top}/tftp/.bootcode.bin")
            os.rename(f"{self._top}/tftp/.bootcode.bin", f"{self._top}/tftp/bootcode.bin")

    # What makes it this node's

    def _judge(self, root: TreeFiles) -> system.NfsBoot:
        kernels = dict(self._kernels(root))
        boot = FolderBoot(path=f"{self._new}/boot")
        names = [] if system.mount_nfs(kernels=kernels) else self._initramfs(boot)
        listed = [self._command("lsinitramfs", f"{boot.where}/{name}").splitlines() for name in names]
        # What only some of them have cannot be counted on.
        files = sorted(set(listed[0]).intersection(*listed)) if listed else None
        return system.judge_nfs(kernels=kernels, initramfs_files=files)

    @staticmethod
    def _kernels(root: TreeFiles) -> Iterator[tuple[str, str]]:
        for entry in NetbootTree._entries(root.path("lib/modules/")):
            config = root.read(f"boot/config-{entry.name}")
            yield entry.name, config or root.read(f"lib/modules/{entry.name}/modules.builtin") or ""

    @staticmethod
    def _initramfs(boot: FolderBoot) -> list[str]:
        config = (boot.read("config.txt") or b"").decode("utf-8", "surrogateescape")
        named, automatic = system.initramfs_names(config=config)
        folder = os.path.dirname(find_card_cmdline(files=_Boot(boot)).path).strip("/")
        candidates = named or (
            ["initramfs8", "initramfs_2712", "initramfs7", "initramfs"] if automatic else []
        )
        found = [boot.find(f"{folder}/{name}".strip("/")) for name in candidates]
        return [name for name in found if name and not name.endswith("/")]

    def _put_right(self, root: TreeFiles, boot_path: str, nfs: system.NfsBoot, *, fresh: bool) -> None:
        options = self._options
        if fresh:
            self._make_own(root)
        boot = FolderBoot(path=boot_path)
        self._put_boot_right(root, boot, nfs, fresh=fresh)
        mount_point = "/boot/firmware" if os.path.isdir(root.path("boot/firmware")) else "/boot"
        root.write(
            "etc/fstab",
            system.fstab(
                text=root.read("etc/fstab") or "",
                server=options["server"],
                path=self.boot,
                mount_point=mount_point,
            ),
        )
        root.write("etc/hostname", f"{options['node']}\n")
        root.write("etc/hosts", system.hosts(text=root.read("etc/hosts") or "", hostname=options["node"]))
        if options["resolvers"] and (fresh or not root.exists("etc/resolv.conf")):
            root.write("etc/resolv.conf", system.resolv_conf(resolvers=options["resolvers"]), mode=0o644)
        if options["timezone"]:
            root.link("etc/localtime", f"/usr/share/zoneinfo/{options['timezone']}")
        if nfs.initramfs:
            root.write(system.NFS4_SCRIPT_PATH, system.NFS4_SCRIPT)
        self._put_services_right(root)
        self._put_user_right(root)
        self._put_storage_right(root)
        self.changes += root.changed

    def _make_own(self, root: TreeFiles) -> None:
        """Give the tree what is to differ from all others of the same image."""
        for entry in self._entries(root.path("etc/ssh/")):
            if entry.name.startswith("ssh_host_"):
                root.remove(f"etc/ssh/{entry.name}")
        root.folder("etc/ssh")
        self._command(
            *("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{self._options['node']}"),
            *("-f", root.path(_HOST_KEY)),
        )
        root.write("etc/machine-id", f"{uuid.uuid4().hex}\n", mode=0o444)
        root.remove("var/lib/dbus/machine-id")
        root.folder("var/lib/bramble")
        root.remove(system.BOOTED)
        root.remove("etc/resolv.conf")

    def _put_boot_right(self, root: TreeFiles, boot: FolderBoot, nfs: system.NfsBoot, *, fresh: bool) -> None:
        options = self._options
        files = {name: text.encode("utf-8", "surrogateescape") for name, text in options["files"].items()}
        files.setdefault("ssh", b"")
        layout = find_card_cmdline(files=_Boot(boot))
        for path in filter(None, (layout.path, layout.pending)):
            name = path.lstrip("/")
            line = read_line(data=boot.read(name) or b"", path=path)
            new = self._line(line, nfs)
            if new != line:
                files[name] = f"{new}\n".encode()
        if RASPI_FIRMWARE_EXTRA in (root.read(RASPI_FIRMWARE_HOOK.lstrip("/")) or ""):
            # Debian makes cmdline.txt anew out of these at each update of its kernel.
            extra, settings = RASPI_FIRMWARE_EXTRA.lstrip("/"), RASPI_FIRMWARE_SETTINGS.lstrip("/")
            line = " ".join((root.read(extra) or "").split())
            root.write(extra, f"{self._line(line, nfs, without=('root=/dev/nfs', 'rw', 'rootwait'))}\n")
            lines = [line for line in (root.read(settings) or "").splitlines() if "ROOTPART=" not in line[:9]]
            root.write(settings, "\n".join([*lines, "ROOTPART=/dev/nfs"]) + "\n")
        config = list(options["config_txt"])
        if not nfs.initramfs:
            config.append({"section": "all", "setting": "auto_initramfs", "value": "0"})
        result = apply_seed(boot=boot, seed=make_seed(files=files, config_txt=config), dry_run=self._dry_run)
        self.changes += [f"{name} on the boot partition" for name in result.changed]
        if fresh and nfs.initramfs:
            archive = system.initramfs_archive(files={f"scripts/{system.NFS4_BOOT}": system.NFS4_SCRIPT})
            for name in self._initramfs(boot):
                with open(f"{boot.where}/{name}", "rb") as file:
                    data = file.read()
                with open(f"{boot.where}/{name}.new", "wb") as file:
                    file.write(archive + data)
                os.replace(f"{boot.where}/{name}.new", f"{boot.where}/{name}")

    def _line(self, line: str, nfs: system.NfsBoot, *, without: tuple[str, ...] = ()) -> str:
        """Return a command line with what the boot over the network takes."""
        having, kept = system.cmdline_wanted(
            line=line,
            server=self._options["server"],
            path=self.root,
            boot=nfs,
            present=self._options["cmdline_present"],
        )
        having = having._replace(present=tuple(token for token in having.present if token not in without))
        new = edit_line(line=kept, wanted=having)
        # What the node itself has put in another order is left so.
        return line if sorted(split(line=new)) == sorted(split(line=line)) else new

    def _put_services_right(self, root: TreeFiles) -> None:
        units = "etc/systemd/system"
        for name in system.MASKED:
            root.link(f"{units}/{name}.service", "/dev/null")
        if root.exists("etc/cloud"):
            root.write("etc/cloud/cloud-init.disabled", "")
        if root.exists("etc/NetworkManager/conf.d"):
            # It would take the interface down that the root is reached by.
            root.write(
                "etc/NetworkManager/conf.d/bramble-netboot.conf",
                "[keyfile]\nunmanaged-devices=interface-name:eth0\n",
            )
        if root.exists("etc/ssh/sshd_config.d"):
            root.write("etc/ssh/sshd_config.d/10-bramble.conf", "PasswordAuthentication no\n", mode=0o644)
        for place in ("usr/lib/systemd/system", "lib/systemd/system"):
            started = root.exists(f"{units}/sockets.target.wants/ssh.socket")
            if root.exists(f"{place}/ssh.service") and not started:
                root.link(f"{units}/multi-user.target.wants/ssh.service", f"/{place}/ssh.service")
                break
        root.write(f"{units}/{system.BOOTED_UNIT_NAME}", system.BOOTED_UNIT)
        root.link(
            f"{units}/multi-user.target.wants/{system.BOOTED_UNIT_NAME}",
            f"/{units}/{system.BOOTED_UNIT_NAME}",
        )

    def _put_user_right(self, root: TreeFiles) -> None:
        options = self._options
        user = system.User(options["user"], options["password_hash"], tuple(options["authorized_keys"]))
        names = ("passwd", "shadow", "group", "gshadow")
        read = {name: root.read(f"etc/{name}") for name in names}
        texts, uid, gid = system.accounts(
            files={name: text for name, text in read.items() if text is not None}, user=user
        )
        for name, text in texts.items():
            root.write(f"etc/{name}", text)
        home = system.home_of(passwd=texts["passwd"], user=user.name).strip("/")
        if not root.exists(home):
            root.folder(home, mode=0o755, owner=(uid, gid))
            if not self._dry_run and os.path.isdir(root.path("etc/skel")):
                self._command(
                    "cp", "-a", "--no-preserve=ownership", f"{root.path('etc/skel')}/.", root.path(home)
                )
                self._command("chown", "-hR", f"{uid}:{gid}", root.path(home))
        root.folder(f"{home}/.ssh", mode=0o700, owner=(uid, gid))
        present = (root.read(f"{home}/.ssh/authorized_keys") or "").splitlines()
        missing = [key for key in user.authorized_keys if key not in present]
        if missing or not root.exists(f"{home}/.ssh/authorized_keys"):
            text = "".join(f"{key}\n" for key in [*present, *missing])
            root.write(f"{home}/.ssh/authorized_keys", text, mode=0o600, owner=(uid, gid))
        root.write(
            f"etc/sudoers.d/010-bramble-{user.name}", f"{user.name} ALL=(ALL) NOPASSWD: ALL\n", mode=0o440
        )

    def _put_storage_right(self, root: TreeFiles) -> None:
        kind, device = self._options["container_storage"], self._options["container_storage_device"]
        wanted = {} if kind == "none" else system.storage_units(device=device if kind == "disk" else "")
        for name in system.storage_units(device=""):
            if name in wanted:
                root.write(f"etc/systemd/system/{name}", wanted[name])
                root.link(f"{_WANTS}/{name}", f"/etc/systemd/system/{name}")
            else:
                root.remove(f"etc/systemd/system/{name}")
                root.remove(f"{_WANTS}/{name}")
        image = system.STORAGE_FILE.lstrip("/")
        if kind != "loop" or root.exists(image):
            return
        root.changed.append(image)
        if self._dry_run:
            return
        root.folder(os.path.dirname(image))
        path = root.path(image)
        with open(f"{path}.new", "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.truncate(self._options["container_storage_size"])
        self._command("mke2fs", "-q", "-F", "-t", "ext4", "-L", "containers", f"{path}.new")
        os.rename(f"{path}.new", path)

    # The whole

    def ensure(self) -> None:
        """Ensure that the node has its trees."""
        if self._dry_run and not os.path.isdir(self._top):
            self.changes.append("make the tree")
            return
        with self._lock():
            if not self._dry_run:
                self._take_place()
            state = self._state(self._state_path)
            self._follow_serial(state)
            if self._is_to_be_made(state):
                self.changes.append("make the tree")
                if self._dry_run:
                    return
                self._make(prepare_image(path=self._options["image"], folder=self._module.tmpdir))
                self._take_place()
                state = self._state(self._state_path)
            else:
                nfs = system.NfsBoot(state["initramfs"], state["why"])
                root = TreeFiles(root=self.root, dry_run=self._dry_run)
                self._put_right(root, self.boot, nfs, fresh=False)
                if os.path.isdir(self._before) and root.exists(system.BOOTED):
                    self.changes.append(f"remove {self._before}")
                    if not self._dry_run:
                        shutil.rmtree(self._before)
            self.nfs = system.NfsBoot(state["initramfs"], state["why"])
            self.host_key = (TreeFiles(root=self.root, dry_run=True).read(f"{_HOST_KEY}.pub") or "").strip()

    def _follow_serial(self, state: dict[str, Any]) -> None:
        """Take the folder along to the serial number of another board."""
        old = f"{self._top}/tftp/{state.get('serial')}"
        if not state or old == self.boot or not os.path.isdir(old):
            return
        self.changes.append(f"move {old} to {self.boot}")
        if self._dry_run:
            self.boot = old
            return
        os.rename(old, self.boot)
        state["serial"] = self._options["serial"]
        write_text(self._state_path, f"{json.dumps(state, indent=4)}\n")

    def _is_to_be_made(self, state: dict[str, Any]) -> bool:
        if not (state and os.path.isdir(self.root) and os.path.isdir(self.boot)):
            return True
        path = self._options["image"]
        if os.path.basename(path).endswith(".img.zst"):
            # The cache of os_image names images so.
            sha256 = os.path.basename(path).partition(".")[0]
        else:
            sha256 = prepare_image(path=path, folder=self._module.tmpdir).image_map.sha256
        if sha256 == state["image"]["sha256"]:
            return False
        if not self._options["replace"]:
            self._module.warn(
                f"{self._options['node']} has a tree of {state['image']['name']}, which stays as it is; for "
                "a new one of the image that is named now, set netboot_tree_replace to true"
            )
        return bool(self._options["replace"])


class _Boot:
    """A boot partition as the layout is judged by it; its names begin with a slash."""

    def __init__(self, boot: FolderBoot) -> None:
        self._boot = boot

    def read(self, path: str) -> str | None:
        data = self._boot.read(path.lstrip("/")) if self.exists(path) else None
        return None if data is None else data.decode(errors="replace")

    def exists(self, path: str) -> bool:
        return self._boot.find(path.lstrip("/")) is not None


def main() -> None:
    """Run the module."""
    texts = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "dir": {"type": "path", "default": "/srv/netboot"},
            "image": {"type": "path", "required": True},
            "node": {"type": "str", "required": True},
            "serial": {"type": "str", "required": True},
            "server": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            # They are public, whatever their name looks like.
            "authorized_keys": {**texts, "no_log": False},
            "password_hash": {"type": "str", "default": "", "no_log": True},
            "timezone": {"type": "str", "default": ""},
            "resolvers": texts,
            "cmdline_present": texts,
            "config_txt": {"type": "list", "elements": "dict", "default": []},
            "files": {"type": "dict", "default": {}},
            "container_storage": {"type": "str", "choices": ["loop", "disk", "none"], "default": "loop"},
            "container_storage_size": {"type": "int", "default": 16 << 30},
            "container_storage_device": {"type": "str", "default": ""},
            "replace": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    # What the server hands out has to be readable for it.
    os.umask(0o022)
    tree = NetbootTree(module)
    try:
        tree.check()
        tree.ensure()
    except PermissionError as error:
        module.fail_json(msg=f"{error}; wanted are the rights of root: set become to true")
    except (
        *(system.NetbootTreeError, TreeError, BootLayoutError, BootPartitionError, CardPlanError),
        *(CmdlineError, DiskImageError, ImageFormatError),
    ) as error:
        module.fail_json(msg=f"{module.params['node']}: {error}")
    except OSError as error:
        reason = "there is no room" if error.errno == errno.ENOSPC else error.strerror
        module.fail_json(
            msg=f"{module.params['node']}: {error.filename or module.params['dir']}: {reason}; look at "
            f"the file system of {module.params['dir']} (df), or set netboot_tree_dir to another"
        )
    module.exit_json(
        changed=bool(tree.changes),
        changes=tree.changes,
        root=tree.root,
        boot=tree.boot,
        why=tree.nfs.why,
        host_key=tree.host_key,
    )


if __name__ == "__main__":
    main()
