# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes are looked at again, by what the run has seen of them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import labels

GROUPS = {"control_plane": ["pi-1"], "workers": ["pi-2", "Pi-3"]}
OURS = {"bramble.pi/labels": "disk,topology.kubernetes.io/zone"}
TAINT = {"key": "disk", "value": "slow", "effect": "NoSchedule"}
SHELF = {"disk": "ssd", "topology.kubernetes.io/zone": "shelf-1"}
NONE: dict[str, Any] = {"labels": {}, "taints": []}


def told(seen: dict[str, Any] | None, *hosts: str, **variables: dict[str, Any]) -> dict[str, Any]:
    hostvars = {host: variables.get(host.lower().replace("-", ""), {}) for host in ("pi-1", "pi-2", "Pi-3")}
    if seen is not None:
        hostvars["pi-1"] = {**hostvars["pi-1"], "control_plane_initialised": {"nodes": seen}}
    return labels.to_label(hostvars=hostvars, groups=GROUPS, play_hosts=hosts or ("pi-1", "pi-2", "Pi-3"))


WITH = {"workers_labels": {"disk": "ssd"}, "workers_zone": "shelf-1"}
JOINED = {"workers_joined": {"changed": True}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (told({}), {}),
        (told({"pi-2": {"labels": {"theirs": "x"}, "taints": [TAINT]}}), {}),
        (told(None), {"pi-1": NONE, "pi-2": NONE, "pi-3": NONE}),
        (told(None, "Pi-3"), {"pi-3": NONE}),
        (told({}, pi2={**WITH, **JOINED}), {"pi-2": {"labels": SHELF, "taints": []}}),
        # With --tags control_plane nobody has joined yet.
        (told({"pi-1": {}}, pi2=WITH), {}),
        (told({"pi-1": {}}, pi2={**WITH, "workers_joined": {"skipped": True}}), {}),
        (told({"pi-2": {"labels": SHELF, "annotations": OURS}}, pi2=WITH), {}),
        (told({"pi-2": {"labels": SHELF, "annotations": OURS}}), {"pi-2": NONE}),
        (told({"pi-2": {"labels": SHELF, "annotations": OURS}}, "pi-1"), {}),
        (told({}, pi3={"workers_taints": [TAINT], **JOINED}), {"pi-3": {"labels": {}, "taints": [TAINT]}}),
        (
            told({"pi-1": {}}, pi1={"control_plane_zone": "attic", "workers_labels": {"no": "worker"}}),
            {"pi-1": {"labels": {"topology.kubernetes.io/zone": "attic"}, "taints": []}},
        ),
    ],
)
def test_nodes_to_label(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found == expected
