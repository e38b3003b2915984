# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same card boots on the Raspberry Pi that QEMU emulates best: its SD controller, its network on USB."""

from __future__ import annotations

import pytest

from tests.boot.conftest import Node
from tests.boot.machine import RASPI3B

pytestmark = pytest.mark.slow


def test_a_raspberry_pi_3_boots_the_card(node: Node) -> None:
    node.flash()
    with node.machine(RASPI3B) as machine:
        machine.wait_for_ssh()
        assert node.shell("tr -d '\\0' </proc/device-tree/model") == "Raspberry Pi 3 Model B"
        assert node.shell("findmnt --noheadings --output SOURCE /") == "/dev/mmcblk0p2"
        assert node.shell("hostname") == node.name
        assert "memory" in node.shell("cat /sys/fs/cgroup/cgroup.controllers").split()
        assert node.module("bramble.pi.node_facts", {})["ansible_facts"]["bramble"]["pi_firmware"]
