# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the trees that a node boots from, beside what is served, and put them in place."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._boot.applied import KEY, applied, parse_applied
from ansible_collections.bramble.pi.plugins.module_utils._boot.fat import FatBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import make_seed
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import MtoolsRunner
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._common.values import text_problem
from ansible_collections.bramble.pi.plugins.module_utils._netboot import system
from ansible_collections.bramble.pi.plugins.module_utils._netboot.configuration import (
    Earlier,
    TreeConfiguration,
    TreeOptions,
)
from ansible_collections.bramble.pi.plugins.module_utils._netboot.host_key import read_host_key
from ansible_collections.bramble.pi.plugins.module_utils._netboot.top_folder import TopFolder, entries
from ansible_collections.bramble.pi.plugins.module_utils._netboot.tree_files import TreeFiles
from ansible_collections.bramble.pi.plugins.module_utils._netboot.unpack import unpack
from ansible_collections.bramble.pi.plugins.module_utils._nfs.file_systems import root_problem
from ansible_collections.bramble.pi.plugins.module_utils._sd_card.plan import Prepared, prepare_image


class TreeBuilder:
    """Builds the two folders of a node, and fixes what is not as it should be."""

    def __init__(
        self,
        *,
        options: TreeOptions,
        changes: Changes,
        run: Runner,
        mtools: MtoolsRunner,
        scratch: str,
        warn: Callable[[str], None],
    ) -> None:
        """Take what runs commands and mtools, a folder for temporary files, and who hears warnings."""
        self._options = options
        self._changes = changes
        self._mtools = mtools
        self._scratch = scratch
        self._warn = warn
        top = options.dir
        self._top = TopFolder(path=top, run=run)
        self._new = f"{top}/new/{options.node}"
        self._before = f"{top}/before/{options.node}"
        self._state_path = f"{top}/state/{options.node}.json"
        self.root = f"{top}/nfs/{options.node}"
        self.boot = f"{top}/tftp/{options.serial}"
        self.why = ""
        self.host_key = ""

    def check(self) -> None:
        """Refuse what no tree can be made of, before anything is touched."""
        options, node, serial = self._options, self._options.node, self._options.serial
        system.check_serial(serial)
        system.check_container_storage(
            storage=options.container_storage, device=options.container_storage_device
        )
        for name, text in options.files.items():
            problem = text_problem(text, secret=True)
            if problem:
                raise system.NetbootTreeError(f"{name!r} of 'files' {problem}: set flash_files")
        self._asked()
        path = os.path.realpath(options.dir)
        problem = root_problem(
            path=path,
            mountinfo=read_text("/proc/self/mountinfo") or "",
            asked=options.dir,
            variable="netboot_tree_root_file_system",
            help_at="docs/netboot.md (also for trees that are there already)",
        )
        if problem and not options.root_file_system:
            raise system.NetbootTreeError(problem)
        for entry in entries(f"{options.dir}/state"):
            # What a killed run left behind has another ending.
            state = _read_state(entry.path) if entry.name.endswith(".json") else {}
            if state.get("serial") == serial and state.get("node") != node:
                raise system.NetbootTreeError(
                    f"{node} has the serial number {serial}, as {state.get('node')} has, whose tree is "
                    f"{options.dir}/nfs/{state.get('node')}; expected one for each: correct "
                    f"netboot_tree_serial, or remove {entry.path} if that node is gone"
                )

    def _asked(self) -> dict[str, Any]:
        """Write down what is asked for of the boot partition, without what is in its files."""
        return applied(
            seed=make_seed(
                files=dict.fromkeys(self._options.files, b""),
                config_txt=self._options.config_txt,
                cmdline={"present": self._options.cmdline_present},
            )
        )

    def ensure(self) -> None:
        """Ensure that the node has its trees."""
        if not self._changes.check_mode:
            with self._top.lock():
                self._activate()
                self._ensure()
        elif os.path.isdir(self._options.dir):
            self._ensure()
        else:
            self._changes.note("make the tree")

    def _ensure(self) -> None:
        self._top.protect(self._changes)
        state = _read_state(self._state_path)
        self._follow_serial(state)
        if self._needs_build(state):
            if not self._changes.note("make the tree"):
                return
            self._build(prepare_image(path=self._options.image, folder=self._scratch))
            self._activate()
            state = _read_state(self._state_path)
        else:
            self._update(state)
        self.why = state["why"]
        self.host_key = read_host_key(root=TreeFiles(root=self.root, dry_run=True), node=self._options.node)

    def _update(self, state: dict[str, Any]) -> None:
        """Fix what makes the tree that is served that of its node."""
        nfs = system.NfsBoot(state["initramfs"], state["why"])
        root = TreeFiles(root=self.root, dry_run=self._changes.check_mode)
        asked, before = self._asked(), state.get(KEY, {})
        less = any(item not in asked[kind] for kind in asked for item in before.get(kind, ()))
        earlier = self._earlier(state) if less else None
        self._configuration(earlier).configure(root, self.boot, nfs, fresh=False)
        if before != asked and (earlier or not less) and not self._changes.check_mode:
            state[KEY] = asked
            write_text(self._state_path, f"{json.dumps(state, indent=4)}\n")
        booted = os.path.isdir(self._before) and root.exists(system.BOOTED)
        if booted and self._changes.note(f"remove {self._before}"):
            shutil.rmtree(self._before)

    def _earlier(self, state: dict[str, Any]) -> Earlier | None:
        """Return what was asked for before, and the image that has what was there in its place."""
        prepared = prepare_image(path=self._options.image, folder=self._scratch)
        if prepared.image_map.sha256 != state["image"]["sha256"]:
            self._warn(
                f"what was taken out of the inputs of {self._options.node} stays on its boot partition, as "
                f"{state['image']['name']}, the image of its tree, is not the one that is named now; for a "
                "new tree, set netboot_tree_replace to true"
            )
            return None
        image = FatBoot(path=prepared.boot_path, offset=prepared.boot_offset, run=self._mtools)
        return Earlier(parse_applied(content=json.dumps({KEY: state[KEY]}).encode()), image)

    def _configuration(self, earlier: Earlier | None = None) -> TreeConfiguration:
        return TreeConfiguration(
            options=self._options,
            top=self._top,
            changes=self._changes,
            root=self.root,
            boot=self.boot,
            earlier=earlier,
        )

    def _build(self, prepared: Prepared) -> None:
        """Build both folders beside what is served."""
        source = unpack(top=self._top, prepared=prepared, mtools=self._mtools)
        shutil.rmtree(self._new, ignore_errors=True)
        os.makedirs(os.path.dirname(self._new), mode=0o700, exist_ok=True)
        os.mkdir(self._new)
        used = int(self._top.command("du", "--summarize", "--block-size=1", source).split()[0])
        if not self._shares(source):
            self._top.require_room(used)
        self._top.command("cp", "-a", "--reflink=auto", f"{source}/root", f"{source}/boot", self._new)
        root = TreeFiles(root=f"{self._new}/root", dry_run=False)
        boot, configuration = f"{self._new}/boot", self._configuration()
        nfs = configuration.detect_nfs(root, boot)
        configuration.configure(root, boot, nfs, fresh=True)
        state = {
            "node": self._options.node,
            "serial": self._options.serial,
            "image": {"name": prepared.name, "sha256": prepared.image_map.sha256},
            "initramfs": nfs.initramfs,
            "why": nfs.why,
            KEY: self._asked(),
        }
        self._top.command("sync", "--file-system", self._new)
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

    def _activate(self) -> None:
        """Put a complete tree in the place of the one that is served; goes on where it was interrupted."""
        if not os.path.exists(f"{self._new}/state.json"):
            return
        self._serve_bootcode()
        for kind, place in (("root", self.root), ("boot", self.boot)):
            new, before = f"{self._new}/{kind}", f"{self._before}/{kind}"
            if not os.path.isdir(new):
                continue
            # The TFTP server is not root, and has to come to what it serves.
            mode = 0o700 if kind == "root" else 0o755
            os.makedirs(os.path.dirname(place), mode=mode, exist_ok=True)
            if os.path.isdir(place):
                os.makedirs(os.path.dirname(self._before), mode=0o700, exist_ok=True)
                os.makedirs(self._before, mode=0o700, exist_ok=True)
                shutil.rmtree(before, ignore_errors=True)
                os.rename(place, before)
            os.rename(new, place)
        os.makedirs(os.path.dirname(self._state_path), mode=0o700, exist_ok=True)
        os.rename(f"{self._new}/state.json", self._state_path)
        shutil.rmtree(self._new, ignore_errors=True)

    def _serve_bootcode(self) -> None:
        """Have the one file that a Pi 3 asks for without its serial number, before its node can change it."""
        new, tftp = f"{self._new}/boot", f"{self._options.dir}/tftp"
        if os.path.isdir(new):
            data = TreeFiles(root=new, dry_run=True).read_bytes("bootcode.bin")
            if data is not None:
                os.makedirs(tftp, exist_ok=True)
                TreeFiles(root=tftp, dry_run=False).write_bytes("bootcode.bin", data)

    def _follow_serial(self, state: dict[str, Any]) -> None:
        """Take the folder along to the serial number of another board."""
        old = f"{self._options.dir}/tftp/{state.get('serial')}"
        if not state or old == self.boot or not os.path.isdir(old):
            return
        if not self._changes.note(f"move {old} to {self.boot}"):
            self.boot = old
            return
        os.rename(old, self.boot)
        state["serial"] = self._options.serial
        write_text(self._state_path, f"{json.dumps(state, indent=4)}\n")

    def _needs_build(self, state: dict[str, Any]) -> bool:
        if not (state and os.path.isdir(self.root) and os.path.isdir(self.boot)):
            return True
        path = self._options.image
        if os.path.basename(path).endswith(".img.zst"):
            # The cache of os_image names images so.
            sha256 = os.path.basename(path).partition(".")[0]
        else:
            sha256 = prepare_image(path=path, folder=self._scratch).image_map.sha256
        if sha256 == state["image"]["sha256"]:
            return False
        if not self._options.replace:
            self._warn(
                f"{self._options.node} has a tree of {state['image']['name']}, which stays as it is; for "
                "a new one of the image that is named now, set netboot_tree_replace to true"
            )
        return self._options.replace


def _read_state(path: str) -> dict[str, Any]:
    state = json.loads(read_text(path) or "{}")
    return state if isinstance(state, dict) else {}
