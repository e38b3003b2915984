# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How soon a cluster notices that a node is lost, and has its pods run elsewhere."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import extra_args

#: How often a kubelet tries to send its status before it gives up, nodeStatusUpdateRetry. A grace period in
#: which that often does not fit takes nodes for lost that are only busy.
#: https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/
_RETRIES = 5

#: The parts of the ClusterConfiguration, and the programs that get their extra arguments.
_PROGRAMS = {"controllerManager": "kube-controller-manager", "apiServer": "kube-apiserver"}
PROGRAMS = tuple(_PROGRAMS.values())
_ARGUMENTS = extra_args.FIELDS[0]

# With the first alone a kubelet has the second follow it, but not where the second is given as well.
_KUBELET_SETTINGS = ("nodeStatusUpdateFrequency", "nodeStatusReportFrequency")
# What the kubelet's configuration has for "the default".
_UNSET = "0s"


class FailureDetectionError(BrambleError):
    """Values that do not work together, or files that are not as kubeadm writes them."""


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


class Expectation(NamedTuple):
    """Seconds after the loss of a node, the shortest and the longest."""

    not_ready: tuple[int, int]
    evicted: tuple[int, int]

    def __str__(self) -> str:
        """Say it in words."""
        not_ready, evicted = ("{} to {} s".format(*span) for span in self)
        return (
            f"A node that is lost is NotReady after {not_ready}, and services leave its pods out; "
            f"after {evicted} its pods are given up, "
            "and run elsewhere as soon as they have started there."
        )


#: For a demonstration: a service is back well within half a minute.
PRESETS = {"demo": Detection(2, 12, 2, 3)}


def kubernetes_default(*, minor: int) -> Detection:
    """Return what Kubernetes 1.<minor> does by itself."""
    return Detection(5, 50 if minor >= 32 else 40, 10, 300)


def parse(value: Any) -> Detection | None:
    """Read default, a preset or the four numbers; None for what Kubernetes does by itself."""
    if value in ("default", "", None):
        return None
    if isinstance(value, str) and value in PRESETS:
        return PRESETS[value]
    if not isinstance(value, Mapping):
        raise FailureDetectionError(
            f"control_plane_failure_detection is {value!r}; expected default, {', '.join(PRESETS)}, or a "
            f"mapping of {', '.join(Detection._fields)}, in seconds"
        )
    unknown = sorted(str(key) for key in set(value) - set(Detection._fields))
    missing = sorted(set(Detection._fields) - set(value))
    if unknown or missing:
        found = [f"has {', '.join(unknown)}"] if unknown else []
        found += [f"lacks {', '.join(missing)}"] if missing else []
        raise FailureDetectionError(
            f"control_plane_failure_detection {' and '.join(found)}; expected all of "
            f"{', '.join(Detection._fields)}, in seconds"
        )
    for name in Detection._fields:
        if not isinstance(value[name], int) or isinstance(value[name], bool) or value[name] < 1:
            raise FailureDetectionError(
                f"control_plane_failure_detection has {name} {value[name]!r}; expected a whole number of "
                "seconds, 1 or more, without a unit"
            )
    detection = Detection(**{name: int(value[name]) for name in Detection._fields})
    least = _RETRIES * detection.node_status_update_frequency + 1
    if detection.node_monitor_grace_period < least:
        raise FailureDetectionError(
            "control_plane_failure_detection has node_monitor_grace_period "
            f"{detection.node_monitor_grace_period}, and a kubelet tries {_RETRIES} times, "
            f"{detection.node_status_update_frequency} s apart; expected a grace period of {least} or more, "
            "or a smaller node_status_update_frequency: nodes that are only busy would count as lost"
        )
    return detection


def flags(detection: Detection | None) -> dict[str, dict[str, str | None]]:
    """Return the flags of each program, {program: {name: value}}; None for a flag that is not to be there.

    --pod-eviction-timeout has had no effect since 1.13: what counts are the tolerations that a pod gets
    when it is made.
    """
    seconds = detection._asdict() if detection else {}

    def told(name: str, unit: str = "") -> str | None:
        return f"{seconds[name]}{unit}" if seconds else None

    return {
        "kube-controller-manager": {
            "node-monitor-grace-period": told("node_monitor_grace_period", "s"),
            "node-monitor-period": told("node_monitor_period", "s"),
        },
        "kube-apiserver": {
            "default-not-ready-toleration-seconds": told("eviction"),
            "default-unreachable-toleration-seconds": told("eviction"),
        },
    }


def kubelet_settings(detection: Detection | None) -> dict[str, str]:
    """Return what stands in the kubelet's configuration."""
    value = f"{detection.node_status_update_frequency}s" if detection else _UNSET
    return dict.fromkeys(_KUBELET_SETTINGS, value)


# What kubeadm is told, and what it remembers


def cluster_configuration(detection: Detection | None) -> dict[str, Any]:
    """Return the parts of a new ClusterConfiguration; none for what Kubernetes does by itself."""
    told = flags(detection)
    return {part: {_ARGUMENTS: told[program]} for part, program in _PROGRAMS.items()} if detection else {}


def in_cluster_configuration(document: Mapping[str, Any], detection: Detection | None) -> dict[str, Any]:
    """Return a ClusterConfiguration with the detection in it, and all else as it was."""
    told = flags(detection)
    return extra_args.with_flags(document, {part: told[program] for part, program in _PROGRAMS.items()})


def in_kubelet_configuration(document: Mapping[str, Any], detection: Detection | None) -> dict[str, Any]:
    """Return a KubeletConfiguration with the detection in it, and all else as it was."""
    desired = kubelet_settings(detection)
    if detection is None:
        # What is not there need not be said to be the default.
        desired = {name: value for name, value in desired.items() if name in document}
    return {**document, **desired}


# The files of a node


def _command(*, manifest: str, program: str) -> tuple[list[str], int, int, str]:
    """Return the manifest's lines, where the program's arguments begin and end, and what leads each."""
    lines = manifest.split("\n")
    for number, line in enumerate(lines):
        if line.strip() == f"- {program}":
            lead = line[: line.index("-")] + "- "
            end = number + 1
            while end < len(lines) and lines[end].startswith(lead):
                end += 1
            return lines, number + 1, end, lead
    raise FailureDetectionError(
        f"the manifest of {program} has no command '- {program}', as kubeadm writes it; set "
        f"{', '.join(name for names in flags(None).values() for name in names)} where its flags stand"
    )


def _flag(argument: str) -> tuple[str, str]:
    name, _equals, value = argument.strip().strip("\"'").partition("=")
    return name.lstrip("-"), value


def manifest_flags(*, manifest: str, program: str) -> dict[str, str]:
    """Return the flags of a static pod's program, {name: value}."""
    lines, begin, end, lead = _command(manifest=manifest, program=program)
    return dict(_flag(line[len(lead) :]) for line in lines[begin:end])


def with_flags(*, manifest: str, program: str, desired: Mapping[str, str | None]) -> str:
    """Return the manifest of a static pod with these flags, in the order in which kubeadm has them."""
    lines, begin, end, lead = _command(manifest=manifest, program=program)
    found = manifest_flags(manifest=manifest, program=program)
    if {name: found.get(name) for name in desired} == dict(desired):
        return manifest
    arguments = [line for line in lines[begin:end] if _flag(line[len(lead) :])[0] not in desired]
    for name, value in sorted(desired.items()):
        if value is not None:
            place = next(
                (index for index, line in enumerate(arguments) if _flag(line[len(lead) :])[0] > name),
                len(arguments),
            )
            arguments.insert(place, f"{lead}--{name}={value}")
    return "\n".join([*lines[:begin], *arguments, *lines[end:]])


def _kubelet_setting(text: str, name: str) -> re.Match[str] | None:
    return re.search(rf"^{name}:[ \t]*(\S*)[ \t]*$", text, re.MULTILINE)


def with_kubelet_settings(*, text: str, detection: Detection | None) -> str:
    """Return the kubelet's configuration with the detection in it, line by line as kubeadm writes it."""
    if not re.search(r"^kind: KubeletConfiguration$", text, re.MULTILINE):
        raise FailureDetectionError(
            "the kubelet's configuration has no line 'kind: KubeletConfiguration', as kubeadm writes it; "
            f"set {' and '.join(_KUBELET_SETTINGS)} there"
        )
    for name, value in kubelet_settings(detection).items():
        found = _kubelet_setting(text, name)
        if found:
            text = f"{text[: found.start()]}{name}: {value}{text[found.end() :]}"
        elif detection is not None:
            text = f"{text.rstrip(chr(10))}\n{name}: {value}\n"
    return text


def seconds(duration: str) -> float:
    """Read a duration as Go writes it, such as 1m30s or 500ms."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
    if duration == "0":
        return 0.0
    if not re.fullmatch(r"(\d+(\.\d+)?(h|ms|us|µs|ns|m|s))+", duration):
        raise FailureDetectionError(f"{duration!r} is not a duration such as 1m30s")
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)", duration)
    return sum(float(number) * units[unit] for number, unit in parts)


def reports_every(*, kubelet_configuration: str) -> float:
    """Return how often a kubelet with this configuration gives a sign of life, in seconds."""
    found = _kubelet_setting(kubelet_configuration, _KUBELET_SETTINGS[0])
    told = seconds(found.group(1)) if found and found.group(1) else 0
    return told or kubernetes_default(minor=0).node_status_update_frequency


def kubelet_health(*, kubelet_configuration: str) -> str | None:
    """Return where a kubelet with this configuration says that it is well; None if it does not."""
    found = [_kubelet_setting(kubelet_configuration, f"healthz{name}") for name in ("BindAddress", "Port")]
    bound, port = (match.group(1).strip("\"'") if match else "" for match in found)
    if port == "0":
        return None
    return f"http://{local_address(bound)}:{port or 10248}/healthz"


def local_address(bound: str) -> str:
    """Return where a program of this node is reached from here that listens there; empty is everywhere."""
    return "127.0.0.1" if not bound or ipaddress.ip_address(bound).is_unspecified else bound


def in_force(*, manifests: Mapping[str, str], kubelet_configuration: str) -> Detection:
    """Return what the files of a control plane say, {program: manifest}."""
    found = {
        name: value
        for program in PROGRAMS
        for name, value in manifest_flags(manifest=manifests[program], program=program).items()
    }
    version = re.search(r"image: \S+:v1\.(\d+)", manifests[PROGRAMS[0]])
    default = kubernetes_default(minor=int(version.group(1)) if version else 0)
    return Detection(
        int(seconds(found.get("node-monitor-period", f"{default.node_monitor_period}s"))),
        int(seconds(found.get("node-monitor-grace-period", f"{default.node_monitor_grace_period}s"))),
        int(reports_every(kubelet_configuration=kubelet_configuration)),
        int(found.get("default-unreachable-toleration-seconds", default.eviction)),
    )


def expected(detection: Detection) -> Expectation:
    """Return what to expect.

    The last sign of life is up to one update old at the loss. The controller manager sees it up to one period
    late and looks again each period; it marks the node in one round and has its pods evicted from the next.
    """
    period, grace, update, eviction = detection
    not_ready = (max(grace - update, 0), grace + 2 * period)
    return Expectation(not_ready, (not_ready[0] + eviction, not_ready[1] + period + eviction))
