# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The findings that there are: what can be wrong with a node, and what fixes it.

``KINDS`` holds them all; docs/doctor.md has them as a table, which a test compares. Whether a node has one is
decided in the files ``check_*``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import NamedTuple

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

_OS_PREP = "ansible-playbook -i INVENTORY bramble.pi.site --tags os_prep --limit {host}"


#: Values of remedies that are the node itself.
_OF_NODE = ("host", "node")


class Kind(NamedTuple):
    """A sort of finding: how bad it can be, when it is told, and how to fix it."""

    severities: tuple[str, ...]
    when: str
    remedy: str


KINDS = {
    "unreachable": Kind(
        (ERROR,),
        "the node cannot be reached or examined",
        "see that it is switched on and at its address: ssh to it by hand, docs/network.md",
    ),
    "kubelet": Kind(
        (ERROR, WARNING),
        "the kubelet of a node of the cluster is down, with the cause; or it does not start at boot",
        "sudo systemctl start kubelet (or unmask, enable), or what the reported cause asks for",
    ),
    "runtime": Kind(
        (ERROR, WARNING),
        "containerd, docker or cri-docker is down, with the cause; or it does not start at boot",
        "sudo systemctl start containerd (or docker; unmask, enable), or what the reported cause asks for",
    ),
    "runtime_settings": Kind(
        (ERROR, WARNING),
        "the runtime runs and does not serve kubelet, as when containerd's CRI plugin did not load (error,"
        " with the cause); or its settings have drifted: cgroup driver, sandbox image, folder of CNI plugins"
        " (warning)",
        "ansible-playbook -i INVENTORY bramble.pi.site --tags docker --limit {host}",
    ),
    "runtime_version": Kind(
        (WARNING,),
        "the makers of the node's containerd have not tested it with the node's Kubernetes, or the kubelet of"
        " a control plane says which Kubernetes will not use its runtime any more"
        " (kubelet_cri_losing_support)",
        "docker_containerd_source: docker, then: ansible-playbook -i INVENTORY bramble.pi.site --tags docker"
        " --limit {host}, which drains nodes in use",
    ),
    "api": Kind(
        (ERROR,),
        "the cluster's API server does not answer to the node, or refuses it",
        "fix the control plane first; if others reach it, the network between (port 6443), or the clock",
    ),
    "control_plane_pod": Kind(
        (ERROR,),
        "etcd, the API server, the controller manager or the scheduler of a control plane does not answer,"
        " with its last words if it has crashed",
        "correct what its last words name, in /etc/kubernetes/manifests and"
        " control_plane_cluster_configuration; all of its log: ls -t /var/log/pods/kube-system_*/*/*.log",
    ),
    "vip": Kind(
        (ERROR,),
        "keepalived, by which a control plane takes part in holding control_plane_vip, does not run",
        "ansible-playbook -i INVENTORY bramble.pi.site --tags control_plane --limit {host}; what it said:"
        " journalctl -u bramble-vip",
    ),
    "vip_holder": Kind(
        (ERROR,),
        "none of the control planes has control_plane_vip, or several have",
        "none: fix what else is reported of the control planes, whose /livez has to answer; several:"
        " the network between them, which has to let IP protocol 112 through",
    ),
    "node_not_ready": Kind(
        (ERROR,),
        "the cluster says that the node is not Ready",
        "fix what else is reported of this node, else: kubectl describe node {node}",
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
    "nfs": Kind(
        (ERROR,),
        "an NFS server that the node has volumes of, or is itself, does not answer; or a folder that it"
        " serves is gone, as without its disk",
        "on the server: systemctl status nfs-server nfs-ganesha, and findmnt for its disk; then:"
        " ansible-playbook -i INVENTORY bramble.pi.storage",
    ),
    "memory": Kind(
        (ERROR, WARNING),
        f"available memory is below {MEMORY_ERROR // MEBIBYTE} MiB (error: the kubelet evicts pods) or"
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
    "reboot": Kind(
        (WARNING,),
        "a newer kernel, firmware or library is installed than the one in use, which takes a reboot",
        "ansible-playbook -i INVENTORY bramble.pi.update --limit {host}",
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
        "timedatectl timesync-status; sudo timedatectl set-ntp true; let UDP port 123 out",
    ),
    "certificate": Kind(
        (ERROR, WARNING),
        "a certificate of Kubernetes has expired (error) or will within doctor_certificate_days, or cannot be"
        " read",
        "ansible-playbook -i INVENTORY bramble.pi.certificates",
    ),
    "certificate_renewal": Kind(
        (WARNING,),
        "the last renewal of a control plane's certificates failed, with the cause",
        "ansible-playbook -i INVENTORY bramble.pi.certificates; what the timer said: journalctl -u"
        " bramble-certificates",
    ),
    "encryption": Kind(
        (WARNING,),
        "a control plane does not encrypt secrets as control_plane_encrypt_secrets asks for, or a change of"
        " their keys has not come to its end",
        "ansible-playbook -i INVENTORY bramble.pi.encryption",
    ),
    "backup": Kind(
        (WARNING, INFO),
        "the last proved backup of a control plane is older than doctor_backup_days, its file is gone, or a"
        " run after it failed, with the cause (warning); or there is none (info)",
        "ansible-playbook -i INVENTORY bramble.pi.backup; what the timer said: journalctl -u bramble-backup",
    ),
    "backup_copy": Kind(
        (WARNING,),
        "the last copy of a backup that came to a node of backup_copy_to did so more than doctor_backup_days"
        " ago, or the last one did not, with the cause",
        "switch that node on, or correct what it says; then: ansible-playbook -i INVENTORY bramble.pi.backup",
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
        "on Ubuntu 21.10 to 23.10: sudo apt-get install linux-modules-extra-raspi && sudo reboot; elsewhere"
        " sudo reboot, if the kernel was upgraded, or another kernel; or pod_network_plugin: routed",
    ),
    "cni": Kind(
        (ERROR,),
        "a file in /etc/cni/net.d comes before the pod network's own by name, so that pods get its network",
        "if nobody needs it: sudo mv {files} /root/, and restart the pods that there are; if it is your pod"
        " network: pod_network_plugin: none",
    ),
    "undervoltage": Kind(
        (ERROR, WARNING),
        "the power supply is too weak, now (error) or once since boot",
        "a better power supply or a shorter cable: 5.1 V at the board, 3 A for a Pi 4, 5 A for a Pi 5",
    ),
    "throttled": Kind(
        (WARNING, INFO),
        "the firmware slows the processor down, now (warning) or once since boot",
        "cool it (heat sink, fan), unless undervoltage is reported as well: then fix that first",
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
    """Something wrong: the value seen, the value expected and how to fix it."""

    check: str
    severity: str
    evidence: str
    expected: str
    remedy: str
    #: What tells it from others of its sort on the same node, such as a path; nothing that varies.
    labels: Mapping[str, str] = {}


class Expected(NamedTuple):
    """What is expected of a node."""

    host: str = "NODE"
    swap: str = "off"
    time_sync: bool = True
    pod_network: str = "flannel"
    certificate_days: int = 30
    backup_days: int = 2
    control_plane: bool = False
    encrypt_secrets: bool = False
    #: The controller's time; None to believe the node's.
    now: datetime | None = None


def finding(
    check: str, severity: str, *, evidence: str, expected: str, remedy: str | None = None, **values: str
) -> Finding:
    """Make a finding of its kind; the values are those of the kind's remedy, unless there is a closer one."""
    kind = KINDS[check]
    if severity not in kind.severities:
        raise ValueError(f"{check} is never {severity}")
    labels = {name: value for name, value in values.items() if name not in _OF_NODE}
    return Finding(check, severity, evidence, expected, remedy or kind.remedy.format(**values), labels)


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with the worst first, and else in the order of ``KINDS``."""
    kinds = list(KINDS)
    return sorted(findings, key=lambda each: (SEVERITIES.index(each.severity), kinds.index(each.check)))


def parse_time(text: str) -> datetime:
    """Return the moment that a text such as 2026-10-01T12:00:00Z names."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
