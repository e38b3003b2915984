# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What boards keep for the system."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import config, reservation

MEMINFO = "MemTotal:         930000 kB\nMemFree:          100000 kB\n"


@pytest.mark.parametrize(
    ("gib", "cores", "memory", "cpu"),
    [
        # What the kernel of a board of 512 MB has.
        (416 / 1024, 4, "104Mi", "80m"),
        (0.5, 4, "128Mi", "80m"),
        (0.75, 4, "321Mi", "80m"),
        (1, 1, "343Mi", "60m"),
        (1, 4, "343Mi", "80m"),
        (2, 4, "431Mi", "80m"),
        (4, 2, "607Mi", "70m"),
        (8, 4, "959Mi", "80m"),
        (16, 4, "1465Mi", "80m"),
        (64, 16, "1465Mi", "80m"),
    ],
)
def test_boards(gib: float, cores: int, memory: str, cpu: str) -> None:
    kept = reservation.for_board(memory_mib=int(gib * 1024), cores=cores)
    assert kept == {"memory": memory, "cpu": cpu}


def flag(text: str) -> dict[str, Any]:
    return {"nodeRegistration": {"kubeletExtraArgs": {"system-reserved": text}}}


@pytest.mark.parametrize(
    ("value", "meminfo", "expected"),
    [
        ("auto", MEMINFO, flag("cpu=80m,memory=333Mi")),
        ("auto", "", {}),
        ("none", MEMINFO, {}),
        ({"memory": "400Mi"}, MEMINFO, flag("memory=400Mi")),
        ({"memory": "1G", "cpu": "0.5"}, "", flag("cpu=0.5,memory=1G")),
    ],
)
def test_configuration(value: Any, meminfo: str, expected: dict[str, Any]) -> None:
    assert reservation.configuration(value, meminfo=meminfo, cores=4) == expected


@pytest.mark.parametrize("given", [{"system-reserved": "memory=1Gi"}, {"v": "2"}])
def test_what_a_user_gives_goes_over_it(given: dict[str, str]) -> None:
    base = reservation.configuration({"memory": "400Mi"}, meminfo="", cores=4)
    over = {"nodeRegistration": {"kubeletExtraArgs": given, "taints": []}}
    found = config.merged(base=base, over=over)["nodeRegistration"]
    assert found["taints"] == []
    arguments = {argument["name"]: argument["value"] for argument in found["kubeletExtraArgs"]}
    assert arguments == {"system-reserved": "memory=400Mi", **given}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("256Mi", "is the text '256Mi'; expected auto, none, or cpu and memory"),
        (None, "is null"),
        (False, "is the boolean false"),
        ({}, "has nothing"),
        ({"memory": "1Gi", "disk": "1Gi"}, "has memory, disk"),
        ({"memory": 256}, "memory in the reservation for the system is the number 256"),
        ({"memory": "a lot"}, "is the text 'a lot'"),
        ({"memory": "-1"}, "is the text '-1'"),
        ({"cpu": "100Mi"}, "cpu in the reservation for the system is the text '100Mi'"),
        ({"cpu": "1m,memory=1"}, "is the text '1m,memory=1'"),
    ],
)
def test_what_is_none_is_refused(value: Any, text: str) -> None:
    with pytest.raises(reservation.ReservationError) as caught:
        reservation.check_reservation(value)
    assert text in str(caught.value)
