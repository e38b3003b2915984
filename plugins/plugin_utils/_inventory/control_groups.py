# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the kernel of a node has the control groups that the kubelet needs, and what switches them on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.state import IN_CLUSTER
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    CGROUP_V1_REFUSED_FROM,
    CompatibilityError,
    cgroup_v1_refused,
    parse_version,
)

#: What the kubelet needs of the kernel, whatever tokens that takes.
REQUIRED = ("cpuset", "memory")


def _remedy(edited: Mapping[str, Any], tokens: Sequence[str]) -> str:
    if "cmdline" in edited:
        return (
            f"the kernel was started with them, or should have been, by {edited['path']} ({edited['why']}), "
            f"which says: {edited['cmdline']}. If /proc/cmdline says otherwise that file is not the one that "
            "counts: set os_prep_kernel_cmdline_path"
        )
    reason = "no firmware of a Raspberry Pi was found" if tokens else "os_prep_kernel_cmdline is empty"
    return (
        f"no kernel command line was edited, as {reason}: switch the controllers on where the boot loader "
        "keeps the command line (GRUB: GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub), or set "
        "os_prep_kernel_cmdline_path"
    )


def problem(
    *,
    facts: Mapping[str, Any],
    edited: Mapping[str, Any],
    tokens: Sequence[str],
    kubernetes: str,
    kubelet: Mapping[str, Any],
) -> str:
    """Say which control groups are missing; nothing if none are.

    ``facts`` are those of M(bramble.pi.node_facts), ``edited`` the result of M(bramble.pi.kernel_cmdline),
    which has no command line if it was skipped, ``tokens`` what that was to put in, ``kubernetes`` the
    version that the node is to run, and ``kubelet`` the user's KubeletConfiguration.
    """
    cgroup = facts["cgroup"]
    if not set(REQUIRED) <= set(cgroup["controllers"]):
        return (
            f"the cgroup controllers are {' '.join(cgroup['controllers'])} (cgroup v{cgroup['version']}); "
            f"expected {' and '.join(REQUIRED)} as well: {_remedy(edited, tokens)}"
        )
    # A node of a cluster has found its way around it.
    if cgroup["version"] == 1 and facts["kubernetes"]["state"] not in IN_CLUSTER:
        return _version_problem(kubernetes=kubernetes, kubelet=kubelet)
    return ""


def _version_problem(*, kubernetes: str, kubelet: Mapping[str, Any]) -> str:
    # A version that is none is told of by preflight.
    with contextlib.suppress(CompatibilityError):
        version = parse_version(kubernetes)
        if cgroup_v1_refused(version) and kubelet.get("failCgroupV1") is not False:
            older = f"{CGROUP_V1_REFUSED_FROM[0]}.{CGROUP_V1_REFUSED_FROM[1] - 1}"
            return (
                f"the control groups are cgroup v1, with which the kubelet of Kubernetes {version} does not "
                "start; expected cgroup v2: remove systemd.unified_cgroup_hierarchy=0 from the kernel "
                "command line, or set failCgroupV1 to false in control_plane_kubelet_configuration, or "
                f'kube_packages_version to "{older}" or older'
            )
    return ""
