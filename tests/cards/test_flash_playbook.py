# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook flash, as a user runs it, on loop devices that stand for cards."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import loop_devices
from tests.unit.boot_card import OFFSET, Card, command, system_files

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))
ENVIRONMENT = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}
CARD_SIZE = 60 << 20
SECRETS = {
    "nat_headnode_wifi_psk": "correct horse battery",
    "flash_password_hash": "$6$salt$4zYb1xq0t7y9cM1m0J8Qp0",
}


class Rack:
    """An inventory of two nodes, and what the playbook makes of it."""

    def __init__(self, folder: Path, images: dict[str, Path]) -> None:
        self.folder = folder
        self.key = folder / "id_ed25519"
        command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        self.variables: dict[str, Any] = {
            "ansible_user": "pi",
            "flash_image": str(images["raspios-trixie"]),
            "flash_authorized_keys": [self.key.with_suffix(".pub").read_text().strip()],
            "nat_headnode_wifi_ssid": "home",
            "nat_headnode_wifi_country": "DE",
            "flash_cache_dir": str(images["raspios-trixie"].parent / "cache"),
            "flash_receipts_dir": str(folder / "receipts"),
            "ssh_access_known_hosts_file": str(folder / "ssh" / "known_hosts"),
            "flash_allow_loop": True,
            **SECRETS,
        }
        self.hosts: dict[str, dict[str, Any]] = {
            "pi-1": {"ansible_host": "10.0.0.1", "node_network_address": "10.0.0.1/24"},
            "pi-2": {"ansible_host": "10.0.0.2", "ansible_port": 2222},
        }

    def command(self, *arguments: str) -> list[str]:
        inventory = {"all": {"vars": self.variables, "children": {"workers": {"hosts": self.hosts}}}}
        (self.folder / "hosts.json").write_text(json.dumps(inventory))
        return [PLAYBOOK, "-i", str(self.folder / "hosts.json"), "playbooks/flash.yml", *arguments]

    def flash(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the playbook without a terminal."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(done.stdout)
        for secret in (*SECRETS.values(), "PRIVATE KEY"):
            assert secret not in done.stdout
        assert "DEPRECATION WARNING" not in done.stdout
        return done

    def rows(self, output: str) -> dict[str, list[str]]:
        """Return the table at the end: node, device, state and so on."""
        lines = re.findall(r'^ +"((?:NODE|pi-\d)  .*?)",?\r?$', output, re.MULTILINE)
        assert lines[0].split() == ["NODE", "DEVICE", "STATE", "IMAGE", "WRITTEN", "SECONDS", "VERIFIED"]
        return {line.split()[0]: re.split(r"  +", line)[1:] for line in lines[1:]}

    def changed(self, output: str) -> int:
        counts = re.findall(r"^pi-\d +: ok=\d+ +changed=(\d+)", output, re.MULTILINE)
        return sum(int(count) for count in counts)

    def receipt(self, node: str) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.folder / "receipts" / f"{node}.json").read_text())
        return data


class Reader:
    """A card in a reader: a loop device."""

    def __init__(self, backing: Path, size: int = CARD_SIZE) -> None:
        self.backing = backing
        with backing.open("wb") as file:
            file.truncate(size)
        self.device = loop_devices.attach(backing)

    def change(self, backing: Path) -> None:
        """Put another card into the same reader."""
        with backing.open("wb") as file:
            file.truncate(CARD_SIZE)
        with loop_devices.numbers_kept():
            loop_devices.detach(self.device)
            loop_devices.attach_again(self.device, backing)
        self.backing = backing

    def read(self, name: str) -> str:
        return command("mcopy", "-n", "-i", f"{self.backing}@@{OFFSET}", f"::{name}", "-").decode()

    def digest(self) -> str:
        return hashlib.sha256(self.backing.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("images")
    made = {}
    for system in ("raspios-trixie", "raspios-bookworm"):
        card = Card(folder / f"{system}.img")
        card.put(system_files(system))
        made[system] = card.path
    listing = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made.values()
    )
    (folder / "SHA256SUMS").write_text(listing)
    return made


@pytest.fixture
def rack(tmp_path: Path, images: dict[str, Path]) -> Rack:
    return Rack(tmp_path, images)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Callable[..., Reader]]:
    made: list[Reader] = []

    def make(folder: Path = tmp_path) -> Reader:
        made.append(Reader(folder / f"card-{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        loop_devices.detach(one.device)


def test_two_readers_from_check_mode_to_nothing_to_do(
    rack: Rack, reader: Callable[..., Reader], images: dict[str, Path]
) -> None:
    readers = {"pi-1": reader(), "pi-2": reader()}
    for node, one in readers.items():
        rack.hosts[node]["flash_device"] = one.device
    # Two images in one run, with two ways of a first boot.
    rack.hosts["pi-2"]["flash_image"] = str(images["raspios-bookworm"])
    before = {node: one.digest() for node, one in readers.items()}

    checked = rack.flash("--check")
    assert checked.returncode == 0
    assert all("would be written" in row for row in rack.rows(checked.stdout).values())

    refused = rack.flash()
    assert refused.returncode != 0
    assert "where there is no terminal to type at, set flash_assume_yes to true" in refused.stdout
    assert {node: one.digest() for node, one in readers.items()} == before
    assert not (rack.folder / "receipts").exists()

    # Now the image is in the cache, so that it is known what would be written where.
    checked = rack.flash("--check")
    assert checked.returncode == 0
    assert rack.rows(checked.stdout)["pi-1"][:2] == [readers["pi-1"].device, "would be written"]
    assert {node: one.digest() for node, one in readers.items()} == before

    done = rack.flash("-e", "flash_assume_yes=true", "-v")
    assert done.returncode == 0
    for node, one in readers.items():
        row = rack.rows(done.stdout)[node]
        assert (row[0], row[1], row[-1]) == (one.device, "written", "yes")
        on_card = json.loads(one.read("bramble-receipt.json"))
        # What the seed has brought is told on the card alone.
        assert "user-data" in on_card["applied"]["files"] or "firstrun.sh" in on_card["applied"]["files"]
        assert on_card == {**rack.receipt(node), "applied": on_card["applied"]}
        assert rack.receipt(node)["node"] == node
    user_data = yaml.safe_load(readers["pi-1"].read("user-data"))
    assert user_data["users"][0]["name"] == "pi"
    assert user_data["hostname"] == "pi-1"
    assert yaml.safe_load(readers["pi-1"].read("meta-data"))["instance-id"] == rack.receipt("pi-1")["seed"]
    network = yaml.safe_load(readers["pi-1"].read("network-config"))
    assert network["ethernets"]["eth0"]["addresses"] == ["10.0.0.1/24"]
    assert "cgroup_enable=memory" in readers["pi-1"].read("cmdline.txt").split()
    assert "systemd.run=-/boot/firmware/firstrun.sh" in readers["pi-2"].read("cmdline.txt").split()
    assert readers["pi-2"].read("userconf.txt") == f"pi:{SECRETS['flash_password_hash']}\n"
    known = (rack.folder / "ssh" / "known_hosts").read_text()
    assert {line.split()[0] for line in known.splitlines()} == {
        "10.0.0.1",
        "pi-1",
        "[10.0.0.2]:2222",
        "[pi-2]:2222",
    }
    assert user_data["ssh_keys"]["ed25519_public"].split()[1] in known

    after = {node: one.digest() for node, one in readers.items()}
    again = rack.flash()
    assert again.returncode == 0
    assert rack.changed(again.stdout) == 0
    assert [row[1] for row in rack.rows(again.stdout).values()] == ["unchanged", "unchanged"]

    checked = rack.flash("--check")
    assert rack.changed(checked.stdout) == 0
    assert {node: one.digest() for node, one in readers.items()} == after

    # Another address: the card gets it, and a new instance-id, without the image; the other node is left out.
    first = rack.receipt("pi-1")
    rack.hosts["pi-1"]["node_network_address"] = "10.0.0.9/24"
    known_hosts = rack.folder / "ssh" / "known_hosts"
    known_hosts.write_text(known.replace("10.0.0.1 ssh-ed25519 AAAA", "10.0.0.1 ssh-ed25519 AAAB"))
    seeded = rack.flash("--limit", "pi-1")
    assert seeded.returncode == 0
    assert rack.rows(seeded.stdout).keys() == {"pi-1"}
    assert rack.rows(seeded.stdout)["pi-1"][1] == "seeded"
    assert "10.0.0.9/24" in readers["pi-1"].read("network-config")
    assert rack.receipt("pi-1")["seed"] not in (None, first["seed"])
    assert sorted(known_hosts.read_text().splitlines()) == sorted(known.splitlines())


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_touched(
    rack: Rack, reader: Callable[..., Reader]
) -> None:
    one = reader()
    before = one.digest()
    for host in rack.hosts.values():
        host["flash_device"] = one.device
    rack.variables["nat_headnode_wifi_psk"] = "short"
    rack.hosts["pi-1"].update(node_network_gateway="10.1.0.1")
    rack.hosts["pi-2"].update(flash_image="", flash_password_hash="raspberry")
    done = rack.flash("-e", "flash_assume_yes=true")
    assert done.returncode != 0
    for text in (
        f"pi-1, pi-2: flash_device is '{one.device}' for each",
        "pi-1: node_network_gateway is '10.1.0.1', which is not in 10.0.0.0/24",
        "pi-1, pi-2: the Wi-Fi's key has 5 characters",
        "pi-2: flash_image is not set",
        "pi-2: flash_password_hash is not the hash of a password",
        "no card was touched",
    ):
        assert text in done.stdout
    assert "raspberry'" not in done.stdout
    assert one.digest() == before


def test_a_card_that_fails_leaves_the_others_alone(
    rack: Rack, reader: Callable[..., Reader], tmp_path: Path
) -> None:
    # A card that dies: what it lies on has room for a part of it only.
    small = tmp_path / "small"
    small.mkdir()
    command("mount", "-t", "tmpfs", "-o", "size=1m", "small", small)
    try:
        rack.hosts["pi-1"]["flash_device"] = reader(small).device
        rack.hosts["pi-2"]["flash_device"] = reader().device
        done = rack.flash("-e", "flash_assume_yes=true")
    finally:
        command("umount", "--lazy", small)
    assert done.returncode != 0
    rows = rack.rows(done.stdout)
    assert rows["pi-1"][1] == "failed"
    assert rows["pi-2"][1] == "written"
    assert "1 of 2 cards are not ready; the others are." in done.stdout
    assert rack.receipt("pi-2")["node"] == "pi-2"
    assert not (rack.folder / "receipts" / "pi-1.json").exists()
    assert "10.0.0.1" not in (rack.folder / "ssh" / "known_hosts").read_text()


Answer = tuple[str, str, Callable[[], None] | None]


def on_a_terminal(line: Sequence[str], answers: Sequence[Answer], seconds: int = 400) -> tuple[int, str]:
    """Run a command on a terminal, and answer each question once it stands there."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        os.execvpe(line[0], list(line), ENVIRONMENT)
    output, left, seen, end = "", list(answers), time.monotonic(), time.monotonic() + seconds
    answered = 0
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                text = os.read(terminal, 1 << 16).decode(errors="replace")
            except OSError:  # The other end is closed.
                break
            output, seen = output + text, time.monotonic()
        if not left:
            continue
        question, answer, act = left[0]
        at = output.find(question, answered)
        if at >= 0 and "TASK [" in output[at:]:
            left.pop(0)
            answered = at + len(question)
        # What is typed before Ansible listens is thrown away, so it is typed until something happens.
        elif at >= 0 and time.monotonic() - seen > 2:
            if act:
                act()
                left[0] = (question, answer, None)
            os.write(terminal, f"{answer}\r".encode())
            seen = time.monotonic()
    else:
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.close(terminal)
    print(output)
    assert left == [], "not all was asked that should have been"
    return code, output


def test_one_reader_and_a_terminal(rack: Rack, reader: Callable[..., Reader], tmp_path: Path) -> None:
    one = reader()
    rack.variables["flash_readers"] = [one.device]
    code, output = on_a_terminal(
        rack.command(),
        [
            ("Put in the card for pi-1, then press Enter", "", None),
            (f"{one.device} (no model, 62.9 MB) becomes the card of pi-1", "yes", None),
            # The card of pi-1 is still in there: it is not taken for that of pi-2.
            ("Put in the card for pi-2, then press Enter", "", None),
            ("Put in the card for pi-2, then press Enter", "", lambda: one.change(tmp_path / "second")),
            (f"{one.device} (no model, 62.9 MB) becomes the card of pi-2", "yes", None),
        ],
    )
    assert code == 0
    assert [row[1] for row in rack.rows(output).values()] == ["written", "written"]
    assert json.loads(one.read("bramble-receipt.json"))["node"] == "pi-2"
    assert rack.receipt("pi-1")["node"] == "pi-1"

    # The same card once more: it is left alone, and nothing is asked but for the card.
    code, output = on_a_terminal(
        rack.command("--limit", "pi-2"), [("Put in the card for pi-2, then press Enter", "", None)]
    )
    assert code == 0
    assert rack.rows(output)["pi-2"][1] == "unchanged"

    # Another node's card: it is said whose it is, and the answer is no.
    code, output = on_a_terminal(
        rack.command("--limit", "pi-1"),
        [
            ("Put in the card for pi-1, then press Enter", "", None),
            ("It carries the card of pi-2", "no", None),
        ],
    )
    assert code != 0
    assert "The answer was 'no'; expected yes. No card was overwritten." in output
    assert json.loads(one.read("bramble-receipt.json"))["node"] == "pi-2"


def test_a_card_that_takes_the_name_of_the_one_agreed_to(
    rack: Rack, reader: Callable[..., Reader], tmp_path: Path
) -> None:
    one = reader()
    rack.hosts["pi-1"]["flash_device"] = one.device
    code, output = on_a_terminal(
        rack.command("--limit", "pi-1"),
        [(f"{one.device} (no model, 62.9 MB) becomes", "yes", lambda: one.change(tmp_path / "another"))],
    )
    assert code != 0
    assert "agreed to" in output
    assert rack.rows(output)["pi-1"][1] == "failed"
    assert not any(one.backing.read_bytes())


def test_a_card_with_a_foreign_receipt(rack: Rack, reader: Callable[..., Reader], tmp_path: Path) -> None:
    one = reader()
    rack.hosts["pi-1"]["flash_device"] = one.device
    assert rack.flash("--limit", "pi-1", "-e", "flash_assume_yes=true").returncode == 0
    foreign = tmp_path / "foreign"
    foreign.write_text('{"schema": 1, "node": "pi-9", "image": "raspios.img"}')
    command("mcopy", "-o", "-i", f"{one.backing}@@{OFFSET}", foreign, "::bramble-receipt.json")
    code, output = on_a_terminal(
        rack.command("--limit", "pi-1"), [("becomes the card of pi-1. It carries", "no", None)]
    )
    assert code != 0
    assert "pi-9" not in output
    assert "The answer was 'no'; expected yes. No card was overwritten." in output


def test_one_reader_without_a_terminal(rack: Rack, reader: Callable[..., Reader]) -> None:
    one = reader()
    rack.variables["flash_readers"] = [one.device]
    before = one.digest()
    refused = rack.flash("--limit", "pi-1")
    assert refused.returncode != 0
    assert "set flash_assume_yes to true" in refused.stdout
    assert one.digest() == before
    # With consent the card that is there is taken; and for want of another one the next node has none.
    done = rack.flash("-e", "flash_assume_yes=true", "-e", "flash_card_timeout=2")
    assert done.returncode != 0
    assert "There is no card for pi-2." in done.stdout
    assert json.loads(one.read("bramble-receipt.json"))["node"] == "pi-1"
    assert rack.receipt("pi-1")["node"] == "pi-1"
