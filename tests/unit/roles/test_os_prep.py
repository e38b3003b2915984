# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role os_prep says of a node after its reboot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.plays import loaded_once

ROOT = Path(__file__).parents[3]
CHECK = "Check that swap has stayed off"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Have ansible run the role's check for a node of each sort."""
    folder = tmp_path_factory.mktemp("os_prep")
    swaps: dict[str, tuple[Any, list[str], list[str]]] = {
        "pi-1": ("off", [], []),
        "pi-2": ("off", ["/dev/zram0"], ["my-zram.service", "/etc/rc.local"]),
        # As YAML 1.1 reads the word off without quotes.
        "pi-3": (False, ["/var/swap"], []),
        "pi-4": ("keep", ["/var/swap"], ["dphys-swapfile.service"]),
    }
    hosts = {
        host: {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "os_prep_swap": wish,
            "seen": {"swap": {"active": active, "switched_on_by": culprits}},
        }
        for host, (wish, active, culprits) in swaps.items()
    }
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    restart = yaml.safe_load((ROOT / "roles/os_prep/tasks/restart.yml").read_text())
    check = next(task for task in restart if task["name"] == CHECK)
    tasks = [{"ansible.builtin.set_fact": {"bramble": "{{ seen }}", "cacheable": True}}, check]
    play = {"hosts": loaded_once("all"), "gather_facts": False, "tasks": tasks}
    (folder / "play.yml").write_text(json.dumps([play]))
    ansible = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [ansible, "-i", folder / "hosts.yml", folder / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("pi-1", None),
        (
            "pi-2",
            "pi-2: swap is on again after the reboot: /dev/zram0, switched on by my-zram.service or /etc/rc",
        ),
        ("pi-3", "pi-3: swap is on again after the reboot: /var/swap, switched on by something that was not"),
        ("pi-4", None),
    ],
)
def test_swap_that_comes_back_is_told_of(said: str, host: str, message: str | None) -> None:
    assert (message or "") in " ".join(said.split())
    assert (f"{host}: swap is on again" in said) == (message is not None)
