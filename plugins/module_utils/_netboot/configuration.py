# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configure the copy of an OS image as the tree of its node."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._boot.applied import Applied, with_removals
from ansible_collections.bramble.pi.plugins.module_utils._boot.cmdline import (
    Desired,
    edit_line,
    read_line,
    split,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.layout import (
    RASPI_FIRMWARE_EXTRA,
    RASPI_FIRMWARE_HOOK,
    RASPI_FIRMWARE_SETTINGS,
    find_card_cmdline,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import Seed, apply_seed, make_seed
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import Boot
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._netboot import system
from ansible_collections.bramble.pi.plugins.module_utils._netboot.host_key import HOST_KEY
from ansible_collections.bramble.pi.plugins.module_utils._netboot.served_boot import ServedBoot
from ansible_collections.bramble.pi.plugins.module_utils._netboot.top_folder import TopFolder
from ansible_collections.bramble.pi.plugins.module_utils._netboot.tree_files import TreeFiles

#: What Debian's raspi-firmware writes itself.
_ROOT = ("root=/dev/nfs", "rw", "rootwait")
_WANTS = "etc/systemd/system/local-fs.target.wants"


@dataclass(frozen=True)
class TreeOptions:
    """What is asked for, as the module netboot_tree describes it."""

    dir: str
    image: str
    node: str
    serial: str
    server: str
    user: str
    authorized_keys: Sequence[str]
    password_hash: str
    timezone: str
    resolvers: Sequence[str]
    cmdline_present: Sequence[str]
    config_txt: Sequence[Mapping[str, Any]]
    files: Mapping[str, str]
    container_storage: str
    container_storage_size: int
    container_storage_device: str
    replace: bool
    root_file_system: bool


class Earlier(NamedTuple):
    """What was asked for of a tree's boot partition before, and that of its image."""

    applied: Applied
    image: Boot


class TreeConfiguration:
    """What makes a tree that of its node."""

    def __init__(
        self,
        *,
        options: TreeOptions,
        top: TopFolder,
        changes: Changes,
        root: str,
        boot: str,
        earlier: Earlier | None = None,
    ) -> None:
        """Take the folders under which the tree will be served, be it elsewhere yet."""
        self._options = options
        self._top = top
        self._changes = changes
        self._root = root
        self._boot = boot
        self._earlier = earlier

    def detect_nfs(self, root: TreeFiles, boot_path: str) -> system.NfsBoot:
        """Say how the image's kernels come to a root over NFS."""
        kernels = dict(self._kernels(root))
        boot = ServedBoot(path=boot_path)
        names = [] if system.mount_nfs(kernels=kernels) else self._initramfs(boot)
        listed = [self._top.command("lsinitramfs", f"{boot.where}/{name}").splitlines() for name in names]
        # What only some of them have cannot be counted on.
        files = sorted(set(listed[0]).intersection(*listed)) if listed else None
        return system.choose_nfs_boot(kernels=kernels, initramfs_files=files)

    @staticmethod
    def _kernels(root: TreeFiles) -> Iterator[tuple[str, str]]:
        for name in root.names("lib/modules"):
            config = root.read(f"boot/config-{name}")
            yield name, config or root.read(f"lib/modules/{name}/modules.builtin") or ""

    @staticmethod
    def _initramfs(boot: ServedBoot) -> list[str]:
        config = (boot.read("config.txt") or b"").decode("utf-8", "surrogateescape")
        named, automatic = system.initramfs_names(config=config)
        folder = os.path.dirname(find_card_cmdline(files=_Boot(boot)).path).strip("/")
        candidates = named or (
            ["initramfs8", "initramfs_2712", "initramfs7", "initramfs"] if automatic else []
        )
        found = [boot.find(f"{folder}/{name}".strip("/")) for name in candidates]
        return [name for name in found if name and not name.endswith("/")]

    def configure(self, root: TreeFiles, boot_path: str, nfs: system.NfsBoot, *, fresh: bool) -> None:
        """Configure a tree for its node; one that is not fresh keeps what the node has written."""
        options = self._options
        if fresh:
            self._personalise(root)
        boot = ServedBoot(path=boot_path)
        self._configure_boot(root, boot, nfs, fresh=fresh)
        mount_point = "/boot/firmware" if root.is_folder("boot/firmware") else "/boot"
        root.write(
            "etc/fstab",
            system.fstab(
                text=root.read("etc/fstab") or "",
                server=options.server,
                path=self._boot,
                mount_point=mount_point,
            ),
        )
        root.write("etc/hostname", f"{options.node}\n")
        root.write("etc/hosts", system.hosts(text=root.read("etc/hosts") or "", hostname=options.node))
        if options.resolvers and (fresh or not root.exists("etc/resolv.conf")):
            root.write("etc/resolv.conf", system.resolv_conf(resolvers=options.resolvers), mode=0o644)
        if options.timezone:
            root.link("etc/localtime", f"/usr/share/zoneinfo/{options.timezone}")
        if nfs.initramfs:
            root.write(system.NFS4_SCRIPT_PATH, system.NFS4_SCRIPT)
        self._configure_services(root)
        self._configure_user(root)
        self._configure_storage(root)
        self._changes.sentences += root.changed

    def _personalise(self, root: TreeFiles) -> None:
        """Give the tree what is to differ from all others of the same image."""
        for name in root.names("etc/ssh"):
            if name.startswith("ssh_host_"):
                root.remove(f"etc/ssh/{name}")
        root.folder("etc/ssh")
        with self._top.scratch(self._options.node) as scratch:
            comment = f"root@{self._options.node}"
            self._top.command(
                *("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", f"{scratch}/key")
            )
            root.write(HOST_KEY, read_text(f"{scratch}/key") or "", mode=0o600)
            root.write(f"{HOST_KEY}.pub", read_text(f"{scratch}/key.pub") or "", mode=0o644)
        root.write("etc/machine-id", f"{uuid.uuid4().hex}\n", mode=0o444)
        root.remove("var/lib/dbus/machine-id")
        root.folder("var/lib/bramble")
        root.remove(system.BOOTED)
        root.remove("etc/resolv.conf")

    def _configure_boot(self, root: TreeFiles, boot: ServedBoot, nfs: system.NfsBoot, *, fresh: bool) -> None:
        seed = self._seed(nfs)
        files = dict(seed.files)
        layout = find_card_cmdline(files=_Boot(boot))
        for path in filter(None, (layout.path, layout.pending)):
            name = path.lstrip("/")
            line = read_line(data=boot.read(name) or b"", path=path)
            new = self._line(line, nfs, seed.cmdline)
            if new != line:
                files[name] = f"{new}\n".encode()
        if RASPI_FIRMWARE_EXTRA in (root.read(RASPI_FIRMWARE_HOOK.lstrip("/")) or ""):
            # Debian makes cmdline.txt again out of these at each update of its kernel.
            extra, settings = RASPI_FIRMWARE_EXTRA.lstrip("/"), RASPI_FIRMWARE_SETTINGS.lstrip("/")
            line = " ".join((root.read(extra) or "").split())
            root.write(extra, f"{self._line(line, nfs, seed.cmdline, without=_ROOT)}\n")
            lines = [line for line in (root.read(settings) or "").splitlines() if "ROOTPART=" not in line[:9]]
            root.write(settings, "\n".join([*lines, "ROOTPART=/dev/nfs"]) + "\n")
        result = apply_seed(
            boot=boot, seed=seed._replace(files=files, cmdline=Desired()), dry_run=self._changes.check_mode
        )
        self._changes.sentences += [f"{name} on the boot partition" for name in result.changed]
        if fresh and nfs.initramfs:
            # Nobody else reaches a tree that is being made, and there are no links on FAT.
            archive = system.initramfs_archive(files={f"scripts/{system.NFS4_BOOT}": system.NFS4_SCRIPT})
            for name in self._initramfs(boot):
                with open(f"{boot.where}/{name}", "rb") as file:
                    data = file.read()
                with open(f"{boot.where}/{name}.new", "wb") as file:
                    file.write(archive + data)
                os.replace(f"{boot.where}/{name}.new", f"{boot.where}/{name}")

    def _seed(self, nfs: system.NfsBoot) -> Seed:
        """Return what the boot partition is to hold, and to lose of what was asked for before."""
        options = self._options
        config = list(options.config_txt)
        if not nfs.initramfs:
            config.append({"section": "all", "setting": "auto_initramfs", "value": "0"})
        files = {name: text.encode("utf-8", "surrogateescape") for name, text in options.files.items()}
        seed = make_seed(
            files={"ssh": b"", **files}, config_txt=config, cmdline={"present": options.cmdline_present}
        )
        if self._earlier is None:
            return seed
        return with_removals(seed=seed, before=self._earlier.applied, image=self._earlier.image)

    def _line(self, line: str, nfs: system.NfsBoot, asked: Desired, *, without: tuple[str, ...] = ()) -> str:
        """Return a command line with what the boot over the network takes."""
        having, kept = system.cmdline_desired(
            line=line,
            server=self._options.server,
            path=self._root,
            boot=nfs,
            present=asked.present,
        )
        having = having._replace(
            present=tuple(token for token in having.present if token not in without),
            absent=tuple(token for token in asked.absent if token not in having.present),
        )
        new = edit_line(line=kept, desired=having)
        # What the node itself has put in another order is left so.
        return line if sorted(split(line=new)) == sorted(split(line=line)) else new

    def _configure_services(self, root: TreeFiles) -> None:
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

    def _configure_user(self, root: TreeFiles) -> None:
        options = self._options
        user = system.User(options.user, options.password_hash, tuple(options.authorized_keys))
        names = ("passwd", "shadow", "group", "gshadow")
        read = {name: root.read(f"etc/{name}") for name in names}
        try:
            texts, uid, gid = system.accounts(
                files={name: text for name, text in read.items() if text is not None}, user=user
            )
            home = system.home_of(passwd=texts["passwd"], user=user.name).strip("/")
        except (IndexError, KeyError, ValueError) as error:
            raise system.NetbootTreeError(
                f"one of passwd, shadow, group and gshadow in {root.root}/etc is missing or has lines that "
                "belong into no such file; expected files as the image has them: look what the node has "
                "done there, and correct them"
            ) from error
        for name, text in texts.items():
            root.write(f"etc/{name}", text)
        if not root.exists(home):
            root.folder(home, mode=0o755, owner=(uid, gid))
            root.copy_folder("etc/skel", home, owner=(uid, gid))
        root.folder(f"{home}/.ssh", mode=0o700, owner=(uid, gid))
        present = (root.read(f"{home}/.ssh/authorized_keys") or "").splitlines()
        missing = [key for key in user.authorized_keys if key not in present]
        if missing or not root.exists(f"{home}/.ssh/authorized_keys"):
            text = "".join(f"{key}\n" for key in [*present, *missing])
            root.write(f"{home}/.ssh/authorized_keys", text, mode=0o600, owner=(uid, gid))
        root.write(
            f"etc/sudoers.d/010-bramble-{user.name}", f"{user.name} ALL=(ALL) NOPASSWD: ALL\n", mode=0o440
        )

    def _configure_storage(self, root: TreeFiles) -> None:
        kind, device = self._options.container_storage, self._options.container_storage_device
        desired = {} if kind == "none" else system.storage_units(device=device if kind == "disk" else "")
        for name in system.storage_units(device=""):
            if name in desired:
                root.write(f"etc/systemd/system/{name}", desired[name])
                root.link(f"{_WANTS}/{name}", f"/etc/systemd/system/{name}")
            else:
                root.remove(f"etc/systemd/system/{name}")
                root.remove(f"{_WANTS}/{name}")
        image = system.STORAGE_FILE.lstrip("/")
        if kind != "loop" or root.exists(image):
            return
        root.folder(os.path.dirname(image))
        root.changed.append(image)
        if self._changes.check_mode:
            return
        # Made where the node reaches nothing, and then taken into its tree.
        with self._top.scratch(self._options.node) as scratch:
            path = f"{scratch}/containers.img"
            with open(path, "xb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.truncate(self._options.container_storage_size)
            self._top.command("mke2fs", "-q", "-F", "-t", "ext4", "-L", "containers", path)
            root.place(path, image)


class _Boot:
    """A boot partition as the layout is found by it; its names begin with a slash."""

    def __init__(self, boot: ServedBoot) -> None:
        self._boot = boot

    def read(self, path: str) -> str | None:
        data = self._boot.read(path.lstrip("/")) if self.exists(path) else None
        return None if data is None else data.decode(errors="replace")

    def exists(self, path: str) -> bool:
        return self._boot.find(path.lstrip("/")) is not None
