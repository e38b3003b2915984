# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the kernel of a node has the control groups that the kubelet needs, and what switches them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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


def problem(*, cgroup: Mapping[str, Any], edited: Mapping[str, Any], tokens: Sequence[str]) -> str:
    """Say which control groups are missing; nothing if none are.

    ``cgroup`` is what M(bramble.pi.node_facts) says of them, ``edited`` the result of
    M(bramble.pi.kernel_cmdline), which has no command line if it was skipped, and ``tokens`` what that was to
    put in.
    """
    if set(REQUIRED) <= set(cgroup["controllers"]):
        return ""
    return (
        f"the cgroup controllers are {' '.join(cgroup['controllers'])} (cgroup v{cgroup['version']}); "
        f"expected {' and '.join(REQUIRED)} as well: {_remedy(edited, tokens)}"
    )
