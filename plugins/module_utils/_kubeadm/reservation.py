# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubelet keeps from pods for the system, by the size of the board.

The kubelet limits all pods together to the rest. Without it, they may take the memory of sshd, the container
runtime and the kubelet, and a board of 1 GB then answers no more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.values import described

AUTO = "auto"
NONE = "none"
_FLAG = "system-reserved"
#: Quantities as Kubernetes writes them.
_FORMS = {"cpu": re.compile(r"\d+m|\d+(?:\.\d+)?"), "memory": re.compile(r"\d+(?:[KMG]i?)?")}

#: MiB for the daemons and for each pod, as https://github.com/awslabs/amazon-eks-ami has them
#: (nodeadm/internal/kubelet/config.go; measured there, see its pull request 419).
_DAEMONS = 255
_EACH_POD = 11
#: What fits on a board; no kubelet runs more than 110 unless it is told to.
_PODS_EACH_GIB = 8
_PODS = 110
#: Boards of less than this, in MiB, keep a quarter at most.
_SMALL_MIB = 768
#: Thousandths of each core, as in https://cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes
_CORES = (60, 10, 5, 5)


class ReservationError(BrambleError):
    """Something that no kubelet can keep for the system."""


def for_board(*, memory_mib: int, cores: int) -> dict[str, str]:
    """Return what a board of that size is to keep."""
    pods = min(_PODS_EACH_GIB * memory_mib / 1024, _PODS)
    kept = int(_DAEMONS + _EACH_POD * pods)
    if memory_mib < _SMALL_MIB:
        # Such a board has little to spare for pods; with all of the above not even the pod network would run.
        kept = min(kept, memory_mib // 4)
    return {"cpu": f"{sum(_CORES[:cores])}m", "memory": f"{kept}Mi"}


def check_reservation(value: Any) -> None:
    """Refuse what is neither auto, none nor quantities."""
    if value in (AUTO, NONE):
        return
    expected = "expected auto, none, or cpu and memory, such as {'cpu': '100m', 'memory': '400Mi'}"
    if not isinstance(value, Mapping):
        raise ReservationError(f"the reservation for the system is {described(value)}; {expected}")
    if not value or not set(value) <= set(_FORMS):
        raise ReservationError(
            f"the reservation for the system has {', '.join(map(str, value)) or 'nothing'}; {expected}"
        )
    for name, quantity in value.items():
        if not isinstance(quantity, str) or not _FORMS[name].fullmatch(quantity):
            raise ReservationError(
                f"{name} in the reservation for the system is {described(quantity)}; {expected}"
            )


def memory_mib(meminfo: str) -> int:
    """Return the memory that the kernel has, by /proc/meminfo; 0 if it does not say."""
    match = re.search(r"^MemTotal:\s+(\d+) kB$", meminfo, re.MULTILINE)
    return int(match[1]) // 1024 if match else 0


def configuration(value: Any, *, meminfo: str, cores: int) -> dict[str, Any]:
    """Return the part of kubeadm's InitConfiguration or JoinConfiguration that has it."""
    check_reservation(value)
    memory = memory_mib(meminfo)
    if value == NONE or (value == AUTO and not memory):
        return {}
    kept = for_board(memory_mib=memory, cores=cores) if value == AUTO else value
    text = ",".join(f"{name}={kept[name]}" for name in sorted(kept))
    return {"nodeRegistration": {"kubeletExtraArgs": {_FLAG: text}}}
