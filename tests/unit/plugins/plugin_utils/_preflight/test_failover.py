# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that the playbook failover could not lose: a warning, as all other playbooks can do without."""

from __future__ import annotations

import pytest

from tests.unit.preflight_rack import found

GROUPS = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"]}
BY_NETWORK = {**GROUPS, "netboot": ["pi-3"], "netboot_server": ["pi-1"]}


@pytest.mark.parametrize(
    ("groups", "node", "text"),
    [
        (GROUPS, "pi-1", "failover_node is 'pi-1', and the workers are pi-2, pi-3; expected one of two"),
        (
            {"control_plane": ["pi-1"], "workers": ["pi-2"]},
            "pi-2",
            "failover_node is 'pi-2', and the workers are pi-2; expected one of two or more",
        ),
        (BY_NETWORK, "pi-3", "failover_node is 'pi-3', which has its system on the network"),
    ],
)
def test_a_worker_that_cannot_be_lost(groups: dict[str, list[str]], node: str, text: str) -> None:
    problems, warnings = found({"failover_node": node}, groups=groups)
    assert not [problem for problem in problems if "failover" in problem]
    assert [warning for warning in warnings if text in warning], warnings


def test_one_that_can() -> None:
    assert found({"failover_node": "pi-2"}) == ([], [])
