# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as a user has it: a host of an inventory, a card that its playbook flashes, a board to put it in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import loop_devices
from tests.boot import build
from tests.boot.machine import GATEWAY, VIRT, Board, Link, Machine, free_port

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
#: Not the address that QEMU's own DHCP server gives, so that only what the card says leads to the node.
ADDRESS = "10.0.2.77"
CGROUP_TOKENS = ["cgroup_enable=cpuset", "cgroup_enable=memory", "cgroup_memory=1", "swapaccount=1"]
#: Larger than the image, so that the root file system has to grow; QEMU wants a power of two.
CARD_SIZE = 2 << 30


class Node:
    """One node of an inventory and its card."""

    def __init__(self, *, name: str, folder: Path, image: Path, cache: Path) -> None:
        self.name = name
        self.folder = folder
        self.card = folder / f"{name}.card"
        self.port = free_port()
        self.key = folder / "id_ed25519"
        self.known_hosts = folder / "known_hosts"
        with self.card.open("wb") as file:
            file.truncate(CARD_SIZE)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.variables: dict[str, Any] = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "bramble",
            "ansible_ssh_private_key_file": str(self.key),
            # Only the key that was put on the card is accepted, and nothing but this file is asked.
            "ansible_ssh_common_args": (
                f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={self.known_hosts}"
                " -o GlobalKnownHostsFile=/dev/null"
            ),
            "node_network_address": f"{ADDRESS}/24",
            "node_network_gateway": GATEWAY,
            "flash_image": str(image),
            "flash_authorized_keys": [self.key.with_suffix(".pub").read_text().strip()],
            "ssh_access_known_hosts_file": str(self.known_hosts),
            "flash_cache_dir": str(cache),
            "flash_receipts_dir": str(folder / "receipts"),
            "flash_assume_yes": True,
            "flash_allow_loop": True,
            # Nothing is let out of QEMU's network, so there is no time server; QEMU keeps the clock right.
            "os_prep_time_sync": False,
        }

    def ansible(self, *command: str, **variables: Any) -> str:
        """Run one of Ansible's commands on this node, show what it prints, and return it."""
        inventory = self.folder / "hosts.json"
        inventory.write_text(json.dumps({"all": {"hosts": {self.name: {**self.variables, **variables}}}}))
        command = (str(BIN / command[0]), "-i", str(inventory), *command[1:])
        print(f"\n$ {' '.join(command)}", flush=True)
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_FORCE_COLOR": "0"}
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(f"{done.stdout}({time.monotonic() - began:.0f} s, exit code {done.returncode})", flush=True)
        assert done.returncode == 0, f"{command} ended with {done.returncode}; expected 0:\n{done.stdout}"
        assert "DEPRECATION WARNING" not in done.stdout
        return done.stdout

    def playbook(self, path: Path | str, *arguments: str, **variables: Any) -> dict[str, int]:
        """Run a playbook on this node and return Ansible's closing counts, {"ok": 9, "changed": 0, ...}."""
        output = self.ansible("ansible-playbook", str(path), *arguments, **variables)
        counts = re.search(rf"^{re.escape(self.name)}\s+: (ok=\d+ .*)$", output, re.MULTILINE)
        assert counts is not None
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counts[1])}

    def module(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run one module on this node, as root, and return its result."""
        words = ["-a", json.dumps(arguments)] if arguments else []
        output = self.ansible("ansible", "all", "--become", "-m", name, *words)
        result: dict[str, Any] = json.JSONDecoder().raw_decode(output.partition(" => ")[2])[0]
        return result

    def shell(self, script: str) -> str:
        """Run a script on this node as root and return what it printed."""
        arguments = json.dumps({"argv": ["sh", "-ec", script]})
        output = self.ansible("ansible", "all", "--become", "-m", "ansible.builtin.command", "-a", arguments)
        return output.partition(" >>\n")[2].strip()

    def flash(self, **variables: Any) -> dict[str, Any]:
        """Flash the card as a user does; return the receipt."""
        with loop_device(self.card) as device:
            self.playbook("playbooks/flash.yml", flash_device=device, **variables)
        receipt: dict[str, Any] = json.loads((self.folder / "receipts" / f"{self.name}.json").read_text())
        return receipt

    def machine(self, board: Board = VIRT) -> Machine:
        """Return a machine with the card in it, switched off."""
        link = Link.alone(ADDRESS, self.port)
        return Machine(card=self.card, folder=self.folder, link=link, board=board)


def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """Show the end of the serial console with a failure."""
    machine = getattr(node, "funcargs", {}).get("machine")
    if machine is not None:
        print(machine.console(), flush=True)


@contextmanager
def loop_device(path: Path) -> Iterator[str]:
    """Let a file be a block device, which stands for a card in a reader."""
    device = loop_devices.attach(path)
    # Who had the device before may have left it write-protected.
    subprocess.run(["blockdev", "--setrw", device], check=True)
    try:
        yield device
    finally:
        loop_devices.detach(device)


@pytest.fixture(scope="session")
def image() -> Path:
    """Return the image that the cards are flashed with."""
    return build.image()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return where flashing keeps the image in its own form, for all cards of a run."""
    folder = tmp_path_factory.mktemp("cache")
    yield folder
    # Images and cards take much room, and pytest keeps its folders.
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def node(image: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Return a node whose card is empty."""
    node = Node(name="pi-1", folder=tmp_path_factory.mktemp("node"), image=image, cache=cache)
    yield node
    node.card.unlink()
