# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.filter.inventory import control_groups_problem

EDITED = {
    "changed": False,
    "path": "/boot/firmware/cmdline.txt",
    "why": "config.txt names it",
    "cmdline": "console=tty1 rootwait",
}
SKIPPED = {"skipped": True, "skip_reason": "Conditional result was False"}
TOKENS = ["cgroup_enable=memory"]


def _facts(version: int, *, controllers: str = "cpuset cpu memory", state: str = "absent") -> dict[str, Any]:
    return {
        "cgroup": {"version": version, "controllers": controllers.split()},
        "kubernetes": {"state": state},
    }


@pytest.mark.parametrize("version", [1, 2])
def test_nothing_is_missing(version: int) -> None:
    assert control_groups_problem(_facts(version), SKIPPED, TOKENS) == ""


@pytest.mark.parametrize(
    ("edited", "tokens", "remedy"),
    [
        (
            EDITED,
            TOKENS,
            "by /boot/firmware/cmdline.txt (config.txt names it), which says: console=tty1 rootwait.",
        ),
        (SKIPPED, TOKENS, "as no firmware of a Raspberry Pi was found: switch the controllers on where"),
        (SKIPPED, [], "as os_prep_kernel_cmdline is empty: switch the controllers on where"),
    ],
)
def test_what_is_missing_comes_with_its_remedy(
    edited: dict[str, Any], tokens: list[str], remedy: str
) -> None:
    problem = control_groups_problem(_facts(2, controllers="cpuset cpu"), edited, tokens, kubernetes="1.36")
    assert problem.startswith("the cgroup controllers are cpuset cpu (cgroup v2); expected cpuset and memory")
    assert remedy in problem
    assert "os_prep_kernel_cmdline_path" in problem
