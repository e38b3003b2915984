# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of this node, below a root of its own in tests."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import is_active
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import State, state


class Device(NamedTuple):
    """An interface, as what matches interfaces sees it."""

    mac: str
    # The kernel's driver; empty for an interface that is none of a machine's.
    driver: str = ""
    physical: bool = True


class Node:
    """The node whose network it is: files, programs, and what the kernel has."""

    def __init__(self, *, run: Runner, has: Callable[[str], bool], root: str = "") -> None:
        self.run = run
        #: Tells whether a program is installed; one that is not cannot be run.
        self.has = has
        self._root = root

    def read(self, path: str) -> str:
        """Return the text of a file; a missing one has none."""
        return read_text(self._root + path) or ""

    def differs(self, path: str, text: str) -> bool:
        """Tell whether a file is not as it is to be; a missing one is not an empty one."""
        return read_text(self._root + path) != text

    def exists(self, path: str) -> bool:
        """Tell whether there is a file or a folder."""
        return os.path.exists(self._root + path)

    def is_file(self, path: str) -> bool:
        """Tell whether there is a regular file."""
        return os.path.isfile(self._root + path)

    def link(self, path: str) -> str:
        """Return where a symbolic link points to; empty if it is none."""
        return os.readlink(self._root + path) if os.path.islink(self._root + path) else ""

    def glob(self, pattern: str) -> list[str]:
        """Return the files of a pattern, sorted."""
        return sorted(path[len(self._root) :] for path in glob.glob(self._root + pattern))

    def output(self, *command: str) -> str:
        """Return what a command prints; nothing if it fails."""
        status, stdout, _stderr = self.run(list(command))
        return stdout if status == 0 else ""

    def is_active(self, unit: str) -> bool:
        """Tell whether a unit of systemd runs."""
        return is_active(self.run, unit)

    def interfaces(self) -> dict[str, str]:
        """Return the interfaces with their MAC addresses."""
        return {
            name: self.read(f"/sys/class/net/{name}/address").strip()
            for name in os.listdir(f"{self._root}/sys/class/net")
        }

    def devices(self) -> dict[str, Device]:
        """Return the interfaces with what they can be matched by."""
        return {
            name: Device(
                mac,
                os.path.basename(self.link(f"/sys/class/net/{name}/device/driver")),
                self.exists(f"/sys/class/net/{name}/device"),
            )
            for name, mac in self.interfaces().items()
        }

    def state(self, interface: str) -> State:
        """Ask the kernel what the interface has."""
        return state(
            addresses=self.output("ip", "-j", "-4", "address", "show", "dev", interface),
            routes=self.output("ip", "-j", "-4", "route", "show", "default", "dev", interface),
        )
