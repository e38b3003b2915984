# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power is cut during the first boot: the node comes up all the same at the next one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import Node


@pytest.fixture(scope="module")
def flashed(node: Node) -> Iterator[Path]:
    """Return a copy of the card as it was flashed."""
    node.flash()
    copy = node.card.with_suffix(".flashed")
    subprocess.run(["cp", "--sparse=always", node.card, copy], check=True)
    yield copy
    copy.unlink()


# What was lost without the guard in the card's user-data: all of authorized_keys, so that nobody could log in
# for ever; or, later, the contents of the host key and of the rule for sudo. cloud-init took all for done.
@pytest.mark.long
@pytest.mark.parametrize(
    "moment",
    ["as soon as the root has grown", "two seconds after the root has grown", "as soon as ssh answers"],
)
def test_the_node_comes_up_after_a_power_cut(node: Node, flashed: Path, moment: str) -> None:
    subprocess.run(["cp", "--sparse=always", flashed, node.card], check=True)
    with node.machine() as machine:
        machine.wait_for_growth(beyond=machine.card.root_size())
        if moment.startswith("two seconds"):
            # Not a wait for something: this is the moment that is tried.
            time.sleep(2)
        elif moment.endswith("answers"):
            machine.wait_for_ssh()
        machine.cut_power()
        machine.power_on()
        machine.wait_for_ssh()
        node.shell("cloud-init status --wait || [ $? -eq 2 ]")
        name, instance, done, *said = node.shell(
            "hostname; cat /var/lib/cloud/data/instance-id /var/lib/bramble/first-boot/done;"
            "cat /var/log/cloud-init-output.log"
        ).splitlines()
        assert name == node.name
        assert any("the first boot was cut off" in line for line in said)
        # Nothing is left for the boot after this one to fix.
        assert done == instance
