# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said of a node from the text of its files and commands."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.os_release import parse_os_release
from ansible_collections.bramble.pi.plugins.module_utils._containers import runtime

# The package whose architecture is dpkg's own; asking for it saves running dpkg --print-architecture.
DPKG = "dpkg"

PACKAGES = (
    "chrony",
    "dnsmasq",
    "iptables",
    "kubeadm",
    "kubectl",
    "kubelet",
    "kubernetes-cni",
    "nftables",
    "systemd-timesyncd",
    "wpasupplicant",
    *runtime.packages(),
)

PACKAGE_FORMAT = r"${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n"


def distribution(*, os_release: str, has_rpi_issue: bool) -> dict[str, Any]:
    """Describe the distribution.

    64-bit Raspberry Pi OS calls itself debian in os-release; only /etc/rpi-issue tells it from Debian.
    """
    values = parse_os_release(text=os_release)
    identifier = values.get("ID", "linux")
    return {
        "id": identifier,
        "version": values.get("VERSION_ID", ""),
        "codename": values.get("VERSION_CODENAME", ""),
        "name": values.get("PRETTY_NAME", identifier),
        "raspberry_pi_os": has_rpi_issue or identifier == "raspbian",
    }


def has_pi_firmware(*, model: str | None, raspberry_pi_os: bool, boot_files: Collection[str]) -> bool:
    """Tell whether a Raspberry Pi's firmware starts the node, so that its cmdline.txt has to be there.

    Any one sign is enough: the board's model, its operating system, or files that only that firmware reads.
    """
    return (model or "").startswith("Raspberry Pi") or raspberry_pi_os or bool(boot_files)


def active_swaps(*, text: str) -> list[str]:
    """Return the files and devices listed in /proc/swaps (blanks in names are written as octal escapes)."""
    return [
        re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape.group(1), 8)), line.split()[0])
        for line in text.splitlines()[1:]
        if line.strip()
    ]


def cgroup(*, v2_controllers: str | None, v1_table: str) -> dict[str, Any]:
    """Return the cgroup version and the controllers that can be used.

    Version 2 counts where its file is there: kernels built without the memory controller of version 1 leave
    memory out of /proc/cgroups though it works.
    """
    if v2_controllers is not None:
        return {"version": 2, "controllers": v2_controllers.split()}
    rows = (line.split() for line in v1_table.splitlines() if not line.startswith("#"))
    return {"version": 1, "controllers": [row[0] for row in rows if len(row) == 4 and row[3] == "1"]}


def has_vxlan(*, in_kernel: bool, modules_dep: str | None, modules_builtin: str | None) -> bool | None:
    """Tell whether the running kernel has vxlan or can load it; None where its modules are not known."""
    if in_kernel:
        return True
    if modules_dep is None and modules_builtin is None:
        return None
    listed = f"{modules_dep or ''}\n{modules_builtin or ''}"
    return re.search(r"(^|/)vxlan\.ko(\.[a-z0-9]+)?(:|$)", listed, re.MULTILINE) is not None


def cni_configurations(*, texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return files of CNI's folder in the order in which they count, and which plugins each calls."""
    return [{"file": name, "types": _plugin_types(texts[name])} for name in sorted(texts)]


def _plugin_types(text: str) -> list[str]:
    try:
        document = json.loads(text)
    except ValueError:
        return []
    # A conflist has a list of plugins, a conf is one itself; one that others are called by names them below.
    found = []
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if isinstance(value.get("type"), str):
                found.append(value["type"])
            left += value.values()
        elif isinstance(value, list):
            left += value
    return sorted(set(found))


def installed_packages(*, text: str) -> dict[str, tuple[str, str]]:
    """Return version and architecture of the installed packages in dpkg-query's output."""
    rows = (line.split("\t") for line in text.splitlines())
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 4 and row[3] == "installed"}


def apiserver_version(*, manifest: str) -> str | None:
    """Return the version of a control plane, by the image of its API server; None where it names none."""
    found = re.search(r"^\s+image: \S+:v([0-9]+\.[0-9]+\.[0-9]+)", manifest, re.MULTILINE)
    return found[1] if found else None


def flags(*, environment: str) -> list[str]:
    """Return the names of the flags in a file of variables for a unit, such as KUBELET_EXTRA_ARGS."""
    lines = [line for line in environment.splitlines() if not line.lstrip().startswith(("#", ";"))]
    return sorted(set(re.findall(r"(?<![\w-])--?([a-z][a-z0-9-]*)", "\n".join(lines))))


def clock(*, timedatectl: str, utc: str) -> dict[str, Any]:
    """Describe the clock from the output of ``timedatectl show``."""
    values = dict(line.split("=", 1) for line in timedatectl.splitlines() if "=" in line)
    return {
        "synchronized": values.get("NTPSynchronized") == "yes",
        "ntp_available": values.get("CanNTP") == "yes",
        "ntp_enabled": values.get("NTP") == "yes",
        "utc": utc,
    }
