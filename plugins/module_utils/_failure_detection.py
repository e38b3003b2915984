# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How soon a cluster notices that a node is gone, and has its pods run elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

#: How often a kubelet tries to send its status before it gives up, nodeStatusUpdateRetry. A grace period in
#: which that often does not fit takes nodes for lost that are only busy.
#: https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/
_RETRIES = 5


class FailureDetectionError(ValueError):
    """Values that do not go together."""


class Detection(NamedTuple):
    """All in seconds."""

    #: How often the controller manager looks at the nodes.
    node_monitor_period: int
    #: After how long without a sign of life a node counts as not ready.
    node_monitor_grace_period: int
    #: How often a kubelet gives one.
    node_status_update_frequency: int
    #: How long after that its pods are left on it.
    eviction: int


#: For a demonstration: a service is back well within half a minute.
PRESETS = {"demo": Detection(2, 16, 3, 5)}


def parse(value: Any) -> Detection | None:
    """Read a preset or the four numbers; None for what Kubernetes does by itself."""
    if value in ("default", "", None):
        return None
    if isinstance(value, str) and value in PRESETS:
        return PRESETS[value]
    if not isinstance(value, Mapping):
        raise FailureDetectionError(
            f"control_plane_failure_detection is {value!r}; wanted is default, {', '.join(PRESETS)}, or a "
            f"mapping of {', '.join(Detection._fields)}, in seconds"
        )
    unknown = sorted(set(value) - set(Detection._fields))
    missing = sorted(set(Detection._fields) - set(value))
    if unknown or missing:
        raise FailureDetectionError(
            "control_plane_failure_detection "
            + " and ".join(
                [
                    *([f"has {', '.join(unknown)}"] if unknown else []),
                    *([f"lacks {', '.join(missing)}"] if missing else []),
                ]
            )
            + f"; wanted are all of {', '.join(Detection._fields)}, in seconds"
        )
    for name in Detection._fields:
        if not isinstance(value[name], int) or isinstance(value[name], bool) or value[name] < 1:
            raise FailureDetectionError(
                f"control_plane_failure_detection has {name} {value[name]!r}; wanted is a whole number of "
                "seconds, 1 or more, without a unit"
            )
    detection = Detection(**{name: int(value[name]) for name in Detection._fields})
    least = _RETRIES * detection.node_status_update_frequency + 1
    if detection.node_monitor_grace_period < least:
        raise FailureDetectionError(
            "control_plane_failure_detection has node_monitor_grace_period "
            f"{detection.node_monitor_grace_period}, and a kubelet that tries {_RETRIES} times, "
            f"{detection.node_status_update_frequency} s apart; wanted is a grace period of {least} or more, "
            "or a smaller node_status_update_frequency: nodes that are only busy would count as lost"
        )
    return detection


def cluster_configuration(detection: Detection | None) -> dict[str, Any]:
    """Return what goes into kubeadm's ClusterConfiguration.

    --pod-eviction-timeout has had no effect since 1.13: what counts are the tolerations that a pod gets.
    """
    if detection is None:
        return {}
    return {
        "controllerManager": {
            "extraArgs": {
                "node-monitor-period": f"{detection.node_monitor_period}s",
                "node-monitor-grace-period": f"{detection.node_monitor_grace_period}s",
            }
        },
        "apiServer": {
            "extraArgs": {
                "default-not-ready-toleration-seconds": str(detection.eviction),
                "default-unreachable-toleration-seconds": str(detection.eviction),
            }
        },
    }


def kubelet_configuration(detection: Detection | None) -> dict[str, Any]:
    """Return what goes into the KubeletConfiguration of all nodes."""
    if detection is None:
        return {}
    # The second would be five minutes, and the first alone then says nothing.
    frequency = f"{detection.node_status_update_frequency}s"
    return {"nodeStatusUpdateFrequency": frequency, "nodeStatusReportFrequency": frequency}


def expected(detection: Detection) -> str:
    """Say what to expect of it."""
    first = detection.node_monitor_grace_period
    last = first + detection.node_monitor_period + detection.node_status_update_frequency
    return (
        f"a node that is lost is not ready after {first} to {last} s, and its pods run elsewhere "
        f"{detection.eviction} s and their own start later"
    )
