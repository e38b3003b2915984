# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rack of its own for the end-to-end tests, so that a demonstration beside it is not touched.

Its cluster is brought up once, by test_cluster.py; the files after that use it and leave it as they found it;
test_reset.py, which comes last by its name, resets it, brings another one up, and removes the rack.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# Two runs on one machine need different ones; with E2E_KEEP=yes the rack is left for the next run.
RACK_NAME = os.environ.get("E2E_RACK", "e2e")
RACK_SUBNET = os.environ.get("E2E_SUBNET", "10.89.90.0/24")
# Not the default, so that it is seen to be followed.
POD_CIDR = "10.200.0.0/16"
NODES = {"pi-1", "pi-2", "pi-3"}
ALL_READY = dict.fromkeys(NODES, "True")
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_FORCE_COLOR": "0"}


@dataclass
class Run:
    """What a command printed, and how it ended."""

    code: int
    output: str
    seconds: float

    def recap(self) -> dict[str, dict[str, int]]:
        """Return Ansible's closing counts, {host: {ok, changed, unreachable, failed, ...}}."""
        rows = re.findall(r"^(\S+)\s+: (ok=\d+ .*)$", self.output, re.MULTILINE)
        return {host: {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in rows}


class Rack:
    """The rack of one test session: its inventory, and the commands that a user would give."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in the checkout."""
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str, code: int | None = 0) -> Run:
        """Run a command in the checkout, showing its output as it comes."""
        print(f"\n$ {' '.join(command)}", flush=True)
        began = time.monotonic()
        lines = []
        with self.start(*command) as process:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                lines.append(line)
        done = Run(process.returncode, "".join(lines), time.monotonic() - began)
        print(f"({done.seconds:.0f} s, exit code {done.code})", flush=True)
        if code is not None:
            assert done.code == code, f"{command} ended with {done.code}; expected {code}"
        # A run of the collection prints no deprecation warning, whatever it does.
        assert "DEPRECATION WARNING" not in done.output
        return done

    @contextlib.contextmanager
    def beside(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command while the test goes on; a pipe that nobody reads would stop it after 64 KiB."""
        print(f"\n$ {' '.join(command)}", flush=True)
        with self.start(*command) as process:

            def show() -> None:
                for line in process.stdout or ():
                    print(line, end="", flush=True)

            reader = threading.Thread(target=show)
            reader.start()
            try:
                yield process
            finally:
                process.kill()
                # What it has started may go on for a while, and has the other end of the pipe.
                reader.join()

    def playbook(self, name: str, *arguments: str, code: int | None = 0) -> Run:
        """Run a playbook of the collection on this rack."""
        return self.run(*self.playbook_command(name, *arguments), code=code)

    def playbook_command(self, name: str, *arguments: str) -> list[str]:
        """Return the command that runs a playbook on this rack."""
        return [str(BIN / "ansible-playbook"), "-i", str(self.inventory), name, *arguments]

    def shell(self, node: str, script: str) -> str:
        """Run a shell script on a node, as root and not through Ansible, and return what it printed."""
        command = ["podman", "exec", self.container(node), "sh", "-c", script]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def container(self, node: str) -> str:
        """Return the name of the container that stands for a node."""
        return f"{RACK_NAME}-{node}"

    def kubectl(self, *arguments: str) -> Any:
        """Ask the cluster with the administrator's kubeconfig; return the answer as data."""
        script = " ".join(["kubectl --kubeconfig /etc/kubernetes/admin.conf", *arguments, "-o json"])
        return json.loads(self.shell("pi-1", script))

    def ready(self) -> dict[str, str]:
        """Return each node's Ready condition, {name: "True" | "False" | "Unknown"}."""
        return {
            node["metadata"]["name"]: next(
                condition["status"]
                for condition in node["status"]["conditions"]
                if condition["type"] == "Ready"
            )
            for node in self.kubectl("get", "nodes")["items"]
        }


def is_up(rack: Rack) -> bool:
    """Tell whether there is a cluster that all nodes belong to."""
    with contextlib.suppress(subprocess.CalledProcessError):
        return rack.ready() == ALL_READY
    return False


def wait_for(condition: Callable[[], bool], seconds: float, what: str, *, pause: float = 1) -> None:
    """Wait until something is true, also while the API server is away."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(subprocess.CalledProcessError):
            if condition():
                return
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s: {what}")


@pytest.fixture(scope="session")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """Give the rack its inventory: a copy of inventories/virtual with a name and a network of its own."""
    inventory = tmp_path_factory.mktemp("rack") / "inventory"
    shutil.copytree(ROOT / "inventories" / "virtual", inventory)
    hosts = inventory / "hosts.yml"
    text = hosts.read_text()
    changes = {
        "virtual_rack_name: demo": f"virtual_rack_name: {RACK_NAME}\n    control_plane_pod_cidr: {POD_CIDR}",
        "10.89.60.0/24": RACK_SUBNET,
        # Workers of two releases, with a runtime each, in two zones; one has a label.
        "pi-[2:3]:": (
            "pi-2:\n          workers_zone: shelf-2\n        pi-3:\n          virtual_rack_node_os: trixie\n"
            "          docker_kubernetes_runtime: containerd\n          workers_labels: {disk: ssd}\n"
            "          workers_zone: shelf-1"
        ),
    }
    for ours, theirs in changes.items():
        assert text.count(ours) == 1
        text = text.replace(ours, theirs)
    hosts.write_text(text)
    rack = Rack(inventory)
    yield rack
    if os.environ.get("E2E_KEEP") != "yes":
        rack.playbook("playbooks/virtual_rack_destroy.yml")


@pytest.fixture(scope="session")
def brought_up(rack: Rack) -> Run:
    """Bring the demonstration up on the rack."""
    return rack.run("make", "demo", f"INVENTORY={rack.inventory}")


@pytest.fixture(scope="session")
def cluster(rack: Rack, request: pytest.FixtureRequest) -> Rack:
    """Return the rack with a cluster on it, which its tests leave as they found it."""
    if not is_up(rack):
        request.getfixturevalue("brought_up")
    return rack


def assert_unchanged(recap: dict[str, dict[str, int]]) -> None:
    """Fail unless a run on all nodes found nothing to do."""
    assert set(recap) >= NODES
    for host, counts in recap.items():
        assert counts["changed"] == 0, host
        assert counts["failed"] == counts["unreachable"] == 0, host
