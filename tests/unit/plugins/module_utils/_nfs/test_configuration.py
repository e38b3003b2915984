# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What servers of NFS are told."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._nfs import configuration
from ansible_collections.bramble.pi.plugins.module_utils._nfs.configuration import Export, Served
from hypothesis import given
from hypothesis import strategies as st

NODES = ("10.0.0.2", "10.0.0.3")
STORAGE = Served("storage_server", "kernel", "10.0.0.1", (Export("/mnt/ssd/data", NODES),))
NETBOOT = Served("netboot_server", "kernel", "10.0.0.1", (Export("/srv/netboot/nfs/pi-2", NODES[:1]),))


def test_each_export_of_the_kernel_is_for_its_addresses() -> None:
    text = configuration.files([NETBOOT, STORAGE])[configuration.EXPORTS]
    options = "(rw,sync,no_root_squash,no_subtree_check)"
    assert text.splitlines()[1:] == [
        f"/srv/netboot/nfs/pi-2 10.0.0.2{options}",
        f"/mnt/ssd/data 10.0.0.2{options} 10.0.0.3{options}",
    ]


def test_what_is_for_nobody_is_served_to_nobody() -> None:
    nobody = (Export("/mnt/ssd/data", ()),)
    assert "/mnt" not in configuration.kernel_exports(nobody)
    assert "/mnt" not in configuration.ganesha(address="10.0.0.1", exports=nobody)


def test_ganesha_lets_in_the_addresses_of_an_export_alone() -> None:
    served = [each._replace(kind="ganesha") for each in (NETBOOT, STORAGE)]
    text = configuration.files(served)[configuration.GANESHA]
    assert "Bind_addr = 10.0.0.1;" in text
    head, *blocks = text.split("\nEXPORT {")
    assert "Access_Type = None;" in head
    assert ["Clients = 10.0.0.2;" in blocks[0], "Clients = 10.0.0.2, 10.0.0.3;" in blocks[1]] == [True, True]
    assert text.count("{") == text.count("}")


def test_a_record_is_read_as_it_was_written() -> None:
    text = configuration.record(STORAGE)
    assert configuration.parse_record(owner="storage_server", text=text) == STORAGE


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"kind": "kernel", "address": "a"}'])
def test_what_no_run_has_written_is_no_record(text: str | None) -> None:
    assert configuration.parse_record(owner="storage_server", text=text) is None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        (
            {"address": "10.0.0.9"},
            [
                "storage_server_address is 10.0.0.9, and what netboot_server serves on this host by the same"
                " NFS server has 10.0.0.1; expected one for both: set storage_server_address to 10.0.0.1"
            ],
        ),
        (
            {"kind": "ganesha"},
            [
                "storage_server_nfs is ganesha, and what netboot_server serves on this host by the same NFS"
                " server has kernel; expected one for both: set storage_server_nfs to kernel"
            ],
        ),
        (
            {"exports": NETBOOT.exports},
            [
                "/srv/netboot/nfs/pi-2 is served by netboot_server already; expected folders of its own for"
                " storage_server"
            ],
        ),
    ],
)
def test_what_one_server_cannot_serve(changed: dict[str, Any], expected: list[str]) -> None:
    assert configuration.conflicts(STORAGE._replace(**changed), [NETBOOT]) == expected


@given(st.sets(st.text(min_size=1), max_size=40), st.text(min_size=1))
def test_each_export_has_a_number_of_its_own(paths: set[str], another: str) -> None:
    numbers = configuration.numbers(paths)
    assert set(numbers) == paths
    assert len(set(numbers.values())) == len(paths)
    assert all(1 <= number <= 65535 for number in numbers.values())
    # Those that are there keep theirs, unless two meet, which few do.
    more = configuration.numbers({*paths, another})
    assert sum(more[path] != numbers[path] for path in paths) <= 1


def test_numbers_that_meet_are_told_apart() -> None:
    seen: dict[int, str] = {}
    for count in range(2000):
        path = f"/srv/{count}"
        (number,) = configuration.numbers([path]).values()
        if number in seen:
            both = configuration.numbers([seen[number], path])
            assert sorted(both.values()) == [number, number + 1]
            return
        seen[number] = path
    pytest.fail("none of them met")


def test_the_server_waits_for_network_and_disks() -> None:
    assert "\nAfter=network-online.target mnt-ssd.mount\n" in configuration.drop_in(["mnt-ssd.mount"])
