# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import monitoring

HOSTS: dict[str, dict[str, Any]] = {
    "head": {"ansible_host": "192.168.1.50", "os_prep_address": "10.0.0.1"},
    "pi-1": {"ansible_host": "10.0.0.11"},
    "pi-2": {"ansible_host": "10.0.0.12"},
    "nas": {"ansible_host": "10.0.0.9"},
}
GROUPS = {"all": list(HOSTS), "control_plane": ["pi-1"], "workers": ["pi-2"]}
WITH_HEAD = {**GROUPS, "nat_headnode": ["head"]}


@pytest.mark.parametrize(
    ("groups", "told", "expected"),
    [
        (GROUPS, None, "pi-1"),
        (WITH_HEAD, None, "head"),
        (WITH_HEAD, "nas", "nas"),
        ({"all": []}, None, ""),
    ],
)
def test_who_watches(groups: dict[str, list[str]], told: str | None, expected: str) -> None:
    hosts = {**HOSTS, "pi-2": {**HOSTS["pi-2"], **({"monitoring_host": told} if told else {})}}
    assert monitoring.monitoring_host(hosts=hosts, groups=groups) == expected


def test_who_is_asked_and_where() -> None:
    found = monitoring.targets(hosts=HOSTS, groups=WITH_HEAD)
    assert found == [
        {"name": "head", "address": "10.0.0.1", "control_plane": False, "worker": False},
        {"name": "pi-1", "address": "10.0.0.11", "control_plane": True, "worker": False},
        {"name": "pi-2", "address": "10.0.0.12", "control_plane": False, "worker": True},
    ]


def problems(host: str = "pi-1", values: dict[str, Any] | None = None) -> list[str]:
    return list(monitoring.problems(host=host, values=values or {}, hosts=HOSTS))


def test_what_can_be_watched() -> None:
    assert problems() == []


def test_what_cannot_be_watched_is_told_with_its_remedy() -> None:
    assert problems("pi-9") == [
        "monitoring_host is 'pi-9'; expected a host of the inventory: set monitoring_host in"
        " group_vars/all.yml"
    ]
    assert problems(values={"monitoring_port": 0})[0].startswith("monitoring_port is 0; expected a number")
