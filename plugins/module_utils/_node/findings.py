# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a node and what mends it, judged by what was read there.

``KINDS`` holds every finding that there is; docs/doctor.md has them as a table, which a test compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import diagnosis
from ansible_collections.bramble.pi.plugins.module_utils._node.health import is_active

ERROR, WARNING, INFO = SEVERITIES = ("error", "warning", "info")

MEBIBYTE = 1024 * 1024

#: The kubelet evicts pods below 10 % free space and 5 % free inodes, and removes images below 15 %.
DISK_ERROR, DISK_WARNING = 10, 15
INODES_ERROR, INODES_WARNING = 5, 10
#: The kubelet evicts pods below this; kubeadm wants that of a control plane.
MEMORY_ERROR = 100 * MEBIBYTE
MEMORY_WARNING = 200 * MEBIBYTE
CONTROL_PLANE_MEMORY = 1700 * 1000 * 1000
#: Certificates and the leases of nodes do not bear more.
CLOCK_SECONDS = 60
#: A Pi slows down from 80 degrees on.
HOT = 80
#: https://etcd.io/docs/latest/faq/#what-does-the-etcd-warning-failed-to-send-out-heartbeat-on-time-mean
SLOW_DISK_MS = 10
PAGE_SIZE = 4096

CONTROLLERS = ("cpuset", "memory")
RUNTIME_UNITS = {"containerd": "containerd", "containerd.io": "containerd", "docker.io": "docker"}
RUNTIME_UNITS.update({"docker-ce": "docker", "cri-dockerd": "cri-docker"})
UNITS = ("kubelet", *dict.fromkeys(RUNTIME_UNITS.values()))
IN_CLUSTER = ("worker", "control_plane")

_OS_PREP = "ansible-playbook -i INVENTORY bramble.pi.site --tags os_prep --limit {host}"


class Kind(NamedTuple):
    """A sort of finding: how bad it can be, when it is told, and what mends it."""

    severities: tuple[str, ...]
    when: str
    mend: str


KINDS = {
    "unreachable": Kind(
        (ERROR,),
        "the node cannot be reached or examined",
        "see that it is switched on and at its address: ssh to it by hand, docs/network.md",
    ),
    "kubelet": Kind(
        (ERROR, WARNING),
        "the kubelet of a node of the cluster is down, with the cause; or it does not start at boot",
        "sudo systemctl start kubelet (or unmask, enable), or what the cause told asks for",
    ),
    "runtime": Kind(
        (ERROR, WARNING),
        "containerd, docker or cri-docker is down, with the cause; or it does not start at boot",
        "sudo systemctl start containerd (or docker; unmask, enable), or what the cause told asks for",
    ),
    "api": Kind(
        (ERROR,),
        "the cluster's API server does not answer to the node, or refuses it",
        "mend the control plane first; if others reach it, the network between (port 6443), or the clock",
    ),
    "node_not_ready": Kind(
        (ERROR,),
        "the cluster says that the node is not Ready",
        "mend what else is told of this node, else: kubectl describe node {node}",
    ),
    "not_in_cluster": Kind(
        (INFO,),
        "the node is not part of a cluster (yet)",
        "ansible-playbook -i INVENTORY bramble.pi.site --limit {host}",
    ),
    "read_only": Kind(
        (ERROR,),
        "the file system of / or of data is mounted read-only, as after errors of a card",
        "dmesg | grep -i -E 'mmc|ext4|i/o error' says why; sudo reboot checks it; if it comes again:"
        " a new card",
    ),
    "disk": Kind(
        (ERROR, WARNING),
        f"free space is below {DISK_ERROR} % (error: the kubelet evicts pods) or {DISK_WARNING} %",
        "sudo du -xhd2 {path} | sort -h | tail; then for example: sudo apt-get clean;"
        " sudo journalctl --vacuum-size=100M",
    ),
    "inodes": Kind(
        (ERROR, WARNING),
        f"free inodes are below {INODES_ERROR} % (error: the kubelet evicts pods) or {INODES_WARNING} %",
        "sudo du -x --inodes -d2 {path} | sort -n | tail shows where the many files are",
    ),
    "memory": Kind(
        (ERROR, WARNING),
        f"memory that can be had is below {MEMORY_ERROR // MEBIBYTE} MiB (error: the kubelet evicts pods) or"
        f" {MEMORY_WARNING // MEBIBYTE} MiB; or a control plane has less than 1700 MB",
        "ps -eo rss,comm --sort=-rss | head shows what takes it; limit or move pods, or take a Pi with more",
    ),
    "cgroup": Kind(
        (ERROR,),
        "the cgroup controller cpuset or memory cannot be used",
        _OS_PREP,
    ),
    "cmdline": Kind(
        (WARNING,),
        "the kernel was not started with what cmdline.txt says, or that cannot be read",
        "sudo reboot; if it stays, that is not the file that counts: set os_prep_kernel_cmdline_path",
    ),
    "swap": Kind(
        (ERROR,),
        "swap is on, unless os_prep_swap is keep",
        _OS_PREP,
    ),
    "clock": Kind(
        (ERROR,),
        "the clock is not synchronised, unless os_prep_time_sync is false; or more than"
        f" {CLOCK_SECONDS} s off the controller's",
        "timedatectl timesync-status; sudo timedatectl set-ntp true; a way out for UDP port 123",
    ),
    "certificate": Kind(
        (ERROR, WARNING),
        "a certificate of Kubernetes has expired (error) or will within doctor_certificate_days, or cannot be"
        " read",
        "sudo kubeadm certs renew all, then restart the control plane's pods; for the kubelet's own:"
        " sudo systemctl restart kubelet",
    ),
    "machine_id": Kind(
        (ERROR,),
        "two nodes have the same machine-id, as after cloning a card",
        "on all of them but one: sudo rm -f /etc/machine-id /var/lib/dbus/machine-id"
        " && sudo systemd-machine-id-setup && sudo reboot",
    ),
    "hostname": Kind(
        (ERROR,),
        "two nodes have the same host name",
        "set os_prep_hostname to a name of its own for each, then:"
        " ansible-playbook -i INVENTORY bramble.pi.site --tags os_prep",
    ),
    "vxlan": Kind(
        (ERROR,),
        "pod_network_plugin is flannel and the kernel has no vxlan",
        "on Ubuntu: sudo apt-get install linux-modules-extra-raspi && sudo reboot; or pod_network_plugin:"
        " routed",
    ),
    "undervoltage": Kind(
        (ERROR, WARNING),
        "the power supply is too weak, now (error) or once since boot",
        "a better power supply or a shorter cable: 5.1 V at the board, 3 A for a Pi 4, 5 A for a Pi 5",
    ),
    "throttled": Kind(
        (WARNING, INFO),
        "the firmware slows the processor down, now (warning) or once since boot",
        "cool it (heat sink, fan), unless undervoltage is told as well: then mend that first",
    ),
    "temperature": Kind(
        (WARNING,),
        f"the processor has {HOT} degrees or more, where a Pi slows down",
        "cool it: heat sink, fan, more room between the boards",
    ),
    "page_size": Kind(
        (WARNING,),
        "memory pages are larger than 4 KiB, as on a Pi 5 by default: images with jemalloc crash",
        "kernel=kernel8.img in config.txt (flash_config_txt for new cards), then sudo reboot",
    ),
    "slow_disk": Kind(
        (WARNING,),
        f"synchronous writes beside etcd's data take more than {SLOW_DISK_MS} ms at the 99th percentile",
        "a quicker card (A2) or an SSD for /var/lib/etcd; expect new elections and a slow API until then",
    ),
}


class Finding(NamedTuple):
    """Something wrong: the value seen, the value wanted, and what mends it."""

    check: str
    severity: str
    evidence: str
    wanted: str
    remedy: str


class Wanted(NamedTuple):
    """What a node is judged by."""

    host: str = "NODE"
    swap: str = "off"
    time_sync: bool = True
    pod_network: str = "flannel"
    certificate_days: int = 30
    control_plane: bool = False
    #: The controller's time; None to believe the node's.
    now: datetime | None = None


def finding(
    check: str, severity: str, *, evidence: str, wanted: str, remedy: str | None = None, **values: str
) -> Finding:
    """Make a finding of its kind; the values are those of the kind's remedy, unless there is a closer one."""
    kind = KINDS[check]
    if severity not in kind.severities:
        raise ValueError(f"{check} is never {severity}")
    return Finding(check, severity, evidence, wanted, remedy or kind.mend.format(**values))


# Units


def down_units(*, node: Mapping[str, Any]) -> list[str]:
    """Return the units that should run and do not."""
    packages, state = node["packages"], node["kubernetes"]["state"]
    expected = dict.fromkeys(unit for package, unit in RUNTIME_UNITS.items() if package in packages)
    # What its owner has switched off is not missed, unless nothing works without it.
    names = [
        name
        for name in expected
        if node["units"].get(name, {}).get("UnitFileState") != "disabled"
        or (name == "containerd" and state in IN_CLUSTER)
    ]
    if state in IN_CLUSTER:
        names.append("kubelet")
    return [name for name in names if name in node["units"] and not is_active(node["units"][name])]


def _unit_state(unit: Mapping[str, str]) -> str:
    if unit.get("LoadState") == "masked":
        return "is masked"
    if unit.get("LoadState") == "not-found":
        return "is not installed as a service"
    state = f"is {unit.get('ActiveState', 'unknown')} ({unit.get('SubState', 'unknown')})"
    if unit.get("Result", "success") != "success":
        return f"{state}, {unit['Result']} {unit.get('ExecMainStatus', '')}".rstrip()
    if unit.get("ActiveState") == "inactive":
        since = unit.get("InactiveEnterTimestamp")
        return f"{state}: it was {f'stopped at {since}' if since else 'never started'}"
    return (
        state if unit.get("ExecMainStatus", "0") == "0" else f"{state}, exit status {unit['ExecMainStatus']}"
    )


def _judge_unit(name: str, *, unit: dict[str, str], down: bool, journal: str, host: str) -> Iterator[Finding]:
    check = "kubelet" if name == "kubelet" else "runtime"
    if not down:
        if is_active(unit) and unit.get("UnitFileState") in ("disabled", "masked"):
            yield finding(
                check,
                WARNING,
                evidence=f"{name} runs, but is {unit['UnitFileState']}",
                wanted="enabled, so that it starts at boot",
                remedy=f"sudo systemctl unmask {name} && sudo systemctl enable {name}",
            )
        return
    evidence = f"{name} {_unit_state(unit)}"
    mend = f"sudo systemctl start {name}; then: sudo journalctl -u {name} -n 50"
    if unit.get("LoadState") == "masked":
        mend = f"sudo systemctl unmask {name} && sudo systemctl enable --now {name}"
    elif unit.get("LoadState") == "not-found":
        mend = f"ansible-playbook -i INVENTORY bramble.pi.site --limit {host}"
    elif unit.get("ActiveState") != "inactive" or unit.get("Result", "success") != "success":
        cause = diagnosis.unit_cause(journal=journal)
        if cause:
            line, meaning = cause
            evidence = f"{evidence}: {line}"
            mend = f"{meaning}; then: sudo systemctl restart {name}" if meaning else mend
    yield finding(check, ERROR, evidence=evidence, wanted="active (running)", remedy=mend)


# Files and devices


def _judge_disks(disks: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for disk in disks:
        path = disk["path"]
        if disk["read_only"]:
            yield finding(
                "read_only", ERROR, evidence=f"{path} is mounted read-only", wanted="read and write"
            )
        for check, size, free, error, warning, unit in (
            ("disk", disk["size"], disk["available"], DISK_ERROR, DISK_WARNING, "space"),
            ("inodes", disk["inodes"], disk["inodes_available"], INODES_ERROR, INODES_WARNING, "inodes"),
        ):
            # Some file systems, such as btrfs, count no inodes.
            percent = 100 * free / size if size else 100
            if percent < warning:
                amount = f"{free // MEBIBYTE} MiB" if check == "disk" else str(free)
                yield finding(
                    check,
                    ERROR if percent < error else WARNING,
                    evidence=f"{path} has {percent:.0f} % of its {unit} free ({amount})",
                    wanted=f"{warning} % or more",
                    path=path,
                )


def _judge_memory(memory: Mapping[str, int | None], *, control_plane: bool) -> Iterator[Finding]:
    available, total = memory["available"], memory["total"]
    if available is not None and available < MEMORY_WARNING:
        yield finding(
            "memory",
            ERROR if available < MEMORY_ERROR else WARNING,
            evidence=f"{available // MEBIBYTE} MiB can still be had",
            wanted=f"{MEMORY_WARNING // MEBIBYTE} MiB or more",
        )
    if control_plane and total is not None and total < CONTROL_PLANE_MEMORY:
        yield finding(
            "memory",
            WARNING,
            evidence=f"the control plane has {total // 1000000} MB of memory",
            wanted="1700 MB, as kubeadm asks for",
        )


def _certificate_mend(path: str) -> str:
    name = path.rpartition("/")[2]
    if name == "kubelet-client-current.pem":
        return (
            "the kubelet renews it: sudo systemctl restart kubelet; if it has expired, take the node"
            " out with bramble.pi.reset --limit and bring it in again with bramble.pi.site"
        )
    if name.endswith("ca.crt"):
        return "kubeadm does not renew CAs: https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/"
    return (
        "sudo kubeadm certs renew all; then restart etcd and the control plane's pods, whose manifests lie in"
        " /etc/kubernetes/manifests (move them out for 20 s), and run bramble.pi.site for the kubeconfigs"
    )


def _judge_certificates(
    certificates: Sequence[Mapping[str, Any]], *, now: datetime, days: int
) -> Iterator[Finding]:
    for certificate in certificates:
        path = certificate["path"]
        if certificate.get("error"):
            yield finding(
                "certificate",
                WARNING,
                evidence=f"{path}: {certificate['error']}",
                wanted="a certificate in PEM form",
                remedy=_certificate_mend(path),
            )
            continue
        left = parse_time(certificate["expires"]) - now
        if left < timedelta(days=days):
            expired = left < timedelta(0)
            number = abs(left) // timedelta(days=1)
            span = f"{number} day{'' if number == 1 else 's'}"
            evidence = f"{path} has expired {span} ago" if expired else f"{path} expires in {span}"
            yield finding(
                "certificate",
                ERROR if expired else WARNING,
                evidence=f"{evidence}, at {certificate['expires']}",
                wanted=f"{days} days or more",
                remedy=_certificate_mend(path),
            )


def _judge_power(bits: int | None, degrees: float | None) -> Iterator[Finding]:
    if bits is not None:
        seen = f"get_throttled says {bits:#x}"
        if bits & 0x10001:
            now = bool(bits & 0x1)
            yield finding(
                "undervoltage",
                ERROR if now else WARNING,
                evidence=f"the voltage {'is' if now else 'was once since boot'} below 4.63 V ({seen})",
                wanted="throttled=0x0",
            )
        if bits & 0xE000E:
            now = bool(bits & 0xE)
            yield finding(
                "throttled",
                WARNING if now else INFO,
                evidence=f"the processor {'is' if now else 'was once since boot'} slowed down ({seen})",
                wanted="throttled=0x0",
            )
    if degrees is not None and degrees >= HOT:
        yield finding("temperature", WARNING, evidence=f"{degrees} degrees", wanted=f"below {HOT} degrees")


def _judge_clock(node: Mapping[str, Any], wanted: Wanted) -> Iterator[Finding]:
    utc = parse_time(node["clock"]["utc"])
    if wanted.time_sync and not node["clock"]["synchronized"]:
        yield finding(
            "clock",
            ERROR,
            evidence=f"not synchronised; it says {utc:%Y-%m-%d %H:%M} UTC",
            wanted="synchronised",
        )
    off = (utc - wanted.now).total_seconds() if wanted.now else 0
    if abs(off) > CLOCK_SECONDS:
        yield finding(
            "clock",
            ERROR,
            evidence=f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the controller's clock",
            wanted=f"within {CLOCK_SECONDS} s",
        )


def _judge_system(node: Mapping[str, Any], wanted: Wanted) -> Iterator[Finding]:
    missing = [name for name in CONTROLLERS if name not in node["cgroup"]["controllers"]]
    if missing:
        yield finding(
            "cgroup",
            ERROR,
            evidence=f"{' and '.join(missing)} missing; there are"
            f" {' '.join(node['cgroup']['controllers']) or 'none'} (cgroup v{node['cgroup']['version']})",
            wanted=" and ".join(CONTROLLERS),
            host=wanted.host,
        )
    if node["cmdline"]["error"]:
        yield finding(
            "cmdline",
            WARNING,
            evidence=node["cmdline"]["error"],
            wanted="one line that can be read",
            remedy="put the one line right by hand, or set os_prep_kernel_cmdline_path to another file",
        )
    if node["cmdline"]["pending"]:
        yield finding(
            "cmdline",
            WARNING,
            evidence=f"/proc/cmdline lacks {' '.join(node['cmdline']['pending'])}",
            wanted=f"all that {node['cmdline']['path']} says",
        )
    if wanted.swap == "off" and node["swap"]["active"]:
        yield finding(
            "swap",
            ERROR,
            evidence=f"swap is on: {', '.join(node['swap']['active'])}",
            wanted="no swap (os_prep_swap)",
            host=wanted.host,
        )
    if wanted.pod_network == "flannel" and node["vxlan"] is False:
        yield finding(
            "vxlan",
            ERROR,
            evidence=f"kernel {node['kernel']} has no module vxlan",
            wanted="vxlan, for flannel",
        )
    if node["page_size"] > PAGE_SIZE:
        yield finding(
            "page_size",
            WARNING,
            evidence=f"{node['page_size'] // 1024} KiB pages",
            wanted=f"{PAGE_SIZE // 1024} KiB",
        )


def parse_time(text: str) -> datetime:
    """Return the moment that a text such as 2026-10-01T12:00:00Z names."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def _judge_member(node: Mapping[str, Any], wanted: Wanted) -> Iterator[Finding]:
    state, member = node["kubernetes"]["state"], node["member"]
    if state not in IN_CLUSTER:
        seen = "kubeadm was cut short here" if state == "partial" else "not part of a cluster"
        yield finding("not_in_cluster", INFO, evidence=seen, wanted="part of it", host=wanted.host)
    elif member and member["state"] == "missing":
        seen = f"the cluster does not know it: {member['message']}"
        yield finding("not_in_cluster", INFO, evidence=seen, wanted="part of it", host=wanted.host)
    elif member and member["state"] == "silent":
        evidence = f"{node['kubernetes']['server']}: {member['message']}"
        yield finding("api", ERROR, evidence=evidence, wanted="an answer")
    elif member and member["state"] == "not ready":
        evidence = f"not Ready: {member['message']}"
        yield finding(
            "node_not_ready", ERROR, evidence=evidence, wanted="Ready", node=node["hostname"].lower()
        )


def judge(
    *, node: Mapping[str, Any], wanted: Wanted, journals: Mapping[str, str] | None = None
) -> list[Finding]:
    """List what is wrong with a node, the worst first. ``journals`` are those of the units that are down."""
    findings = list(_judge_member(node, wanted))
    down = down_units(node=node)
    for name, unit in node["units"].items():
        journal = (journals or {}).get(name, "")
        findings += _judge_unit(name, unit=unit, down=name in down, journal=journal, host=wanted.host)
    findings += _judge_disks(node["disks"])
    findings += _judge_memory(
        node["memory"], control_plane=wanted.control_plane or node["kubernetes"]["state"] == "control_plane"
    )
    findings += _judge_system(node, wanted)
    findings += _judge_clock(node, wanted)
    findings += _judge_certificates(
        node["certificates"],
        now=wanted.now or parse_time(node["clock"]["utc"]),
        days=wanted.certificate_days,
    )
    findings += _judge_power(node["throttled"], node["temperature"])
    slow = node["fsync"]
    if slow and slow["p99_ms"] > SLOW_DISK_MS:
        findings.append(
            finding(
                "slow_disk",
                WARNING,
                evidence=f"{slow['writes']} synchronous writes in {slow['path']}: median {slow['p50_ms']} ms,"
                f" 99th percentile {slow['p99_ms']} ms",
                wanted=f"{SLOW_DISK_MS} ms or less",
            )
        )
    return ranked(findings)


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with the worst first, and else in the order of ``KINDS``."""
    kinds = list(KINDS)
    return sorted(findings, key=lambda each: (SEVERITIES.index(each.severity), kinds.index(each.check)))
