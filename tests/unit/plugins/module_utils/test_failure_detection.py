# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils import _failure_detection as core
from hypothesis import given
from hypothesis import strategies as st

OWN = {
    "node_monitor_period": 5,
    "node_monitor_grace_period": 41,
    "node_status_update_frequency": 8,
    "eviction": 30,
}


@pytest.mark.parametrize("value", ["default", "", None])
def test_what_kubernetes_does_by_itself_is_left_alone(value: Any) -> None:
    detection = core.parse(value)
    assert detection is None
    assert core.cluster_configuration(detection) == core.kubelet_configuration(detection) == {}


def test_demo() -> None:
    detection = core.parse("demo")
    assert detection is not None
    assert core.cluster_configuration(detection) == {
        "controllerManager": {"extraArgs": {"node-monitor-period": "2s", "node-monitor-grace-period": "16s"}},
        "apiServer": {
            "extraArgs": {
                "default-not-ready-toleration-seconds": "5",
                "default-unreachable-toleration-seconds": "5",
            }
        },
    }
    assert core.kubelet_configuration(detection) == {
        "nodeStatusUpdateFrequency": "3s",
        "nodeStatusReportFrequency": "3s",
    }
    assert "not ready after 16 to 21 s" in core.expected(detection)
    # The presets keep the rule that own values have to keep.
    assert core.parse(detection._asdict()) == detection


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("fast", ("'fast'", "default, demo")),
        (16, ("16", "default, demo")),
        ({**OWN, "pod_eviction_timeout": 5}, ("has pod_eviction_timeout", "wanted are all of")),
        ({"eviction": 5}, ("lacks node_monitor_grace_period",)),
        ({**OWN, "eviction": "5s"}, ("eviction '5s'", "without a unit")),
        ({**OWN, "eviction": 0}, ("eviction 0",)),
        ({**OWN, "node_monitor_grace_period": 40}, ("grace_period 40", "41 or more")),
    ],
)
def test_values_that_do_not_go_together(value: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(core.FailureDetectionError) as caught:
        core.parse(value)
    for word in ("control_plane_failure_detection", *words):
        assert word in str(caught.value)


@given(
    st.fixed_dictionaries({name: st.integers(min_value=1, max_value=1000) for name in core.Detection._fields})
)
def test_a_busy_node_is_never_lost(value: dict[str, int]) -> None:
    try:
        detection = core.parse(value)
    except core.FailureDetectionError:
        assert value["node_monitor_grace_period"] <= 5 * value["node_status_update_frequency"]
    else:
        assert detection is not None
        assert detection.node_monitor_grace_period > 5 * detection.node_status_update_frequency
