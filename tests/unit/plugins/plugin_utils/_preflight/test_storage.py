# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares and volumes of an inventory, as preflight sees them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.preflight_rack import found, problem

GROUPS = {
    "control_plane": ["pi-1"],
    "workers": ["pi-2", "pi-3"],
    "storage_server": ["nas"],
}
SSD = {"name": "ssd", "folder": "/mnt/ssd/cluster"}
PHOTOS = {"name": "photos", "size": "50Gi", "share": "ssd"}
GOOD = {"ansible_host": "192.168.1.9", "storage_server_shares": [SSD]}


def hosts(**changed: Any) -> dict[str, dict[str, Any]]:
    return {"nas": {**GOOD, **changed}}


def test_a_rack_with_volumes() -> None:
    listed = [PHOTOS, {**PHOTOS, "name": "music", "access": "ReadOnlyMany", "namespace": "home"}]
    assert found({"storage_volumes": listed}, hosts=hosts(), groups=GROUPS) == ([], [])
    assert found(hosts=hosts(), groups=GROUPS) == ([], [])


SHARES: list[tuple[Any, str]] = [
    (
        [{"name": "ssd"}],
        "has an entry with no text as folder; expected name, folder: set storage_server_shares",
    ),
    (
        [{**SSD, "size": "1G"}],
        "has an entry with 'size'; expected name, folder: set storage_server_shares in",
    ),
    (
        [{**SSD, "name": "My SSD"}],
        "has the name 'My SSD'; expected at most 63 lower-case letters, digits and",
    ),
    (
        [{**SSD, "folder": "/home/pi"}],
        "has ssd with the folder '/home/pi'; expected one such as /mnt/ssd/ssd:",
    ),
    ([SSD, {**SSD, "folder": "/mnt/x"}], "has ssd, as nas has; expected a name of its own for each: set"),
    (
        [SSD, {"name": "in", "folder": "/mnt/ssd/cluster/in/"}],
        "has in at /mnt/ssd/cluster/in and ssd at /mnt/ssd/cluster; expected folders of which none is in",
    ),
]


@pytest.mark.parametrize(("shares", "text"), SHARES)
def test_shares_that_cannot_be(shares: Any, text: str) -> None:
    said = problem(hosts=hosts(storage_server_shares=shares), groups=GROUPS)
    assert f"nas: storage_server_shares {text}" in said


VOLUMES: list[tuple[Any, str]] = [
    (
        [{"name": "photos", "share": "ssd"}],
        "has an entry with no text as size; expected name, size, share, access",
    ),
    (
        [{**PHOTOS, "server": "nas"}],
        "has an entry with 'server'; expected name, size, share, access, namespace:",
    ),
    ([{**PHOTOS, "size": "50 GB"}], "has photos with size '50 GB'; expected a size such as 10Gi: set"),
    (
        [{**PHOTOS, "access": "RWX"}],
        "has photos with access 'RWX'; expected one of ReadWriteMany, ReadWriteOnce",
    ),
    (
        [{**PHOTOS, "namespace": "My"}],
        "has photos with namespace 'My'; expected the name of a namespace: set",
    ),
    ([{**PHOTOS, "name": "../x"}], "has the name '../x'; expected at most 63 lower-case letters, digits and"),
    (
        [{**PHOTOS, "share": "hdd"}],
        "has photos in the share 'hdd'; expected one of storage_server_shares (ssd):",
    ),
    (
        [PHOTOS, PHOTOS],
        "has photos twice; expected a name for each: set storage_volumes in group_vars/all.yml",
    ),
]


@pytest.mark.parametrize(("volumes", "text"), VOLUMES)
def test_volumes_that_cannot_be(volumes: Any, text: str) -> None:
    said = problem({"storage_volumes": volumes}, hosts=hosts(), groups=GROUPS)
    assert f"storage_volumes {text}" in said


def test_volumes_of_a_server_that_is_to_share_nothing() -> None:
    said = problem({"storage_volumes": [PHOTOS]}, hosts=hosts(storage_server_state="absent"), groups=GROUPS)
    assert "has photos in the share 'ssd'; expected one of storage_server_shares (there is none)" in said


def test_addresses_that_nothing_can_be_served_at_or_to() -> None:
    said = problem(hosts=hosts(ansible_host="nas.lan"), groups=GROUPS)
    assert "nas: storage_server_address is 'nas.lan'; expected the IPv4 address at which" in said
    changed = {**hosts(), "pi-2": {"ansible_host": "pi-2.lan"}}
    problems, _warnings = found(hosts=changed, groups=GROUPS)
    text = "pi-2: its address is 'pi-2.lan'; expected an IPv4 address, as folders are served to those of"
    assert [each for each in problems if each.startswith(text)]


def test_all_see_the_same_volumes() -> None:
    changed = {**hosts(), "pi-1": {"storage_volumes": [PHOTOS]}}
    problems, _warnings = found(hosts=changed, groups=GROUPS)
    assert [text for text in problems if "and on the control plane" in text and "pi-2, pi-3, nas: " in text]


@pytest.mark.parametrize(
    ("name", "seen", "expected"),
    [("nfs", "ganesha", "auto"), ("address", "192.168.1.8", "192.168.1.9")],
)
def test_one_server_for_shares_and_trees(name: str, seen: str, expected: str) -> None:
    changed = hosts(**{f"storage_server_{name}": seen, f"netboot_server_{name}": expected})
    problems, _warnings = found(hosts=changed, groups={**GROUPS, "netboot_server": ["nas"]})
    text = f"nas: storage_server_{name} is {seen}, and netboot_server_{name} is {expected}; expected the same"
    assert [each for each in problems if each.startswith(text)]
