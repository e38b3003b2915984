# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.filter.remote_access import remote_access_ways

HOSTVARS = {
    "head": {"ansible_host": "192.168.1.50"},
    "pi-1": {"ansible_host": "203.0.113.5", "os_prep_address": "10.0.0.11"},
    "pi-2": {},
}
PLAIN = {"control_plane": ["pi-1", "pi-2"]}
HEAD = {**PLAIN, "nat_headnode": ["head"]}
# The head is itself the control plane.
BOTH = {"control_plane": ["head"], "nat_headnode": ["head"]}


@pytest.mark.parametrize(
    ("groups", "host", "proxy", "networks", "does"),
    [
        (PLAIN, "pi-1", False, [], set()),
        (PLAIN, "pi-1", True, [], {"proxies", "filters"}),
        (PLAIN, "pi-2", True, ["192.168.1.0/24"], set()),
        (PLAIN, "pi-1", False, ["192.168.1.0/24"], {"restricts", "filters"}),
        (HEAD, "head", False, [], {"forwards", "filters"}),
        (HEAD, "head", True, ["192.168.1.0/24"], {"forwards", "restricts", "filters"}),
        (HEAD, "pi-1", False, ["192.168.1.0/24"], set()),
        (HEAD, "pi-1", True, [], {"proxies", "filters"}),
        (BOTH, "head", False, [], set()),
        (BOTH, "head", True, ["192.168.1.0/24"], {"proxies", "restricts", "filters"}),
        ({**PLAIN, "nat_headnode": []}, "pi-1", False, [], set()),
    ],
)
def test_what_a_host_does(
    groups: dict[str, list[str]], host: str, proxy: bool, networks: list[str], does: set[str]
) -> None:
    ways = remote_access_ways(HOSTVARS, groups, host, proxy=proxy, networks=networks)
    assert {name for name, value in ways.items() if value is True} == does


@pytest.mark.parametrize(
    ("groups", "first", "door", "inside"),
    [
        (PLAIN, "pi-1", "pi-1", "10.0.0.11"),
        (HEAD, "pi-1", "head", "10.0.0.11"),
        (BOTH, "head", "head", "192.168.1.50"),
        ({"control_plane": ["pi-2"]}, "pi-2", "pi-2", "pi-2"),
    ],
)
def test_who_is_reached(groups: dict[str, list[str]], first: str, door: str, inside: str) -> None:
    ways = remote_access_ways(HOSTVARS, groups, first)
    assert (ways["first"], ways["door"], ways["inside"]) == (first, door, inside)


@pytest.mark.parametrize(
    ("groups", "play_hosts", "first", "door", "inside"),
    [
        (PLAIN, ["pi-1", "pi-2"], "pi-1", "pi-1", "10.0.0.11"),
        # The first is dead, and left out by --limit.
        (PLAIN, ["pi-2"], "pi-2", "pi-2", "pi-2"),
        (HEAD, ["head", "pi-2"], "pi-2", "head", "pi-2"),
        # None of them is in the run.
        (HEAD, ["head"], "pi-1", "head", "10.0.0.11"),
    ],
)
def test_the_next_one_takes_the_place_of_one_that_is_left_out(
    groups: dict[str, list[str]], play_hosts: list[str], first: str, door: str, inside: str
) -> None:
    ways = remote_access_ways(HOSTVARS, groups, "pi-2", proxy=True, play_hosts=play_hosts)
    assert (ways["first"], ways["door"], ways["inside"]) == (first, door, inside)
    assert ways["proxies"] is (first == "pi-2")
