# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import image_mirror

from tests.unit.preflight_rack import check_row, found

ON = {"image_mirror_host": "pi-1"}


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({}, None),
        (ON, None),
        ({**ON, "image_mirror_folder": "/mnt/disk/images", "image_mirror_size": "40GB"}, None),
        ({"image_mirror_host": "{{ groups.workers | first }}"}, None),
        # Nothing of it is used.
        ({"image_mirror_size": "much"}, None),
        (
            {"image_mirror_host": "pi-9"},
            "image_mirror_host is 'pi-9'; expected a host of the inventory, or '' ",
        ),
        (
            {**ON, "image_mirror_port": 65534},
            "image_mirror_port is 65534; expected 4 ports from there on, from",
        ),
        (
            {**ON, "image_mirror_size": "much"},
            "image_mirror_size is 'much'; expected a number with MB, GB or",
        ),
        (
            {**ON, "image_mirror_registries": {"quay.io": "quay"}},
            "image_mirror_registries is with quay.io: 'q",
        ),
        (
            {**ON, "image_mirror_credentials": {"quay.io": {}}},
            "image_mirror_credentials is with quay.io and a",
        ),
    ],
)
def test_what_is_mirrored(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text)


def test_all_nodes_are_told_the_same() -> None:
    problems, _warnings = found(ON, hosts={"pi-2": {"image_mirror_port": 6000}})
    (problem,) = [each for each in problems if "image_mirror" in each]
    assert problem.startswith(
        "pi-2: image_mirror_port is 6000, and on pi-1, which mirrors, it is 5010; expected"
    )


def test_each_registry_has_a_port() -> None:
    assert image_mirror.mirrors(
        registries={"docker.io": "https://registry-1.docker.io", "quay.io": "https://quay.io"},
        address="10.0.0.1",
        port=5010,
    ) == [
        {"registry": "docker.io", "server": "https://registry-1.docker.io", "url": "https://10.0.0.1:5010"},
        {"registry": "quay.io", "server": "https://quay.io", "url": "https://10.0.0.1:5011"},
    ]
