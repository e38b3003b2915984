# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node in a folder, for tests of its network: files are real, commands answer from a table."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.bramble.pi.plugins.module_utils._network.manager import File
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import Settings

FIXTURES = Path(__file__).parent / "fixtures/network"
SETTINGS = Settings(
    "eth0",
    ipaddress.IPv4Interface("192.168.1.11/24"),
    ipaddress.IPv4Address("192.168.1.1"),
    ("192.168.1.1", "8.8.8.8"),
    ("rack.example.org",),
)
BARE = Settings("eth0", ipaddress.IPv4Interface("10.0.0.1/8"), None, (), ())
#: What the programs of a node say on which all of them claim eth0.
OUTPUTS = {
    "nmcli -t -f GENERAL device show eth0": "nmcli-1.52-device.txt",
    "nmcli -t -f UUID,FILENAME connection show": "nmcli-1.52-profiles.txt",
    "networkctl --no-pager --lines=0 status eth0": "networkctl-257.txt",
    "ip -j -4 address show dev eth0": "ip-address.json",
    "ip -j -4 route show default dev eth0": "ip-route.json",
}


def text(name: str) -> str:
    """Return what was recorded on a real system."""
    return (FIXTURES / name).read_text(encoding="utf-8")


def by_path(files: list[File]) -> dict[str, str]:
    """Return the texts of files."""
    return {file.path: file.text for file in files}


class FolderNode(Node):
    """A node in a folder."""

    def __init__(self, root: Path, outputs: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.missing: set[str] = set()
        self.active: set[str] = set()
        self.commands: list[str] = []
        self.outputs = {command: text(name) for command, name in OUTPUTS.items()} | dict(outputs or {})
        self.write("/sys/class/net/eth0/address", "dc:a6:32:01:02:03\n")
        self.write("/sys/class/net/lo/address", "00:00:00:00:00:00\n")
        super().__init__(run=self.answer, has=lambda program: program not in self.missing, root=str(root))

    def write(self, path: str, text: str = "") -> None:
        """Place a file."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def answer(self, command: list[str]) -> tuple[int, str, str]:
        """Answer a command."""
        line = " ".join(command)
        self.commands.append(line)
        if line.startswith("systemctl is-active"):
            return (0 if command[-1] in self.active else 3), "", ""
        return (0, self.outputs[line], "") if line in self.outputs else (1, "", f"{line} is not known")
