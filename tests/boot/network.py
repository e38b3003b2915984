# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boards without a card on the network of a virtual rack: what their boot ROM asks for, and QEMU with it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.boot.machine import FIRMWARE_TOKENS, VIRT, MachineError, settings

#: What a Pi's boot ROM calls itself (option 60), and its architecture (option 93).
ROM = ("-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000", "-O", "43", "-O", "66", "-O", "67")
#: The script gets the answer in its environment, and gives it out.
ANSWER = '#!/bin/sh\n[ "$1" = bound ] && env\nexit 0\n'


def run(*command: str | Path) -> str:
    """Run a command, and return what it wrote."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def bridge(network: str) -> str:
    """Return the interface of this machine that is the switch of one of podman's networks."""
    inspected = json.loads(run("podman", "network", "inspect", network))[0]
    return str(inspected["network_interface"])


class Port:
    """A port of the rack's switch: a namespace whose one interface is plugged in there."""

    def __init__(self, *, name: str, network: str, folder: Path) -> None:
        self.name = name
        self._folder = folder
        self.network = network

    def __enter__(self) -> Port:
        self.__exit__(None, None, None)
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", self.name, "master", bridge(self.network), "up")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        subprocess.run(["ip", "link", "delete", self.name], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)

    def command(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        line = ["ip", "netns", "exec", self.name, *command]
        return subprocess.run(line, check=False, capture_output=True, text=True, timeout=120)

    def plug_in(self, *, mac: str, address: str = "") -> None:
        """Be the interface of a board; with an address, as if it had a lease."""
        for arguments in (["link", "set", "eth0", "down"], ["addr", "flush", "dev", "eth0"]):
            run("ip", "-n", self.name, *arguments)
        run("ip", "-n", self.name, "link", "set", "eth0", "address", mac, "up")
        if address:
            run("ip", "-n", self.name, "addr", "add", address, "dev", "eth0")

    def ask(self, *, mac: str, options: tuple[str, ...] = ROM) -> dict[str, str]:
        """Ask for an address as a board does; return what the DHCP server answers, empty if it does not."""
        self.plug_in(mac=mac)
        script = self._folder / "answer.sh"
        script.write_text(ANSWER)
        script.chmod(0o755)
        command: list[str | Path] = [
            "busybox",
            "udhcpc",
            "-f",
            "-q",
            "-n",
            "-t",
            "5",
            "-T",
            "2",
            "-i",
            "eth0",
        ]
        done = self.command(*command, "-s", script, *options)
        pairs = (line.partition("=") for line in done.stdout.splitlines())
        return {name: value for name, equals, value in pairs if equals} if "ip=" in done.stdout else {}

    def fetch(self, *, server: str, name: str) -> bytes | None:
        """Fetch a file by TFTP, None if there is none."""
        path = self._folder / "fetched"
        path.unlink(missing_ok=True)
        url = f"tftp://{server}/{name}"
        options = ("--silent", "--show-error", "--path-as-is", "--tftp-blksize", "1468", "--max-time", "110")
        done = self.command("curl", *options, "--output", path, url)
        return path.read_bytes() if done.returncode == 0 else None


class Tap:
    """A cable from the rack's switch to a board in QEMU."""

    def __init__(self, *, name: str, network: str) -> None:
        self.name = name
        #: The backend for QEMU, with the id "net".
        self.backend = f"tap,id=net,ifname={name},script=no,downscript=no"
        self.bridge = bridge(network)

    def __enter__(self) -> Tap:
        self._unplug()
        run("ip", "tuntap", "add", self.name, "mode", "tap")
        run("ip", "link", "set", self.name, "master", self.bridge, "up")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._unplug()

    def _unplug(self) -> None:
        subprocess.run(["ip", "link", "delete", self.name], check=False, capture_output=True)


class Board:
    """A board without a card in QEMU, switched on with what came over the network."""

    def __init__(self, *, name: str, mac: str, serial: str, port: Port, folder: Path) -> None:
        self._tap = Tap(name=f"{name}-tap", network=port.network)
        self._mac = mac
        self._serial = serial
        self._port = port
        self._folder = folder
        self._console = folder / "console"
        self._process: subprocess.Popen[bytes] | None = None
        self.cmdline = ""

    def load(self) -> dict[str, Path]:
        """Fetch what the firmware loads, as config.txt says."""
        answer = self._port.ask(mac=self._mac)
        server = answer["siaddr"]
        self._port.plug_in(mac=self._mac, address=f"{answer['ip']}/24")
        fetched = {}
        for name in ("config.txt", "cmdline.txt"):
            data = self._port.fetch(server=server, name=f"{self._serial}/{name}")
            if data is None:
                raise MachineError(f"there is no {self._serial}/{name}")
            fetched[name] = data
        config = dict(settings(fetched["config.txt"].decode()))
        self.cmdline = fetched["cmdline.txt"].decode().strip()
        files = {}
        for option, name in {"kernel": config["kernel"], "initrd": config["initramfs"]}.items():
            data = self._port.fetch(server=server, name=f"{self._serial}/{name}")
            if data is None:
                raise MachineError(f"there is no {self._serial}/{name}")
            files[option] = self._folder / option
            files[option].write_bytes(data)
        # The board itself has the address from here on.
        run("ip", "-n", self._port.name, "link", "set", "eth0", "down")
        return files

    def __enter__(self) -> Board:
        files = self.load()
        self._console.unlink(missing_ok=True)
        self._tap.__enter__()
        command = ["qemu-system-aarch64", *VIRT.arguments]
        for option, path in files.items():
            command += [f"-{option}", str(path)]
        command += ["-netdev", self._tap.backend]
        command += ["-device", f"virtio-net-pci,netdev=net,mac={self._mac},romfile="]
        command += ["-append", f"{self.cmdline} {FIRMWARE_TOKENS}", "-display", "none", "-monitor", "none"]
        command += ["-serial", f"file:{self._console}", "-no-reboot"]
        self._process = subprocess.Popen(command)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._tap.__exit__(kind, error, traceback)

    def console(self) -> str:
        """Return the end of what it wrote to its serial console."""
        text = self._console.read_text(errors="replace") if self._console.exists() else "nothing"
        return f"The serial console of the board:\n{text[-6000:]}"

    def wait_for_ssh(self, address: str) -> float:
        """Wait until its sshd answers; return how many seconds that took."""
        began = time.monotonic()
        while time.monotonic() - began < VIRT.patience:
            if self._process is not None and self._process.poll() is not None:
                raise MachineError(f"QEMU ended with {self._process.returncode}. {self.console()}")
            if "Kernel panic" in self.console():
                raise MachineError(self.console())
            done = subprocess.run(
                ["ssh-keyscan", "-T", "3", "-t", "ed25519", address],
                check=False,
                capture_output=True,
                text=True,
            )
            if "ssh-ed25519" in done.stdout:
                return time.monotonic() - began
            time.sleep(1)
        raise MachineError(f"no sshd at {address} after {VIRT.patience} s. {self.console()}")
