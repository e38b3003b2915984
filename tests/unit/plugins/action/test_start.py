# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook start, as a user runs it: at a terminal, without one, and interrupted."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]
KEY = "correct horse battery"
LIST = {
    "os_list": [
        {
            "name": "Raspberry Pi OS (other)",
            "subitems": [
                {
                    "name": "Raspberry Pi OS Lite (64-bit)",
                    "url": "https://e.test/old.img.xz",
                    "release_date": "2025-10-01",
                },
                {
                    "name": "Raspberry Pi OS Lite (64-bit)",
                    "url": "https://e.test/new.img.xz",
                    "release_date": "2027-01-01",
                },
                {
                    "name": "Raspberry Pi OS Lite (32-bit)",
                    "url": "https://e.test/32.img.xz",
                    "release_date": "2027-02-01",
                },
            ],
        }
    ]
}


def can_unshare() -> bool:
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


#: No network of this machine is looked at, nor its keys.
pytestmark = pytest.mark.skipif(not can_unshare(), reason="a network of its own needs root")


def command(*variables: str, network: str = "") -> list[str]:
    """Return how the playbook is run in a network of its own, which has what ``network`` says."""
    run = f'ip link set lo up; {network} exec "$0" "$@"'
    play = [sys.executable, "-m", "ansible", "playbook", "playbooks/start.yml"]
    return [
        *("unshare", "--net", "sh", "-euc", run),
        *play,
        *(part for one in ("start_image_list=", *variables) for part in ("-e", one)),
    ]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(home), "ANSIBLE_NOCOLOR": "true", "LC_ALL": "C.UTF-8"}


def start(home: Path, *variables: str, network: str = "") -> subprocess.CompletedProcess[str]:
    """Run it without a terminal."""
    return subprocess.run(
        command(*variables, network=network),
        cwd=ROOT,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


class Terminal:
    """The playbook at a terminal."""

    def __init__(self, home: Path, *variables: str) -> None:
        line = command(*variables)
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir(ROOT)
            os.execvpe(line[0], line, environment(home))
        self.output = ""
        self.seen = 0

    def read(self, seconds: float) -> bool:
        """Read what there is; False once the other end is closed."""
        if select.select([self.terminal], [], [], seconds)[0]:
            try:
                text = os.read(self.terminal, 1 << 16)
            except OSError:
                return False
            self.output += text.decode(errors="replace")
            return bool(text)
        return True

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + 120
        while text not in self.output[self.seen :]:
            assert self.read(0.2), self.output
            assert time.monotonic() < end, self.output
        self.seen = self.output.index(text, self.seen) + len(text)

    def answer(self, question: str, text: str) -> None:
        """Wait for a question, and type. What is typed before Ansible listens is thrown away."""
        self.wait_for(question)
        length = -1
        while len(self.output) != length:
            length = len(self.output)
            self.read(1)
        os.write(self.terminal, text.encode())

    def end(self) -> int:
        while self.read(60):
            pass
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def loaded(folder: Path) -> dict[str, dict[str, object]]:
    tree = yaml.safe_load((folder / "hosts.yml").read_text())["all"]
    return {name: group["hosts"] or {} for name, group in tree["children"].items()}


def test_questions_at_a_terminal(tmp_path: Path) -> None:
    # Of this machine's time zone nothing is known.
    run = Terminal(tmp_path, "start_wifi_country=DE")
    run.answer("Which folder", f"{tmp_path}/rack\r")
    run.answer("How are the Pis connected", "star\r")
    run.answer("expected one of router, nat, netboot", "nat\r")
    run.answer("How many Pis are there, the head among them? [3]", "2\r")
    run.answer("Where is the head reached from here", "192.0.2.9\r")
    run.answer("Which user does Ansible log in as? [pi]", "\r")
    run.answer("Which Wi-Fi does the head join", "home\r")
    run.answer("What is the key of that Wi-Fi", f"{KEY}\r")
    run.wait_for("preflight accepts it. Next:")
    assert run.end() == 0
    assert KEY not in run.output
    assert f"ansible-vault encrypt {tmp_path}/rack/group_vars/nat_headnode.yml" in run.output
    vault = tmp_path / "rack/group_vars/nat_headnode.yml"
    assert KEY in vault.read_text()
    assert vault.stat().st_mode & 0o777 == 0o600
    assert loaded(tmp_path / "rack")["nat_headnode"] == {"pi-1": {"ansible_host": "192.0.2.9"}}


def test_ctrl_c_at_a_question(tmp_path: Path) -> None:
    run = Terminal(tmp_path)
    run.answer("Which folder", "\x03")
    assert run.end() != 0
    assert list(tmp_path.glob("*rack*")) == list(tmp_path.glob(".bramble*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_while_it_is_validated(number: signal.Signals, tmp_path: Path) -> None:
    given = [f"start_folder={tmp_path}/rack", "start_network=192.168.7.0/24", "start_search=none"]
    run = Terminal(
        tmp_path, *given, "start_nodes=2", "start_address=192.168.7.5", "start_user=pi", "start_shape=router"
    )
    end = time.monotonic() + 120
    while not list(tmp_path.glob(".bramble-start-*/hosts.yml")):
        run.read(0.01)
        assert time.monotonic() < end, run.output
    if number == signal.SIGINT:
        os.write(run.terminal, b"\x03")
    else:
        os.kill(run.process, number)
    run.end()
    time.sleep(5)
    assert not (tmp_path / "rack/hosts.yml").exists() or number == signal.SIGKILL
    if number == signal.SIGINT:
        assert list(tmp_path.glob(".bramble*")) == []
    elif (tmp_path / "rack").exists():
        # The worker had no need of what was killed: then all of it is there.
        assert {"control_plane", "workers"} == set(loaded(tmp_path / "rack"))


def test_defaults_without_a_terminal_and_the_newest_image_of_a_list(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps(LIST))
    done = start(
        tmp_path,
        f"start_folder={tmp_path}/rack",
        "start_network=192.168.7.0/24",
        f"start_image_list={tmp_path}/list.json",
    )
    assert done.returncode == 0, done.stdout
    assert "ssh-keygen -t ed25519" in done.stdout
    assert loaded(tmp_path / "rack") == {
        "control_plane": {"pi-1": {"ansible_host": "192.168.7.101"}},
        "workers": {"pi-2": {"ansible_host": "192.168.7.102"}, "pi-3": {"ansible_host": "192.168.7.103"}},
    }
    variables = yaml.safe_load((tmp_path / "rack/group_vars/all.yml").read_text())
    assert variables["flash_image"] == "https://e.test/new.img.xz"
    again = start(tmp_path, f"start_folder={tmp_path}/rack", "start_network=192.168.7.0/24")
    assert again.returncode != 0
    assert "expected a name that is free" in re.sub(r"\s+", " ", again.stdout)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            ["start_network=10.0.0.0"],
            "expected one like '10.244.0.0/16'; set start_network; nothing was written",
        ),
        ([], "the network is '', which is not an IPv4 network"),
        (["start_nods=3"], "-e sets start_nods, which is not known: did you mean start_nodes?"),
        (
            ["start_shape=nat", "start_wifi_ssid=home", "start_wifi_country=DE", "start_wifi_psk=s3cret"],
            "the Wi-Fi's key has 6 characters",
        ),
    ],
    ids=["no prefix", "no network", "unknown", "short key"],
)
def test_answers_that_are_refused_leave_nothing(
    variables: Sequence[str], message: str, tmp_path: Path
) -> None:
    done = start(tmp_path, f"start_folder={tmp_path}/rack", *variables)
    assert done.returncode != 0
    assert message in re.sub(r"\s+", " ", done.stdout), done.stdout
    assert "s3cret" not in done.stdout
    assert re.sub(r"\s+", " ", done.stdout).count("nothing was written") <= 2
    assert not (tmp_path / "rack").exists()


def test_the_key_is_printed_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_DISPLAY_ARGS_TO_STDOUT", "true")
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "5")
    (tmp_path / "answers.yml").write_text(f"start_wifi_psk: {KEY}\n")
    given = ["start_shape=nat", "start_wifi_ssid=home", "start_wifi_country=DE", f"@{tmp_path}/answers.yml"]
    done = start(tmp_path, f"start_folder={tmp_path}/rack", *given)
    assert done.returncode == 0, done.stdout
    assert "wifi_ssid=home" in done.stdout
    assert KEY not in done.stdout
    assert KEY in (tmp_path / "rack/group_vars/nat_headnode.yml").read_text()


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    line = [*command(f"start_folder={tmp_path}/rack", "start_network=192.168.7.0/24"), "--check"]
    done = subprocess.run(line, cwd=ROOT, env=environment(tmp_path), stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0
    assert not (tmp_path / "rack").exists()


def test_boards_and_networks_are_found(tmp_path: Path) -> None:
    """In a network of the test's own, with the MAC of a Pi among the neighbours."""
    network = (
        "ip link add eth0 type veth peer name other; ip link set eth0 up; ip link set other up;"
        "ip address add 192.168.9.5/24 dev eth0; ip route add default via 192.168.9.1;"
        "ip neighbour add 192.168.9.60 lladdr dc:a6:32:01:36:c2 dev eth0 nud permanent;"
    )
    done = start(tmp_path, f"start_folder={tmp_path}/rack", "start_nodes=2", network=network)
    assert done.returncode == 0, done.stdout
    assert loaded(tmp_path / "rack") == {
        "control_plane": {
            "pi-1": {"ansible_host": "192.168.9.60", "node_network_address": "192.168.9.60/24"}
        },
        "workers": {"pi-2": {"ansible_host": "192.168.9.101", "node_network_address": "192.168.9.101/24"}},
    }
    # Whoever has other Pis in that network sees them before they are worked on.
    assert "192.168.9.60: Raspberry Pi 3 or 4 (by its MAC), dc:a6:32:01:36:c2" in done.stdout
    text = (tmp_path / "rack/hosts.yml").read_text()
    assert "# Raspberry Pi 3 or 4 (by its MAC), dc:a6:32:01:36:c2" in text
    assert "node_network_gateway: 192.168.9.1\n" in text
