# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A board in QEMU that boots a card, given as an image file, as a Pi's firmware would."""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple


class Board(NamedTuple):
    """A machine that QEMU has."""

    arguments: tuple[str, ...]
    #: How the card and the network are connected; {card}, {network}, {mac} are filled in.
    devices: tuple[str, ...]
    #: File on the boot partition with the device tree; empty where QEMU brings its own.
    device_tree: str
    #: Seconds that a first boot may take until there is an answer over ssh, on a busy machine.
    patience: int


VIRT = Board(
    arguments=(
        "-machine", "virt,gic-version=2", "-cpu", "cortex-a72", "-smp", "2", "-m", "1024",
        "-accel", "tcg,thread=multi", "-device", "virtio-rng-pci",
    ),
    devices=(
        "-drive", "file={card},if=virtio,format=raw",
        "-netdev", "{network}", "-device", "virtio-net-pci,netdev=net,romfile={mac}",
    ),
    device_tree="",
    patience=600,
)  # fmt: skip

RASPI3B = Board(
    arguments=("-machine", "raspi3b"),
    devices=(
        "-drive", "file={card},if=sd,format=raw",
        "-netdev", "{network}", "-device", "usb-net,netdev=net{mac}",
    ),
    device_tree="bcm2837-rpi-3-b.dtb",
    patience=1200,
)  # fmt: skip

#: What the firmware adds to the command line, as far as QEMU's boards need it: their first serial port, and
#: more patience than the 90 s after which systemd gives up a disk, as such a board is slow on a busy machine.
FIRMWARE_TOKENS = (
    "console=ttyAMA0,115200 systemd.default_device_timeout_sec=600 systemd.default_timeout_start_sec=600"
)

#: What the guest's kernel says of a processor that QEMU emulates. On a busy machine one stands still for half
#: a minute at times; with QEMU 7.2 one was seen that did for ten minutes, on a machine that was not busy.
STUCK = re.compile(r"soft lockup - CPU#\d+ stuck for (\d+)s")
STUCK_SECONDS = 120

#: Where slirp's network has its gateway, and the only address that is let in.
GATEWAY = "10.0.2.2"


class Link(NamedTuple):
    """The cable of a board: a backend of QEMU with the id "net", and where its sshd answers."""

    network: str
    address: str
    port: int = 22
    mac: str = ""

    @classmethod
    def alone(cls, address: str, port: int) -> Link:
        """Return a network of QEMU's own that nothing leaves, with a port of this machine for the sshd."""
        forward = f"hostfwd=tcp:127.0.0.1:{port}-{address}:22"
        return cls(network=f"user,id=net,restrict=on,{forward}", address="127.0.0.1", port=port)


class MachineError(Exception):
    """The machine did not do what it was to do; the end of its serial console is part of the message."""


class Card:
    """A card as a file: what another machine reads off it while nothing runs from it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def offset(self, number: int) -> int:
        """Return where a partition begins, in bytes."""
        text = _output("sfdisk", "--json", str(self.path))
        return int(json.loads(text)["partitiontable"]["partitions"][number - 1]["start"]) * 512

    def read(self, name: str) -> bytes:
        """Return a file of the boot partition."""
        command = ["mtype", "-i", f"{self.path}@@{self.offset(1)}", f"::{name}"]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def root_size(self) -> int:
        """Return the size of the root file system in bytes, as its superblock says; also while it runs."""
        with self.path.open("rb") as file:
            file.seek(self.offset(2) + 1024)
            superblock = file.read(1024)
        blocks, shift = (
            struct.unpack_from("<I", superblock, 4)[0],
            struct.unpack_from("<I", superblock, 24)[0],
        )
        return int(blocks) * 1024 << int(shift)


class Machine:
    """A board with its card in; each reset by the guest reads the boot partition again, as firmware does."""

    def __init__(self, *, card: Path, folder: Path, link: Link, board: Board = VIRT) -> None:
        self.card = Card(card)
        self.board = board
        self.link = link
        #: How often it was started, resets by the guest included.
        self.boots = 0
        #: The kernel command line of the boot partition at the last start.
        self.cmdline = ""
        self._folder = folder
        self._serial = folder / f"{card.stem}.serial.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: threading.Thread | None = None
        self._off = threading.Event()
        self._error = ""
        #: The card as it was at the last start.
        self._before = folder / f"{card.stem}.before"
        #: When the last start was done again, which is done once.
        self._again = 0.0

    def __enter__(self) -> Machine:
        self.power_on()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cut_power()
        self._before.unlink(missing_ok=True)
        if error is not None:
            print(self.console(), flush=True)

    def power_on(self) -> None:
        """Switch the power on."""
        self._off.clear()
        self._start()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def cut_power(self) -> None:
        """Cut the power: what the guest had not yet written is lost."""
        self._off.set()
        if self._process is not None:
            self._process.kill()
        if self._supervisor is not None:
            self._supervisor.join()

    def console(self, characters: int = 6000) -> str:
        """Return the end of what was written to the serial console."""
        text = self._serial.read_text(errors="replace") if self._serial.exists() else ""
        return f"--- serial console, {self.boots} boots: ...{text[-characters:]}\n---"

    def wait_for_ssh(self) -> float:
        """Wait until an ssh server answers; return how many seconds it took."""
        began = time.monotonic()
        # slirp accepts a connection before the guest does, so only the server's own greeting counts.
        while not self._greets():
            self._wait(began, "no ssh server answers")
        return time.monotonic() - began

    def wait_for_growth(self, beyond: int) -> None:
        """Wait until the root file system on the card is larger than that many bytes."""
        began = time.monotonic()
        while self.card.root_size() <= beyond:
            self._wait(began, f"the root file system has still not more than {beyond} bytes", pause=0.2)

    def _wait(self, began: float, what: str, pause: float = 1) -> None:
        if not self._again and any(
            int(seconds) >= STUCK_SECONDS for seconds in STUCK.findall(self.console())
        ):
            self._start_again()
        waited = time.monotonic() - max(began, self._again)
        if self._error or waited > self.board.patience:
            raise MachineError(f"{self._error or what} after {waited:.0f} s\n{self.console()}")
        time.sleep(pause)

    def _start_again(self) -> None:
        """Start from the card as it was at the last start: what QEMU did since then is no boot."""
        print(f"\nThe emulated processor stands still; the board starts again.\n{self.console()}", flush=True)
        self.cut_power()
        _output("cp", "--sparse=always", str(self._before), str(self.card.path))
        self._serial.unlink()
        self.boots -= 1
        self._again = time.monotonic()
        self.power_on()

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.link.address, self.link.port), timeout=3) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _supervise(self) -> None:
        try:
            while self._process is not None:
                code = self._process.wait()
                if self._off.is_set():
                    return
                if code != 0:
                    self._error = f"QEMU ended with {code}"
                    return
                self._start()
        except (OSError, subprocess.CalledProcessError) as error:
            self._error = str(error)

    def _start(self) -> None:
        _output("cp", "--sparse=always", str(self.card.path), str(self._before))
        config = dict(settings(self.card.read("config.txt").decode()))
        self.cmdline = self.card.read("cmdline.txt").decode().strip()
        files = {"kernel": config["kernel"], "initrd": config["initramfs"]}
        if self.board.device_tree:
            files["dtb"] = self.board.device_tree
        command = ["qemu-system-aarch64", *self.board.arguments]
        for option, name in files.items():
            path = self._folder / f"{self.card.path.stem}.{option}"
            path.write_bytes(self.card.read(name))
            command += [f"-{option}", str(path)]
        wired = {"network": self.link.network, "mac": f",mac={self.link.mac}" if self.link.mac else ""}
        command += [word.format(card=self.card.path, **wired) for word in self.board.devices]
        command += ["-append", f"{self.cmdline} {FIRMWARE_TOKENS}", "-display", "none", "-monitor", "none"]
        command += ["-chardev", f"file,id=serial,path={self._serial},append=on", "-serial", "chardev:serial"]
        self.boots += 1
        with self._serial.with_suffix(".qemu").open("ab") as log:
            # Without a reset of its own, so that the command line is read again after it.
            self._process = subprocess.Popen([*command, "-no-reboot"], stdout=log, stderr=log)


def free_port() -> int:
    """Return a port on the loopback address that nothing uses."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def settings(text: str) -> list[tuple[str, str]]:
    """Return the settings of config.txt that name files: kernel=NAME and initramfs NAME ADDRESS."""
    words = [line.replace("=", " ", 1).split() for line in text.splitlines()]
    return [(word[0], word[1]) for word in words if word[:1] in (["kernel"], ["initramfs"])]


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
