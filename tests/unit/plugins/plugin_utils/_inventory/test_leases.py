# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._rack.bootptab import Entry
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import leases

GROUPS = {"nat_headnode": ["pi-1"], "control_plane": ["pi-1"], "workers": ["pi-2", "10.0.0.3"]}
HOSTVARS: dict[str, dict[str, Any]] = {
    "pi-1": {"ansible_host": "192.168.1.50", "os_prep_address": "10.0.0.1"},
    "pi-2": {"ansible_host": "10.0.0.2", "rack_services_mac": "B8-27-EB-00-00-02"},
    "10.0.0.3": {"os_prep_hostname": "pi-3"},
    "printer": {"ansible_host": "10.0.0.50", "rack_services_mac": "00:80:77:31:01:07"},
    "desk": {"ansible_host": "192.168.1.9"},
}


def merged(*entries: Entry, **changes: dict[str, Any]) -> tuple[list[leases.Host], list[str]]:
    hostvars = {host: {**variables, **changes.get(host, {})} for host, variables in HOSTVARS.items()}
    return leases.merge(
        inventory=leases.inventory_hosts(hostvars=hostvars, groups=GROUPS), bootptab=list(entries)
    )


def test_hosts_of_the_rack_and_what_has_a_mac() -> None:
    hosts, problems = merged()
    assert problems == []
    assert hosts == [
        leases.Host("pi-1", "10.0.0.1"),
        leases.Host("pi-2", "10.0.0.2", "b8:27:eb:00:00:02"),
        leases.Host("pi-3", "10.0.0.3"),
        leases.Host("printer", "10.0.0.50", "00:80:77:31:01:07"),
    ]


def test_a_bootptab_tells_macs_and_further_hosts() -> None:
    hosts, problems = merged(
        Entry(4, "PI-3", "b8:27:eb:00:00:03", "10.0.0.3", "boot"),
        Entry(5, "tv", "00:80:77:31:01:09", "10.0.0.51", ""),
    )
    assert problems == []
    assert leases.Host("pi-3", "10.0.0.3", "b8:27:eb:00:00:03", "boot") in hosts
    assert leases.Host("tv", "10.0.0.51", "00:80:77:31:01:09", "", expected=False) in hosts


@pytest.mark.parametrize(
    ("entries", "changes", "why"),
    [
        (
            [Entry(4, "pi-2", "b8:27:eb:00:00:02", "10.0.0.12", "")],
            {},
            "pi-2: its address is 10.0.0.2 in the inventory, and 10.0.0.12 in line 4 of rack_services_boot",
        ),
        (
            [Entry(4, "pi-2", "b8:27:eb:00:00:12", "10.0.0.2", "")],
            {},
            "pi-2: its mac is b8:27:eb:00:00:02 in the inventory, and b8:27:eb:00:00:12 in line 4",
        ),
        (
            [Entry(4, "tv", "b8:27:eb:00:00:02", "10.0.0.51", "")],
            {},
            "tv: has the mac b8:27:eb:00:00:02, as pi-2 has",
        ),
        ([], {"printer": {"ansible_host": "10.0.0.2"}}, "printer: has the address 10.0.0.2, as pi-2 has"),
        ([], {"pi-2": {"rack_services_mac": "b8:27"}}, "pi-2: rack_services_mac is 'b8:27'; expected one"),
        ([], {"pi-2": {"ansible_host": "pi-2.lan"}}, "pi-2: has a MAC, but no address or name of its own"),
    ],
)
def test_what_does_not_agree(entries: list[Entry], changes: dict[str, dict[str, Any]], why: str) -> None:
    _hosts, problems = merged(*entries, **changes)
    assert any(why in problem for problem in problems), problems
