# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same card boots on the Raspberry Pi that QEMU emulates best: its SD controller, its network on USB."""

from __future__ import annotations

import pytest

from tests.boot.conftest import Node
from tests.boot.machine import RASPI3B

pytestmark = pytest.mark.long


def test_a_raspberry_pi_3_boots_the_card(node: Node) -> None:
    # Linux calls a network card on USB so whose address is of no manufacturer.
    node.variables["node_network_interface"] = "usb0"
    node.flash()
    with node.machine(RASPI3B) as machine:
        machine.wait_for_ssh()
        model, root, name, controllers = node.shell(
            "tr '\\0' '\\n' </proc/device-tree/model; findmnt -no SOURCE /; hostname;"
            "cat /sys/fs/cgroup/cgroup.controllers"
        ).splitlines()
        assert (model, root, name) == ("Raspberry Pi 3 Model B", "/dev/mmcblk0p2", node.name)
        assert "memory" in controllers.split()
        assert node.module("bramble.pi.node_facts", {})["ansible_facts"]["bramble"]["pi_firmware"]
