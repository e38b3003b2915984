# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that look at a node read there.

What it means is decided in ``facts``; here the files are read and the commands run.
"""

from __future__ import annotations

import glob
import os
import socket
from datetime import datetime, timezone
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._boot.layout import PARTITIONS
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Commands
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import (
    networks,
    node_files,
    state,
    vip_service,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import CaCertError, ca_cert_hash
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.kubeconfig import server_of
from ansible_collections.bramble.pi.plugins.module_utils._node import facts, swap
from ansible_collections.bramble.pi.plugins.module_utils._node.check_pod_network import CNI_FOLDER


def _default_address() -> str | None:
    # Connecting a datagram socket sends nothing; it only makes the kernel choose route and source address.
    # Reserved addresses (RFC 1112, class E) are in nobody's routes, so the default route is the one chosen.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("240.0.0.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _kubernetes(module: Commands) -> dict[str, Any]:
    place = vip_service.configured()
    certificate = read_text(state.CA_CERTIFICATE)
    certificate_hash = None
    if certificate is not None:
        try:
            certificate_hash = ca_cert_hash(certificate)
        except CaCertError as error:
            module.warn(f"{state.CA_CERTIFICATE} is not a usable certificate: {error}")
    return {
        "state": node_files.kubernetes_state(),
        "unfinished": node_files.is_unfinished(),
        "maintenance": os.path.exists(state.MAINTENANCE),
        "upgrade": os.path.exists(state.UPGRADE),
        "ca_cert_hash": certificate_hash,
        "server": server_of(read_text(state.KUBELET_KUBECONFIG) or ""),
        "vip": place.address if place else None,
        "version": facts.apiserver_version(manifest=read_text(state.APISERVER_MANIFEST) or ""),
        **networks.read_networks(
            controller_manager_manifest=read_text(state.CONTROLLER_MANAGER_MANIFEST),
            admin_kubeconfig=read_text(state.ADMIN_KUBECONFIG),
        ),
    }


def _vxlan(kernel: str) -> bool | None:
    # The list of modules is long, and a node of a cluster has it loaded.
    in_kernel = os.path.exists("/sys/module/vxlan")
    modules = f"/lib/modules/{kernel}"
    return facts.has_vxlan(
        in_kernel=in_kernel,
        modules_dep=None if in_kernel else read_text(f"{modules}/modules.dep"),
        modules_builtin=None if in_kernel else read_text(f"{modules}/modules.builtin"),
    )


def _cni() -> list[dict[str, Any]]:
    texts = {}
    for path in glob.glob(f"{CNI_FOLDER}/*"):
        if path.endswith((".conf", ".conflist", ".json")) and os.path.isfile(path):
            texts[os.path.basename(path)] = read_text(path) or ""
    return facts.cni_configurations(texts=texts)


def output_if_installed(module: Commands, command: list[str]) -> str:
    """Return what a command prints; nothing where it is not installed."""
    if module.get_bin_path(command[0]) is None:
        return ""
    return str(module.run_command(command)[1])


def read_facts(module: Commands) -> dict[str, Any]:
    """Read the facts of this node."""
    # dpkg-query exits with 1 if it does not know one of the packages, and still lists the others.
    dpkg_query = ["dpkg-query", "-W", "-f", facts.PACKAGE_FORMAT, facts.DPKG, *facts.PACKAGES]
    packages = facts.installed_packages(text=output_if_installed(module, dpkg_query))
    # Without systemd-timedated nothing is known of the clock, which counts as not synchronised.
    timedatectl = output_if_installed(module, ["timedatectl", "show"])
    swaps = facts.active_swaps(text=read_text("/proc/swaps") or "")
    kernel = os.uname()
    distribution = facts.distribution(
        os_release=read_text("/etc/os-release") or "", has_rpi_issue=os.path.exists("/etc/rpi-issue")
    )
    boot_files = [f"{partition}/{name}" for partition in PARTITIONS for name in ("cmdline.txt", "config.txt")]
    return {
        "distribution": distribution,
        "pi_firmware": facts.has_pi_firmware(
            model=read_text("/proc/device-tree/model"),
            raspberry_pi_os=distribution["raspberry_pi_os"],
            boot_files=[path for path in boot_files if os.path.exists(path)],
        ),
        "architecture": packages[facts.DPKG][1] if facts.DPKG in packages else kernel.machine,
        "hostname": kernel.nodename,
        "machine_id": (read_text("/etc/machine-id") or "").strip(),
        "boot_id": (read_text("/proc/sys/kernel/random/boot_id") or "").strip(),
        "kernel": kernel.release,
        "clock": facts.clock(
            timedatectl=timedatectl, utc=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        ),
        "cgroup": facts.cgroup(
            v2_controllers=read_text("/sys/fs/cgroup/cgroup.controllers"),
            v1_table=read_text("/proc/cgroups") or "",
        ),
        "swap": {"active": swaps, "switched_on_by": swap.culprits() if swaps else []},
        "packages": {name: packages[name][0] for name in facts.PACKAGES if name in packages},
        "default_address": _default_address(),
        "kubernetes": _kubernetes(module),
        "vxlan": _vxlan(kernel.release),
        "cni": _cni(),
    }
