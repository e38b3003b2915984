# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads on a node all by which it is checked; the files ``check_*`` decide what that means."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._boot import cmdline
from ansible_collections.bramble.pi.plugins.module_utils._boot.layout import BootLayoutError, find_cmdline
from ansible_collections.bramble.pi.plugins.module_utils._common import run_status
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Commands
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import NodeFiles, read_text
from ansible_collections.bramble.pi.plugins.module_utils._containers.base import Wishes
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import (
    RUNTIMES,
    data_folders,
    runtime_at,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import (
    apply_encryption,
    certificate_files,
    components,
    diagnosis,
    node_files,
    state,
    vip_service,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import REMOVED_FLAGS
from ansible_collections.bramble.pi.plugins.module_utils._nfs import health as nfs_health
from ansible_collections.bramble.pi.plugins.module_utils._node import apply_os_update, health, os_update
from ansible_collections.bramble.pi.plugins.module_utils._node.check_units import UNITS
from ansible_collections.bramble.pi.plugins.module_utils._node.facts import flags
from ansible_collections.bramble.pi.plugins.module_utils._node.reader import output_if_installed, read_facts

_ETCD = "/var/lib/etcd"
# Where space matters, as far as it is there; what shares a file system with one before it is passed over.
_PATHS = (
    "/",
    "/var",
    "/var/log",
    "/var/lib/kubelet",
    *data_folders(),
    _ETCD,
)
_THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
_JOURNAL_LINES = 400
# One request, so that kubectl keeps no cache of what the API has; with the kubelet's own rights.
_KUBECTL = ["timeout", "20", "kubectl", "--kubeconfig=/etc/kubernetes/kubelet.conf", "--request-timeout=10s"]
#: What kubelet expects of a runtime.
WISHES = Wishes(daemon_json={"exec-opts": ["native.cgroupdriver=systemd"]})
# As etcd's own advice measures it: https://etcd.io/docs/latest/op-guide/hardware/#disks
_BLOCK = b"\0" * 2300
_WRITES = 200
_SECONDS = 5


def _certificates() -> Iterator[dict[str, str]]:
    pem = read_text(state.MONITORING_CERTIFICATE)
    others = [certificate_files.of_pem(state.MONITORING_CERTIFICATE, pem)] if pem else []
    for each in (*certificate_files.read_certificates(), *others):
        if each.expires is None:
            yield {"path": each.path, "error": each.error}
        else:
            yield {"path": each.path, "expires": f"{each.expires:%Y-%m-%dT%H:%M:%SZ}"}


def _disks() -> Iterator[dict[str, Any]]:
    seen = set()
    for path in (*_PATHS, *nfs_health.served_folders()):
        try:
            device, status = os.stat(path).st_dev, os.statvfs(path)
        except OSError:
            continue
        if device in seen:
            continue
        seen.add(device)
        yield {
            "path": path,
            "size": status.f_blocks * status.f_frsize,
            "available": status.f_bavail * status.f_frsize,
            "inodes": status.f_files,
            "inodes_available": status.f_favail,
            "read_only": bool(status.f_flag & os.ST_RDONLY),
        }


def _fsync() -> dict[str, Any] | None:
    folder = _ETCD if os.path.isdir(_ETCD) else os.path.dirname(_ETCD)
    seconds: list[float] = []
    deadline = time.monotonic() + _SECONDS
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            while len(seconds) < _WRITES and time.monotonic() < deadline:
                file.write(_BLOCK)
                began = time.perf_counter()
                os.fdatasync(file.fileno())
                seconds.append(time.perf_counter() - began)
    except OSError:
        # A full or read-only disk is reported as such.
        pass
    measured = health.latency(seconds=seconds)
    return {"path": folder, **measured} if measured else None


def _cmdline(facts: dict[str, Any]) -> dict[str, Any]:
    """Tell what the file with the command line has that the running kernel was started without."""
    if facts["pi_firmware"]:
        try:
            path = find_cmdline(files=NodeFiles()).path
            line = cmdline.read_line(data=(read_text(path) or "").encode(), path=path)
        except (BootLayoutError, cmdline.CmdlineError) as error:
            return {"path": None, "pending": [], "error": str(error)}
        tokens = cmdline.split(line=line)
        running = read_text("/proc/cmdline") or ""
        pending = cmdline.not_running(tokens=tokens, running=running)
        return {"path": path, "pending": pending, "error": None}
    return {"path": None, "pending": [], "error": None}


def _runtime(module: Commands, facts: dict[str, Any], *, wishes: Wishes) -> dict[str, Any] | None:
    """Ask the runtime that kubelet uses whether it serves it, and what of its settings has drifted."""
    if facts["kubernetes"]["state"] not in state.IN_CLUSTER:
        return None
    socket = node_files.kubelet_socket()
    # dockershim is part of the kubelet, and has no socket to be told of.
    runtime = RUNTIMES["dockershim"] if socket is None else runtime_at(socket)
    if runtime is None or not module.get_bin_path(runtime.client.program):
        return None
    seen: dict[str, Any] = {"name": runtime.name, "fault": None, "drift": []}
    seen["version"] = runtime.version(run=module.run_command)
    seen["unserved_from"] = _unserved_from(module, facts)
    try:
        runtime.check(run=module.run_command)
        seen["drift"] = runtime.drift(run=module.run_command, wishes=wishes)
    except BrambleError as error:
        seen["fault"] = str(error)
    return seen


def _unserved_from(module: Commands, facts: dict[str, Any]) -> str | None:
    """Ask the kubelet of a control plane which Kubernetes will not use its runtime any more.

    Of a worker nobody on it may ask that, and the table of versions has to do.
    """
    if facts["kubernetes"]["state"] != "control_plane" or not module.get_bin_path("kubectl"):
        return None
    path = f"/api/v1/nodes/{facts['hostname'].lower()}/proxy/metrics"
    command = ["timeout", "20", "kubectl", f"--kubeconfig={state.ADMIN_KUBECONFIG}", "--request-timeout=10s"]
    code, output, _errors = module.run_command([*command, "get", f"--raw={path}"])
    return health.unserved_from(metrics=output) if code == 0 else None


def _member(module: Commands, facts: dict[str, Any]) -> dict[str, Any] | None:
    """Ask the cluster how it sees this node."""
    if facts["kubernetes"]["state"] not in state.IN_CLUSTER or not module.get_bin_path("kubectl"):
        return None
    path = f"/api/v1/nodes/{facts['hostname'].lower()}"
    code, output, errors = module.run_command([*_KUBECTL, "get", f"--raw={path}"])
    return health.membership(code=code, output=output, errors=errors)


def _kubelet_flags() -> list[dict[str, str]]:
    """Return the flags of the kubelet that some minor does not know, and the file that each is in."""
    return [
        {"path": path, "flag": flag}
        for path in (state.KUBELET_FLAGS, state.KUBELET_USER_FLAGS)
        for flag in flags(environment=read_text(path) or "")
        if flag in REMOVED_FLAGS["kubelet"]
    ]


def _silent_components(facts: dict[str, Any]) -> list[dict[str, str]]:
    """Ask the programs of a control plane, each at this node itself."""
    if facts["kubernetes"]["state"] != "control_plane":
        return []
    silent = components.silent()
    logs = components.last_words(programs=silent) if silent else {}
    words = {
        name: " ".join(diagnosis.container_errors(log=diagnosis.redacted(text=log))[-1:])
        for name, log in logs.items()
    }
    return [{"name": name, "url": url, "words": words.get(name, "")} for name, url in silent.items()]


def _backup() -> dict[str, Any] | None:
    """Return how the last backup of this cluster went, and whether its file is still there."""
    status = _status(state.BACKUP_STATUS)
    return status and {**status, "missing": not os.path.exists(str(status.get("file", "/")))}


def _status(path: str) -> dict[str, Any] | None:
    return run_status.of_cluster(run_status.parse(read_text(path)), ca_cert_hash=node_files.cluster_ca_hash())


def examine(module: Commands, *, measure_disk: bool, wishes: Wishes = WISHES) -> dict[str, Any]:
    """Read all by which a node is checked, and measure its disk if asked to."""
    facts = read_facts(module)
    show = ["systemctl", "show", *UNITS, f"--property={','.join(health.SYSTEMCTL_PROPERTIES)}"]
    return {
        **facts,
        "model": (read_text("/proc/device-tree/model") or "").rstrip("\0\n") or None,
        "uptime": health.uptime(text=read_text("/proc/uptime") or ""),
        "temperature": health.temperature(text=read_text("/sys/class/thermal/thermal_zone0/temp") or ""),
        "throttled": health.throttled(
            vcgencmd=output_if_installed(module, ["vcgencmd", "get_throttled"]),
            sysfs=read_text(_THROTTLED) or "",
        ),
        "page_size": os.sysconf("SC_PAGE_SIZE"),
        "memory": health.memory(meminfo=read_text("/proc/meminfo") or ""),
        "disks": list(_disks()),
        "nfs": nfs_health.unhealthy(),
        "certificates": list(_certificates()),
        "units": health.units(text=output_if_installed(module, show)),
        "cmdline": _cmdline(facts),
        "reboot": os_update.reboot_reasons(system=apply_os_update.read_system(run=module.run_command)),
        "member": _member(module, facts),
        "silent_components": _silent_components(facts),
        "vip": vip_service.seen(module.run_command),
        "runtime": _runtime(module, facts, wishes=wishes),
        "kubelet_flags": _kubelet_flags(),
        "crictl": shutil.which("crictl") is not None,
        "encryption": apply_encryption.seen(),
        "backup": _backup(),
        "renewal": _status(state.RENEWAL_STATUS),
        "fsync": _fsync() if measure_disk else None,
    }


def journals(module: Commands, *, units: Iterable[str]) -> dict[str, str]:
    """Return the last lines of units' journals."""
    return {
        name: output_if_installed(
            module,
            ["journalctl", "--no-pager", f"--unit={name}", f"--lines={_JOURNAL_LINES}", "--output=short"],
        )
        for name in units
    }
