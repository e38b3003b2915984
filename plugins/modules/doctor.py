#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.doctor``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: doctor
short_description: Say what is wrong with a node, and what mends it
version_added: '0.1.0'
description:
  - Looks at what makes clusters of Raspberry Pis fail - power, heat, card, memory, clock, kernel, container
    runtime, kubelet, certificates - and names each fault with what was seen, what is wanted, what mends it.
  - Works before and after a node is part of a cluster; of a cluster it asks how it sees the node.
  - Changes nothing. With O(fsync) it writes to a file without a name, which is gone when the module ends,
    however it ends; not in check mode.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  name:
    description: The node's name in the inventory, for the commands that mend something, such as V(pi-2).
    type: str
  swap:
    description: Whether swap is to be V(off), or V(keep) if it is allowed.
    type: str
    choices: ['off', keep]
    default: 'off'
  time_sync:
    description: Whether the clock has to be synchronised.
    type: bool
    default: true
  pod_network:
    description: How pods reach each other, such as V(flannel), which needs vxlan.
    type: str
    default: flannel
  control_plane:
    description: Whether the node is, or is to be, a control plane, which needs more memory.
    type: bool
    default: false
  certificate_days:
    description: How many days before its end a certificate is told of.
    type: int
    default: 30
  controller_time:
    description: The controller's time in seconds since 1970; the node's clock is compared with it.
    type: float
  fsync:
    description:
      - Whether to measure how quickly the disk keeps what is written, beside etcd's data.
      - At most 200 writes of 2300 bytes, as etcd makes them, in at most 5 seconds.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Look for faults
  bramble.pi.doctor:
  register: doctor

- name: Refuse to go on with a weak power supply
  ansible.builtin.assert:
    that: doctor.findings | selectattr('check', 'equalto', 'undervoltage') | length == 0

- name: Measure the card of a control plane
  bramble.pi.doctor:
    control_plane: true
    fsync: true
"""

RETURN = r"""
findings:
  description: What is wrong, the worst first.
  returned: success
  type: list
  elements: dict
  contains:
    check:
      description: The sort of fault; docs/doctor.md lists all.
      type: str
      returned: always
      sample: swap
    severity:
      description: V(error), V(warning) or V(info).
      type: str
      returned: always
      sample: error
    evidence:
      description: The value seen.
      type: str
      returned: always
      sample: 'swap is on: /var/swap'
    wanted:
      description: The value wanted.
      type: str
      returned: always
      sample: no swap (os_prep_swap)
    remedy:
      description: The command or variable that mends it.
      type: str
      returned: always
      sample: ansible-playbook -i INVENTORY bramble.pi.site --tags os_prep --limit pi-2
node:
  description:
    - What was seen - the facts of M(bramble.pi.node_facts) and, beside them, C(model), C(uptime),
      C(temperature), C(throttled), C(page_size), C(vxlan), C(memory), C(disks), C(certificates), C(units),
      C(cmdline), C(member) (how the cluster sees it) and C(fsync).
  returned: success
  type: dict
  sample: {hostname: pi-2, temperature: 48.3, throttled: 0}
"""

import glob
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._boot import cmdline
from ansible_collections.bramble.pi.plugins.module_utils._boot.layout import BootLayoutError, find_cmdline
from ansible_collections.bramble.pi.plugins.module_utils._common.files import NodeFiles, read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import certificates
from ansible_collections.bramble.pi.plugins.module_utils._node import findings as node_findings
from ansible_collections.bramble.pi.plugins.module_utils._node import health
from ansible_collections.bramble.pi.plugins.module_utils._node.reader import output_of, read_facts

_ETCD = "/var/lib/etcd"
# Where space matters, as far as it is there; what shares a file system with one before it is passed over.
_PATHS = (
    "/",
    "/var",
    "/var/log",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/docker",
    _ETCD,
)
_CERTIFICATES = (
    "/etc/kubernetes/pki/*.crt",
    "/etc/kubernetes/pki/etcd/*.crt",
    "/var/lib/kubelet/pki/kubelet-client-current.pem",
)
_KUBECONFIGS = ("admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf")
_THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
_JOURNAL_LINES = 400
# One request, so that kubectl keeps no cache of what the API has; with the kubelet's own rights.
_KUBECTL = ["timeout", "20", "kubectl", "--kubeconfig=/etc/kubernetes/kubelet.conf", "--request-timeout=10s"]
# As etcd's own advice measures it: https://etcd.io/docs/latest/op-guide/hardware/#disks
_BLOCK = b"\0" * 2300
_WRITES = 200
_SECONDS = 5


def _certificates_of(kubeconfig_folder: str = "/etc/kubernetes") -> Iterator[dict[str, str]]:
    texts = [(path, read_text(path)) for pattern in _CERTIFICATES for path in sorted(glob.glob(pattern))]
    for name in _KUBECONFIGS:
        path = f"{kubeconfig_folder}/{name}"
        try:
            texts.append((path, certificates.client_certificate(kubeconfig=read_text(path) or "")))
        except certificates.CertificateError as error:
            yield {"path": path, "error": str(error)}
    for path, text in texts:
        if text is None:
            continue
        try:
            yield {"path": path, "expires": f"{certificates.expires(pem=text):%Y-%m-%dT%H:%M:%SZ}"}
        except certificates.CertificateError as error:
            yield {"path": path, "error": str(error)}


def _disks() -> Iterator[dict[str, Any]]:
    seen = set()
    for path in _PATHS:
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
        # A full or read-only disk is told of as such.
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


def _vxlan(kernel: str) -> bool | None:
    modules = f"/lib/modules/{kernel}"
    return health.has_vxlan(
        in_kernel=os.path.exists("/sys/module/vxlan"),
        modules_dep=read_text(f"{modules}/modules.dep"),
        modules_builtin=read_text(f"{modules}/modules.builtin"),
    )


def _member(module: AnsibleModule, facts: dict[str, Any]) -> dict[str, Any] | None:
    """Ask the cluster how it sees this node."""
    if facts["kubernetes"]["state"] not in node_findings.IN_CLUSTER or not module.get_bin_path("kubectl"):
        return None
    path = f"/api/v1/nodes/{facts['hostname'].lower()}"
    code, output, errors = module.run_command([*_KUBECTL, "get", f"--raw={path}"])
    return health.membership(code=code, output=output, errors=errors)


def _read(module: AnsibleModule) -> dict[str, Any]:
    facts = read_facts(module)
    show = ["systemctl", "show", *node_findings.UNITS, f"--property={','.join(health.SYSTEMCTL_PROPERTIES)}"]
    return {
        **facts,
        "model": (read_text("/proc/device-tree/model") or "").rstrip("\0\n") or None,
        "uptime": health.uptime(text=read_text("/proc/uptime") or ""),
        "temperature": health.temperature(text=read_text("/sys/class/thermal/thermal_zone0/temp") or ""),
        "throttled": health.throttled(
            vcgencmd=output_of(module, ["vcgencmd", "get_throttled"]), sysfs=read_text(_THROTTLED) or ""
        ),
        "page_size": os.sysconf("SC_PAGE_SIZE"),
        "vxlan": _vxlan(facts["kernel"]),
        "memory": health.memory(meminfo=read_text("/proc/meminfo") or ""),
        "disks": list(_disks()),
        "certificates": list(_certificates_of()),
        "units": health.units(text=output_of(module, show)),
        "cmdline": _cmdline(facts),
        "member": _member(module, facts),
        "fsync": _fsync() if module.params["fsync"] and not module.check_mode else None,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str"},
            "swap": {"type": "str", "choices": ["off", "keep"], "default": "off"},
            "time_sync": {"type": "bool", "default": True},
            "pod_network": {"type": "str", "default": "flannel"},
            "control_plane": {"type": "bool", "default": False},
            "certificate_days": {"type": "int", "default": 30},
            "controller_time": {"type": "float"},
            "fsync": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    node = _read(module)
    # The journal is long to search on a card, so only that of what is down is read.
    journals = {
        name: output_of(
            module,
            ["journalctl", "--no-pager", f"--unit={name}", f"--lines={_JOURNAL_LINES}", "--output=short"],
        )
        for name in node_findings.down_units(node=node)
    }
    moment = parameters["controller_time"]
    findings = node_findings.judge(
        node=node,
        wanted=node_findings.Wanted(
            host=parameters["name"] or node["hostname"],
            swap=parameters["swap"],
            time_sync=parameters["time_sync"],
            pod_network=parameters["pod_network"],
            certificate_days=parameters["certificate_days"],
            control_plane=parameters["control_plane"],
            now=None if moment is None else datetime.fromtimestamp(moment, timezone.utc),
        ),
        journals=journals,
    )
    module.exit_json(changed=False, findings=[each._asdict() for each in findings], node=node)


if __name__ == "__main__":
    main()
