# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A flashed card boots: the node is the one of the inventory, and os_prep needs no reboot of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import CGROUP_TOKENS, Node
from tests.boot.machine import Machine


@pytest.fixture(scope="module")
def machine(node: Node) -> Iterator[Machine]:
    """Return the machine, running from the card as it was flashed."""
    receipt = node.flash()
    assert receipt["node"] == node.name
    with node.machine() as machine:
        print(f"\nssh answers after {machine.wait_for_ssh():.0f} s", flush=True)
        yield machine


@pytest.fixture(scope="module")
def os_prep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a playbook with the role."""
    path = tmp_path_factory.mktemp("playbook") / "os_prep.yml"
    path.write_text("- hosts: all\n  gather_facts: false\n  become: true\n  roles: [bramble.pi.os_prep]\n")
    return path


def test_the_node_is_the_one_of_the_inventory(node: Node, machine: Machine) -> None:
    # That anything answers proves the user, the key, the address and the key of the host.
    status = json.loads(node.shell("cloud-init status --wait --format json || [ $? -eq 2 ]"))
    assert (status["status"], status["errors"]) == ("done", [])
    # Debian's cloud-init does not know enable_ssh, which Raspberry Pi OS needs; hence exit code 2.
    complaints = {text.partition("!")[0] for texts in status["recoverable_errors"].values() for text in texts}
    assert complaints == {"cloud-config failed schema validation"}
    keys = "/etc/ssh/ssh_host_*_key.pub"
    shown = node.shell(
        f"hostname; stat -c %U:%a ~bramble/.ssh/authorized_keys; wc -c </etc/machine-id; cat {keys}"
    )
    name, mode, machine_id, *host_keys = shown.splitlines()
    assert (name, mode) == (node.name, "bramble:600")
    # It is made at the first boot, so no two cards have the same.
    assert machine_id == "33"
    # The one key, which the system has not made again.
    assert [key.split()[:2] for key in host_keys] == [node.known_hosts.read_text().split()[1:3]]


def test_control_groups_are_on_without_a_reboot(node: Node, machine: Machine, os_prep: Path) -> None:
    cmdline, controllers = node.shell("cat /proc/cmdline /sys/fs/cgroup/cgroup.controllers").splitlines()
    running = cmdline.split()
    assert [running.count(token) for token in CGROUP_TOKENS] == [1, 1, 1, 1]
    # The image has it on the line, as the firmware of a Pi does.
    assert "cgroup_disable=memory" not in running
    assert {"cpuset", "memory"} <= set(controllers.split())
    result = node.module("bramble.pi.kernel_cmdline", {"present": CGROUP_TOKENS})
    assert not result["reboot_required"]
    # Debian makes cmdline.txt out of this one, which lies beyond the reach of a seed.
    assert result["changed_files"] == ["/etc/default/raspi-extra-cmdline"]
    node.playbook(os_prep)
    assert machine.boots == 1


def test_an_edited_command_line_is_what_the_firmware_will_read(node: Node, machine: Machine) -> None:
    """That what it reads is what the kernel gets is seen above, of the line that was on the card at first."""
    result = node.module("bramble.pi.kernel_cmdline", {"present": ["bramble.test=1"]})
    assert (result["changed"], result["reboot_required"]) == (True, True)
    assert "bramble.test=1" not in machine.cmdline.split()
    # It is on the card, not in the node's memory alone, and all else is on it as it was.
    edited = machine.card.read("cmdline.txt").decode().split()
    assert [word for word in edited if word != "bramble.test=1"] == machine.cmdline.split()
    assert edited.count("bramble.test=1") == 1


@pytest.mark.long
def test_an_edited_command_line_counts_at_the_next_boot(node: Node, machine: Machine, os_prep: Path) -> None:
    node.playbook(os_prep)
    node.module("bramble.pi.kernel_cmdline", {"present": ["bramble.test=1"]})
    assert "bramble.test=1" not in machine.cmdline.split()
    node.module("ansible.builtin.reboot", {"reboot_timeout": machine.board.patience})
    assert machine.boots == 2
    # What the machine read off the card by itself, and what the kernel was started with.
    assert "bramble.test=1" in machine.cmdline.split()
    assert "bramble.test=1" in node.shell("cat /proc/cmdline").split()
    assert node.playbook(os_prep)["changed"] == 0


@pytest.mark.long
def test_a_card_is_seeded_again_without_writing_the_image(node: Node, machine: Machine) -> None:
    before = json.loads((node.folder / "receipts" / f"{node.name}.json").read_text())
    node.module("bramble.pi.kernel_cmdline", {"present": ["bramble.test=1"]})
    node.shell("touch /var/lib/kept; sync")
    machine.cut_power()
    key = node.folder / "second"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    receipt = node.flash(flash_authorized_keys=[key.with_suffix(".pub").read_text().strip()])
    assert receipt["image"] == before["image"]
    assert receipt["seed"] != before["seed"]

    node.variables["ansible_ssh_private_key_file"] = str(key)
    machine.power_on()
    machine.wait_for_ssh()
    kept, instance = node.shell("ls /var/lib/kept; cat /var/lib/cloud/data/instance-id").splitlines()
    # The root file system is the one that was there.
    assert (kept, instance) == ("/var/lib/kept", receipt["seed"])
    # The edit of the line that was made on the node is the node's own.
    assert "bramble.test=1" in machine.cmdline.split()
