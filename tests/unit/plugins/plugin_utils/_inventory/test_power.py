# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody is switched off before who needs it, and who is missing afterwards is named with what to look at."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import power


def hostvars(names: str, *, silent: str = "") -> dict[str, dict[str, Any]]:
    """Return the variables of hosts with a letter each."""
    return {
        name: {
            "ansible_host": f"10.0.0.{place}",
            **({} if name in silent else {"ansible_facts": {"bramble": {"machine_id": f"id-{name}"}}}),
        }
        for place, name in enumerate(names, 1)
    }


ROUTER = {"control_plane": ["a"], "workers": ["b", "c"]}
HEAD = {**ROUTER, "nat_headnode": ["a"]}
ASIDE = {**ROUTER, "nat_headnode": ["h"]}
THREE = {"control_plane": ["a", "b", "c"], "workers": ["d"]}
NETBOOT = {**ROUTER, "nat_headnode": ["h"], "netboot": ["c"], "netboot_server": ["b"]}


@pytest.mark.parametrize(
    ("groups", "arguments", "batches", "left_on", "away"),
    [
        pytest.param(ROUTER, {}, ["workers: bc >a", "control planes: a >"], "", "", id="router"),
        pytest.param(HEAD, {}, ["workers: bc >a", "the head: a >"], "", "", id="the head is one"),
        pytest.param(
            ASIDE, {}, ["workers: bc >a", "control planes: a >h", "the head: h >"], "", "", id="head aside"
        ),
        pytest.param(
            THREE, {}, ["workers: d >a", "control planes: abc >"], "", "", id="three control planes"
        ),
        pytest.param(
            NETBOOT,
            {},
            ["workers: c >a", "control planes: a >b", "servers of the rack: b >h", "the head: h >"],
            "",
            "",
            id="a board before its server",
        ),
        pytest.param(
            {**NETBOOT, "netboot": []},
            {},
            ["workers: bc >a", "control planes: a >h", "the head: h >"],
            "",
            "",
            id="a server of nobody",
        ),
        pytest.param(
            {**ASIDE, "rack_services": ["b"]},
            {},
            ["workers: c >a", "control planes: a >b", "servers of the rack: b >h", "the head: h >"],
            "",
            "",
            id="who gives addresses",
        ),
        pytest.param(
            ROUTER, {"silent": "c"}, ["workers: b >a", "control planes: a >"], "", "c", id="one is off"
        ),
        pytest.param(ROUTER, {"silent": "abc"}, [], "", "abc", id="all are off"),
        pytest.param(HEAD, {"machine_id": "id-a"}, ["workers: bc >"], "a", "", id="it runs on the head"),
    ],
)
def test_order(
    groups: dict[str, list[str]], arguments: dict[str, str], batches: list[str], left_on: str, away: str
) -> None:
    machine_id = arguments.pop("machine_id", "another")
    order = power.order(hostvars=hostvars("abcdh", **arguments), groups=groups, machine_id=machine_id)
    shown = [f"{each['kind']}: {''.join(each['hosts'])} >{each['watcher']}" for each in order["batches"]]
    assert (shown, "".join(order["left_on"]), "".join(order["silent"])) == (batches, left_on, away)


@pytest.mark.parametrize(
    ("groups", "hosts", "silent", "problems"),
    [
        pytest.param(ROUTER, "abc", "", [], id="all"),
        pytest.param(
            HEAD,
            "abc",
            "c",
            [
                "c did not answer at 10.0.0.3 by ssh within 300 s: look at its power supply, its LEDs, its"
                " network cable and its card; it is reached through a"
            ],
            id="a worker",
        ),
        pytest.param(
            THREE,
            "abcd",
            "bc",
            [
                "b did not answer at 10.0.0.2 by ssh within 300 s: look at",
                "c did not answer at 10.0.0.3 by ssh within 300 s: look at",
                "etcd has 1 of 3 control planes; expected 2, without",
            ],
            id="no majority",
        ),
        pytest.param(THREE, "abcd", "b", ["b did not answer at"], id="a majority"),
        pytest.param(THREE, "d", "bc", [], id="others are left out by --limit"),
        pytest.param(
            THREE, "bc", "bc", ["b did", "c did", "etcd has 0 of 3"], id="without the one left out too"
        ),
        pytest.param(
            NETBOOT,
            "abch",
            "c",
            [
                "c did not answer at 10.0.0.3 by ssh within 300 s: it boots over the network: look at its"
                " power supply, its cable, and its server b; it is reached through h"
            ],
            id="a board",
        ),
    ],
)
def test_missing(groups: dict[str, list[str]], hosts: str, silent: str, problems: list[str]) -> None:
    found = power.missing(
        hostvars=hostvars("abcdh", silent=silent), groups=groups, hosts=list(hosts), seconds=300
    )
    assert len(found) == len(problems)
    assert all(said.startswith(begin) for said, begin in zip(found, problems, strict=True)), found
