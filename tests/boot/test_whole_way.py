# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a blank card to a pod on that board, with one inventory: the whole way, once.

The head, which is the control plane, is a container. The board is an emulated arm64 machine with a kernel of
its own and a FAT partition; but for the head nothing is on its switch.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.boot import build
from tests.boot.conftest import CGROUP_TOKENS, loop_device
from tests.boot.machine import Link, Machine
from tests.boot.network import Tap, run
from tests.e2e.conftest import wait_for

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
RACK = "whole"
SWITCH = f"{RACK}-switch"
HEAD_OUTSIDE, HEAD, BOARD = "10.89.97.11", "10.89.98.1", "10.89.98.3"
#: This machine's own on the switch, to see whether the board's sshd answers; Ansible comes by the head.
LOOKING_ON = "10.89.98.254/24"
MAC = "b8:27:eb:5b:0d:0f"
#: Room for the container runtime, Kubernetes and images beside the system; QEMU wants a power of two.
CARD_SIZE = 4 << 30

#: What a user changes between the lines of inventories/nat/hosts.yml.
CHOSEN = {
    "preflight_node_network: 10.0.0.0/24": "preflight_node_network: 10.89.98.0/24",
    "ansible_host: 192.168.1.50": f"ansible_host: {HEAD_OUTSIDE}",
    "os_prep_address: 10.0.0.1": f"os_prep_address: {HEAD}",
    "nat_headnode_inner_interface: eth0": "nat_headnode_inner_interface: eth1",
    "nat_headnode_outer_interface: wlan0": "nat_headnode_outer_interface: eth0",
    "        pi-2:\n          ansible_host: 10.0.0.2\n": "",
    '          # rack_services_mac: "b8:27:eb:5b:0d:0f"\n': "",
    "ansible_host: 10.0.0.3": f'ansible_host: {BOARD}\n          rack_services_mac: "{MAC}"',
}
#: Where Kubernetes comes from, and what makes pi-1 a container, as in inventories/virtual.
RACK_FILES = ("found.yml", "kubernetes.yml", "group_vars/rack", "group_vars/kubernetes_debian")
RACK_VARIABLES = {
    "virtual_rack_name": RACK,
    "virtual_rack_subnet": "10.89.97.0/24",
    "virtual_rack_kubernetes": "debian",
    "virtual_rack_kubernetes_architecture": "arm64",
}
#: Gives the head its address on the switch, at each boot: networkd waits for udev, which a container has not.
INSIDE = f"""[Unit]
Before=network.target
[Service]
Type=oneshot
ExecStart=ip address replace {HEAD}/24 dev eth1
[Install]
WantedBy=multi-user.target
"""


class Whole:
    """The inventory, and the commands of its user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventory"
        self.card = folder / "pi-3.card"
        #: What took how many seconds.
        self.timeline: dict[str, float] = {}
        shutil.copytree(ROOT / "inventories/nat", self.inventory)
        hosts = self.inventory / "hosts.yml"
        text = hosts.read_text()
        for theirs, ours in CHOSEN.items():
            assert text.count(theirs) == 1, theirs
            text = text.replace(theirs, ours)
        hosts.write_text(text)
        for name in RACK_FILES:
            source = ROOT / "inventories/virtual" / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, self.inventory / name)
        # Read before kubernetes.yml, which asks what the rack has.
        (self.inventory / "head_container.yml").write_text(
            yaml.safe_dump({"all": {"vars": RACK_VARIABLES}, "rack": {"hosts": {"pi-1": None}}})
        )
        (self.inventory / "group_vars/all.yml").write_text(yaml.safe_dump(self._all()))
        (self.inventory / "group_vars/workers.yml").write_text(yaml.safe_dump(self._workers()))

    def _all(self) -> dict[str, Any]:
        return {
            "flash_image": str(build.image()),
            "flash_authorized_keys": [
                "{{ lookup('ansible.builtin.file', virtual_rack_dir ~ '/id_ed25519.pub') }}"
            ],
            "flash_cache_dir": str(self.folder / "cache"),
            "flash_receipts_dir": str(self.folder / "receipts"),
            "ssh_access_known_hosts_file": str(self.folder / "known_hosts"),
            # A Pi asks for its address within seconds.
            "rack_services_timeout": 600,
        }

    def _workers(self) -> dict[str, Any]:
        key = "-i {{ virtual_rack_dir }}/id_ed25519 -o IdentitiesOnly=yes"
        head = "-o UserKnownHostsFile={{ virtual_rack_dir }}/ssh_known_hosts"
        return {
            "ansible_ssh_private_key_file": "{{ virtual_rack_dir }}/id_ed25519",
            # As inventories/nat has it, with a key and known hosts that are not the user's own.
            "ansible_ssh_common_args": (
                f"-o UserKnownHostsFile={self.folder}/known_hosts -o StrictHostKeyChecking=yes"
                f' -o ProxyCommand="ssh -W %h:%p {key} {head} pi@{HEAD_OUTSIDE}"'
            ),
            "virtual_rack_node_architecture": "arm64",
            # One program to install instead of two.
            "docker_kubernetes_runtime": "containerd",
            # An emulated board may take long to answer even to sudo.
            "ansible_timeout": 120,
            # The only time servers are outside, which the head is not let to by this machine.
            "os_prep_time_sync": False,
        }

    def run(self, *command: str) -> str:
        """Run one of Ansible's commands, show what it prints as it comes, and return it."""
        line = (str(BIN / command[0]), "-i", str(self.inventory), *command[1:])
        print(f"\n$ {' '.join(line)}", flush=True)
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_FORCE_COLOR": "0"}
        began = time.monotonic()
        lines = []
        with subprocess.Popen(
            line,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            for printed in process.stdout or ():
                print(printed, end="", flush=True)
                lines.append(printed)
        output = "".join(lines)
        print(f"({time.monotonic() - began:.0f} s, exit code {process.returncode})", flush=True)
        assert process.returncode == 0
        assert "DEPRECATION WARNING" not in output
        return output

    def playbook(self, *arguments: str) -> list[str]:
        """Run a playbook; return its tasks' lines that say changed."""
        output = self.run("ansible-playbook", *arguments)
        return [line for line in output.splitlines() if line.startswith("changed:")]

    def board(self, script: str) -> str:
        """Run a script on the board as root, by Ansible and through the head; return what it printed."""
        output = self.run("ansible", "pi-3", "--become", "-m", "ansible.builtin.shell", "-a", script)
        return output.partition(" >>\n")[2].strip()

    def head(self, script: str) -> str:
        """Run a script on the head, not by Ansible."""
        return run("podman", "exec", f"{RACK}-pi-1", "sh", "-c", script).strip()

    def kubectl(self, *arguments: str) -> Any:
        """Ask the cluster as its administrator; return the answer as data."""
        shown = self.head(f"kubectl --kubeconfig /etc/kubernetes/admin.conf {' '.join(arguments)} -o json")
        return json.loads(shown)

    def is_ready(self) -> bool:
        """Tell whether the cluster has the board as a node that is Ready."""
        (conditions,) = (
            node["status"]["conditions"]
            for node in self.kubectl("get", "nodes")["items"]
            if node["metadata"]["name"] == "pi-3"
        )
        return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

    def heard_of_since(self, moment: int) -> bool:
        """Tell whether the board's kubelet has said that it lives since then, in seconds since 1970."""
        lease = self.kubectl("get", "--namespace", "kube-node-lease", "lease", "pi-3")
        return datetime.fromisoformat(lease["spec"]["renewTime"]).timestamp() > moment

    def waiting_pods(self) -> set[str]:
        """Return the pods of the board of which a container does not run."""
        pods = self.kubectl("get", "pods", "--all-namespaces", "--field-selector", "spec.nodeName=pi-3")
        return {
            pod["metadata"]["name"]
            for pod in pods["items"]
            if not all(
                container["ready"] for container in pod["status"].get("containerStatuses", [{"ready": False}])
            )
        }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Return the inventory, with a head that runs, and with the switch."""
    whole = Whole(tmp_path_factory.mktemp("whole"))
    whole.playbook("playbooks/virtual_rack_create.yml")
    subprocess.run(["podman", "network", "rm", "--force", SWITCH], check=False, capture_output=True)
    run("podman", "network", "create", "--disable-dns", "--internal", "--ipam-driver=none", SWITCH)
    run("podman", "network", "connect", SWITCH, f"{RACK}-pi-1")
    unit = f"/etc/systemd/system/{SWITCH}.service"
    whole.head(f"cat >{unit} <<'END'\n{INSIDE}END\nsystemctl enable --quiet --now {SWITCH}.service")
    # The clock is that of the machine which carries the rack.
    whole.head("echo 'DAEMON_OPTS=\"-F 1 -x\"' >/etc/default/chrony")
    yield whole
    whole.playbook("playbooks/virtual_rack_destroy.yml")
    run("podman", "network", "rm", "--force", SWITCH)
    whole.card.unlink(missing_ok=True)
    print("\n" + "\n".join(f"{seconds:7.0f} s  {what}" for what, seconds in whole.timeline.items()))


@pytest.fixture(scope="module")
def machine(whole: Whole) -> Iterator[Machine]:
    """Return the board with its card in, switched on."""
    with whole.card.open("wb") as file:
        file.truncate(CARD_SIZE)
    began = time.monotonic()
    with loop_device(whole.card) as device:
        whole.playbook(
            "playbooks/flash.yml",
            *("--limit", "pi-3", "-e", f"flash_device={device}"),
            *("-e", "{flash_assume_yes: true, flash_allow_loop: true}"),
        )
    whole.timeline["the card is flashed"] = time.monotonic() - began
    with Tap(name="whole-tap", network=SWITCH) as tap:
        run("ip", "address", "add", LOOKING_ON, "dev", tap.bridge)
        link = Link(network=tap.backend, address=BOARD, mac=MAC)
        with Machine(card=whole.card, folder=whole.folder, link=link) as machine:
            yield machine


def test_one_run_makes_the_cluster(whole: Whole, machine: Machine) -> None:
    # The board has just been switched on, and nobody gives it an address before the run makes the head do so.
    began = time.monotonic()
    with ThreadPoolExecutor() as beside:
        answered = beside.submit(machine.wait_for_ssh)
        assert whole.playbook("playbooks/site.yml")
    whole.timeline["until its ssh answers"] = answered.result()
    whole.timeline["until site.yml has ended"] = time.monotonic() - began
    wait_for(whole.is_ready, 300, "the board is Ready")
    whole.timeline["until the board is Ready"] = time.monotonic() - began
    # The card had the command line right, so that nothing was to be rebooted.
    assert machine.boots == 1
    (node,) = (item for item in whole.kubectl("get", "nodes")["items"] if item["metadata"]["name"] == "pi-3")
    assert node["status"]["nodeInfo"]["architecture"] == "arm64"


def test_pods_run_on_both(whole: Whole, machine: Machine) -> None:
    began = time.monotonic()
    output = whole.run("ansible-playbook", "playbooks/verify.yml")
    whole.timeline["verify.yml, a pod on each node"] = time.monotonic() - began
    assert "hello from" in output


def test_again_changes_nothing(whole: Whole, machine: Machine) -> None:
    assert whole.playbook("playbooks/site.yml", "--check") == []
    began = time.monotonic()
    assert whole.playbook("playbooks/site.yml") == []
    whole.timeline["site.yml again"] = time.monotonic() - began
    assert machine.boots == 1


def test_an_edited_command_line_reboots_the_board_and_its_pods_come_back(
    whole: Whole, machine: Machine
) -> None:
    tokens = [*CGROUP_TOKENS, "bramble.edited=1"]
    wish = ("-e", json.dumps({"os_prep_kernel_cmdline": tokens}))
    began = time.monotonic()
    whole.playbook("playbooks/site.yml", *wish)
    whole.timeline["site.yml with a reboot"] = time.monotonic() - began
    assert machine.boots == 2
    assert "bramble.edited=1" in whole.board("cat /proc/cmdline").split()
    wait_for(whole.is_ready, 300, "the board is Ready")
    wait_for(lambda: whole.waiting_pods() == set(), 300, "the board's pods run")
    # What is not wished for any more stays, as another may have put it there.
    assert whole.playbook("playbooks/site.yml", *wish) == []


def test_the_board_comes_back_from_a_power_cut(whole: Whole, machine: Machine) -> None:
    machine.cut_power()
    machine.power_on()
    machine.wait_for_ssh()
    # Its last word stays for a while.
    began = whole.head("date +%s")
    wait_for(lambda: whole.heard_of_since(int(began)), 300, "the board's kubelet reports")
    wait_for(whole.is_ready, 300, "the board is Ready")
    wait_for(lambda: whole.waiting_pods() == set(), 300, "the board's pods run")


def test_the_doctor_finds_nothing_wrong_with_it(whole: Whole, machine: Machine) -> None:
    output = whole.run("ansible-playbook", "playbooks/doctor.yml")
    assert "nothing wrong" in output


def test_it_is_taken_out_and_added_again(whole: Whole, machine: Machine) -> None:
    whole.playbook("playbooks/reset.yml", "--limit", "pi-3", "-e", "reset_confirm=yes")
    assert [node["metadata"]["name"] for node in whole.kubectl("get", "nodes")["items"]] == ["pi-1"]
    whole.playbook("playbooks/site.yml")
    wait_for(whole.is_ready, 300, "the board is Ready")
    whole.run("ansible-playbook", "playbooks/verify.yml")
