# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.diagnosis import unit_cause
from ansible_collections.bramble.pi.plugins.module_utils._node import findings, health
from ansible_collections.bramble.pi.plugins.module_utils._node.check_node import check_node
from ansible_collections.bramble.pi.plugins.module_utils._node.check_units import down_units

FIXTURES = Path(__file__).parents[3] / "fixtures"
SAMPLES = FIXTURES / "node_health"
NOW = datetime(2026, 10, 1, 12, 0, 0, tzinfo=timezone.utc)
GIGABYTE = 1024**3
#: What the controller alone can see; see tests/unit/plugins/plugin_utils/_report/test_report.py.
OF_THE_RACK = {"unreachable", "machine_id", "hostname", "vip_holder"}


def units(name: str) -> dict[str, dict[str, str]]:
    return health.units(text=(SAMPLES / f"systemctl-show.{name}").read_text())


def healthy() -> dict[str, Any]:
    return {
        "hostname": "pi-2",
        "kernel": "6.12.47+rpt-rpi-v8",
        "clock": {"synchronized": True, "utc": "2026-10-01T12:00:00Z"},
        "cgroup": {"version": 2, "controllers": ["cpuset", "cpu", "io", "memory", "pids"]},
        "swap": {"active": []},
        "packages": {"kubelet": "1.36.1-1.1", "containerd": "1.7.24", "docker.io": "26.1.5"},
        "kubernetes": {"state": "worker", "server": "https://192.168.1.11:6443"},
        "member": {"state": "ready", "message": "kubelet is posting ready status"},
        "silent_components": [],
        "temperature": 48.3,
        "throttled": 0,
        "page_size": 4096,
        "vxlan": True,
        "cni": [{"file": "10-flannel.conflist", "types": ["flannel", "portmap"]}],
        "memory": {"total": 4 * GIGABYTE, "available": 2 * GIGABYTE},
        "nfs": [],
        "disks": [
            {
                "path": "/",
                "size": 59 * GIGABYTE,
                "available": 40 * GIGABYTE,
                "inodes": 3800000,
                "inodes_available": 3500000,
                "read_only": False,
            }
        ],
        "certificates": [{"path": "/etc/kubernetes/pki/ca.crt", "expires": "2036-10-01T12:00:00Z"}],
        "units": units("healthy"),
        "cmdline": {"path": "/boot/firmware/cmdline.txt", "pending": [], "error": None},
        "reboot": [],
        "runtime": {"name": "containerd", "fault": None, "drift": []},
        "fsync": {"path": "/var/lib/etcd", "writes": 200, "p50_ms": 1.0, "p99_ms": 9.9},
    }


CONTROL_PLANE = {"state": "control_plane", "server": "https://192.168.1.11:6443"}


def changed(**changes: Any) -> dict[str, Any]:
    """Return a healthy node but for some values; disk_* are those of its disk."""
    node = copy.deepcopy(healthy())
    for name, value in changes.items():
        if name.startswith("disk_"):
            node["disks"][0][name.removeprefix("disk_")] = value
        else:
            node[name] = value
    return node


def certificate(path: str, **since_now: int) -> list[dict[str, str]]:
    return [{"path": path, "expires": f"{NOW + timedelta(**since_now):%Y-%m-%dT%H:%M:%SZ}"}]


def found(
    node: dict[str, Any], journals: dict[str, str] | None = None, **expected: Any
) -> list[findings.Finding]:
    return check_node(
        node=node, expected=findings.Expected(**{"host": "pi-2", "now": NOW, **expected}), journals=journals
    )


def test_a_healthy_node() -> None:
    assert found(healthy()) == []


def test_a_node_that_is_no_pi_and_was_not_measured() -> None:
    assert found(changed(temperature=None, throttled=None, vxlan=None, fsync=None, member=None)) == []


CLUSTER_UNITS = {
    "masked": {"kubelet": {"LoadState": "masked", "ActiveState": "inactive", "SubState": "dead"}},
    "stopped": {
        "kubelet": {
            "LoadState": "loaded",
            "ActiveState": "inactive",
            "SubState": "dead",
            "UnitFileState": "enabled",
            "Result": "success",
            "InactiveEnterTimestamp": "Thu 2026-10-01 11:59:00 UTC",
        }
    },
    "crashing": {
        "kubelet": {
            "LoadState": "loaded",
            "ActiveState": "activating",
            "SubState": "auto-restart",
            "UnitFileState": "enabled",
            "Result": "exit-code",
            "ExecMainStatus": "255",
        }
    },
    "gone": {"kubelet": {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"}},
    "disabled": {"kubelet": {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "disabled"}},
}

# What is changed, what is expected, and what is found: check, severity, parts of evidence and remedy.
FOUND = [
    (
        changed(cgroup={"version": 2, "controllers": ["cpu", "io", "pids"]}),
        {},
        ("cgroup", "error"),
        "cpuset and memory missing",
        "--tags os_prep --limit pi-2",
    ),
    (
        changed(cgroup={"version": 1, "controllers": ["cpuset"]}),
        {},
        ("cgroup", "error"),
        "memory missing; there are cpuset (cgroup v1)",
        "os_prep",
    ),
    (changed(swap={"active": ["/var/swap"]}), {}, ("swap", "error"), "/var/swap", "os_prep"),
    (
        changed(swap={"active": ["/dev/zram0"], "switched_on_by": ["a.service", "/etc/rc.local"]}),
        {},
        ("swap", "error"),
        "swap is on: /dev/zram0, switched on by a.service or /etc/rc.local",
        "os_prep",
    ),
    (
        changed(clock={"synchronized": False, "utc": "2026-10-01T12:00:30Z"}),
        {},
        ("clock", "error"),
        "not synchronised; it says 2026-10-01 12:00",
        "timedatectl",
    ),
    (
        changed(clock={"synchronized": True, "utc": "2026-10-01T12:02:00Z"}),
        {},
        ("clock", "error"),
        "120 s ahead of the controller",
        "timedatectl",
    ),
    (
        changed(clock={"synchronized": False, "utc": "2026-10-01T11:00:00Z"}),
        {"time_sync": False},
        ("clock", "error"),
        "3600 s behind",
        "timedatectl",
    ),
    (
        changed(throttled=0x1),
        {},
        ("undervoltage", "error"),
        "is below 4.63 V (get_throttled says 0x1)",
        "power supply",
    ),
    (
        changed(throttled=0x10000),
        {},
        ("undervoltage", "warning"),
        "was once since boot below",
        "power supply",
    ),
    (changed(throttled=0x2), {}, ("throttled", "warning"), "is slowed down", "cool"),
    (changed(throttled=0x4), {}, ("throttled", "warning"), "is slowed down", "cool"),
    (changed(throttled=0x8), {}, ("throttled", "warning"), "is slowed down", "cool"),
    (changed(throttled=0x80000), {}, ("throttled", "info"), "was once since boot", "cool"),
    (changed(temperature=80.0), {}, ("temperature", "warning"), "80.0 degrees", "fan"),
    (changed(page_size=16384), {}, ("page_size", "warning"), "16 KiB", "kernel=kernel8.img"),
    (
        changed(vxlan=False),
        {},
        ("vxlan", "error"),
        "kernel 6.12.47+rpt-rpi-v8",
        "on Ubuntu 21.10 to 23.10: sudo apt-get install linux-modules-extra-raspi",
    ),
    (
        changed(cni=[{"file": "10-calico.conflist", "types": ["calico"]}]),
        {},
        ("cni", "error"),
        "10-calico.conflist in /etc/cni/net.d comes before 10-flannel.conflist",
        "sudo mv /etc/cni/net.d/10-calico.conflist /root/",
    ),
    (
        changed(cni=[{"file": "10-bramble.conflist", "types": ["bridge"]}]),
        {},
        ("cni", "error"),
        "10-bramble.conflist",
        "/etc/cni/net.d/10-bramble.conflist",
    ),
    (
        changed(cni=[{"file": "00-broken.conf", "types": []}, {"file": "05-x.conf", "types": ["x"]}]),
        {"pod_network": "routed"},
        ("cni", "error"),
        "00-broken.conf and 05-x.conf",
        "/etc/cni/net.d/00-broken.conf /etc/cni/net.d/05-x.conf",
    ),
    (
        changed(certificates=certificate("/etc/kubernetes/pki/apiserver.crt", days=29)),
        {},
        ("certificate", "warning"),
        "apiserver.crt expires in 29 days",
        "bramble.pi.certificates",
    ),
    (
        changed(certificates=certificate("/etc/kubernetes/admin.conf", hours=-30)),
        {},
        ("certificate", "error"),
        "admin.conf has expired 1 day ago",
        "bramble.pi.certificates",
    ),
    (
        changed(certificates=certificate("/var/lib/kubelet/pki/kubelet-client-current.pem", days=2)),
        {},
        ("certificate", "warning"),
        "expires in 2 days",
        "restart kubelet",
    ),
    (
        changed(certificates=certificate("/etc/kubernetes/pki/etcd/ca.crt", days=2)),
        {},
        ("certificate", "warning"),
        "etcd/ca.crt",
        "manual-rotation-of-ca",
    ),
    (
        changed(
            certificates=[
                {"path": "/etc/kubernetes/pki/ca.crt", "error": "the certificate ends before its issuer"}
            ]
        ),
        {},
        ("certificate", "warning"),
        "ends before its issuer",
        "CA",
    ),
    (
        changed(disk_available=5 * GIGABYTE),
        {},
        ("disk", "error"),
        "/ has 8 % of its space free (5120 MiB)",
        "du -xhd2 /",
    ),
    (changed(disk_available=8 * GIGABYTE), {}, ("disk", "warning"), "14 %", "vacuum"),
    (changed(disk_inodes_available=100), {}, ("inodes", "error"), "0 % of its inodes free (100)", "--inodes"),
    (changed(disk_inodes_available=300000), {}, ("inodes", "warning"), "8 %", "--inodes"),
    (changed(disk_read_only=True), {}, ("read_only", "error"), "/ is mounted read-only", "dmesg"),
    (
        changed(memory={"total": 4 * GIGABYTE, "available": 90 * findings.MEBIBYTE}),
        {},
        ("memory", "error"),
        "90 MiB",
        "rss",
    ),
    (
        changed(memory={"total": 4 * GIGABYTE, "available": 190 * findings.MEBIBYTE}),
        {},
        ("memory", "warning"),
        "190 MiB",
        "rss",
    ),
    (
        changed(memory={"total": GIGABYTE, "available": GIGABYTE // 2}),
        {"control_plane": True},
        ("memory", "warning"),
        "has 1073 MB",
        "Pi with more",
    ),
    (
        changed(
            cmdline={"path": "/boot/firmware/cmdline.txt", "pending": ["cgroup_memory=1"], "error": None}
        ),
        {},
        ("cmdline", "warning"),
        "lacks cgroup_memory=1",
        "os_prep_kernel_cmdline_path",
    ),
    (
        changed(reboot=["kernel 6.12.47+rpt-rpi-v8 is installed and 6.12.34+rpt-rpi-v8 runs"]),
        {},
        ("reboot", "warning"),
        "kernel 6.12.47+rpt-rpi-v8 is installed",
        "bramble.pi.update --limit pi-2",
    ),
    (
        changed(kubernetes=CONTROL_PLANE, backup={"proved": "2026-09-28T03:00:20Z", "error": None}),
        {},
        ("backup", "warning"),
        "the last proved backup is 3 days old, of 2026-09-28T03:00:20Z",
        "bramble.pi.backup",
    ),
    (
        changed(nfs=[{"what": "192.168.1.9", "seen": "does not answer: timed out"}]),
        {},
        ("nfs", "error"),
        "192.168.1.9 does not answer: timed out",
        "bramble.pi.storage",
    ),
    (
        changed(nfs=[{"what": "/mnt/ssd/cluster", "seen": "is served, and is not there"}]),
        {},
        ("nfs", "error"),
        "/mnt/ssd/cluster is served, and is not there",
        "findmnt for its disk",
    ),
    (
        changed(
            kubernetes=CONTROL_PLANE,
            backup={"proved": "2026-10-01T03:00:20Z"},
            vip={"address": "192.168.1.10", "interface": "eth0", "active": False, "held": False},
        ),
        {},
        ("vip", "error"),
        "bramble-vip.service, for 192.168.1.10, does not run",
        "bramble.pi.site --tags control_plane --limit pi-2",
    ),
    (
        changed(
            kubernetes=CONTROL_PLANE,
            backup={"proved": "2026-10-01T03:00:20Z"},
            renewal={"tried": "2026-10-01T04:00:20Z", "error": "pi-3 has been renewing for more than 300 s"},
        ),
        {},
        ("certificate_renewal", "warning"),
        "the renewal of certificates at 2026-10-01T04:00:20Z failed: pi-3 has been renewing",
        "bramble.pi.certificates",
    ),
    (
        changed(
            kubernetes=CONTROL_PLANE,
            backup={"proved": "2026-10-01T03:00:20Z"},
            encryption={"providers": ["key-2-0011aabb", "key-1-2233ccdd"], "current": True, "error": ""},
        ),
        {},
        ("encryption", "warning"),
        "writes secrets by key-2-0011aabb, and reads by key-1-2233ccdd too",
        "bramble.pi.encryption",
    ),
    (
        changed(
            kubernetes=CONTROL_PLANE,
            backup={"proved": "2026-10-01T03:00:20Z"},
            encryption={"providers": ["key-2-0011aabb"], "current": False, "error": ""},
        ),
        {},
        ("encryption", "warning"),
        "the API server runs by other keys than those that were written for it",
        "bramble.pi.encryption",
    ),
    (
        changed(
            kubernetes=CONTROL_PLANE,
            backup={"proved": "2026-10-01T03:00:20Z"},
            encryption={"providers": ["identity"], "current": True, "error": ""},
        ),
        {"encrypt_secrets": True},
        ("encryption", "warning"),
        "secrets are stored as plain text, and control_plane_encrypt_secrets is true",
        "bramble.pi.encryption",
    ),
    (
        changed(
            kubernetes=CONTROL_PLANE,
            backup={"proved": "2026-10-01T03:00:20Z"},
            encryption={"providers": [], "current": False, "error": "encryption.json is not there"},
        ),
        {},
        ("encryption", "warning"),
        "encryption.json is not there",
        "bramble.pi.encryption",
    ),
    (
        changed(
            kubernetes=CONTROL_PLANE,
            backup={"proved": "2026-10-01T03:00:20Z", "copies": {"pi-2": {"error": "pi-2: no route"}}},
        ),
        {},
        ("backup_copy", "warning"),
        "no copy ever came to pi-2; pi-2: no route",
        "bramble.pi.backup",
    ),
    (
        changed(kubernetes=CONTROL_PLANE, backup=None),
        {},
        ("backup", "info"),
        "there is no backup of the cluster on this node",
        "bramble.pi.backup",
    ),
    (
        changed(fsync={"path": "/var/lib/etcd", "writes": 200, "p50_ms": 4.0, "p99_ms": 10.1}),
        {},
        ("slow_disk", "warning"),
        "99th percentile 10.1 ms",
        "SSD",
    ),
    (
        changed(kubernetes={"state": "absent"}),
        {},
        ("not_in_cluster", "info"),
        "not part",
        "bramble.pi.site --limit pi-2",
    ),
    (
        changed(kubernetes={"state": "partial"}),
        {},
        ("not_in_cluster", "info"),
        "interrupted",
        "bramble.pi.site --limit pi-2",
    ),
    (
        changed(units=CLUSTER_UNITS["masked"]),
        {},
        ("kubelet", "error"),
        "kubelet is masked",
        "systemctl unmask kubelet",
    ),
    (
        changed(units=CLUSTER_UNITS["stopped"]),
        {},
        ("kubelet", "error"),
        "it was stopped at Thu 2026-10-01 11:59:00 UTC",
        "systemctl start kubelet",
    ),
    (
        changed(units=CLUSTER_UNITS["crashing"]),
        {},
        ("kubelet", "error"),
        "activating (auto-restart), exit-code 255",
        "journalctl -u kubelet",
    ),
    (
        changed(units=CLUSTER_UNITS["gone"]),
        {},
        ("kubelet", "error"),
        "not installed",
        "bramble.pi.site --limit pi-2",
    ),
    (
        changed(units=CLUSTER_UNITS["disabled"]),
        {},
        ("kubelet", "warning"),
        "runs, but is disabled",
        "systemctl enable kubelet",
    ),
    (
        changed(units=units("kubelet-masked")),
        {},
        ("kubelet", "warning"),
        "runs, but is masked",
        "systemctl unmask kubelet",
    ),
    (
        changed(units=units("docker-failed")),
        {},
        ("runtime", "error"),
        "docker is failed (failed), exit-code 1",
        "journalctl -u docker",
    ),
    (
        changed(
            runtime={
                "name": "containerd",
                "fault": "its CRI plugin did not load: no such runtime",
                "drift": [],
            }
        ),
        {},
        ("runtime_settings", "error"),
        "containerd: its CRI plugin did not load: no such runtime",
        "--tags docker --limit pi-2",
    ),
    (
        changed(
            runtime={"name": "containerd", "fault": None, "drift": ["SystemdCgroup is false, expected true"]}
        ),
        {},
        ("runtime_settings", "warning"),
        "containerd: SystemdCgroup is false",
        "--tags docker --limit pi-2",
    ),
]

OLD_CONTAINERD = {"name": "containerd", "fault": None, "drift": [], "version": [1, 7, 24]}
FOUND += [
    (
        changed(runtime=OLD_CONTAINERD, packages={"kubelet": "1.36.1-1.1"}),
        {},
        ("runtime_version", "warning"),
        "containerd: containerd 1.7 is tested by its makers with Kubernetes up to 1.35, and this is 1.36.1",
        "docker_containerd_source: docker",
    ),
    (
        changed(runtime=OLD_CONTAINERD, packages={"kubelet": "1.38.0-1.1"}),
        {},
        ("runtime_version", "warning"),
        "Kubernetes 1.38.0 needs containerd 2.0 or newer, and this is 1.7",
        "--tags docker --limit pi-2",
    ),
    (
        changed(
            runtime={**OLD_CONTAINERD, "name": "cri_dockerd", "version": None, "unserved_from": "1.38.0"}
        ),
        {},
        ("runtime_version", "warning"),
        "cri_dockerd: from Kubernetes 1.38.0 on the kubelet will not use it",
        "--tags docker --limit pi-2",
    ),
]

# How the cluster sees the node, and a command line that is none.
FOUND += [
    (
        changed(cmdline={"path": None, "pending": [], "error": "cmdline.txt has 2 lines"}),
        {},
        ("cmdline", "warning"),
        "cmdline.txt has 2 lines",
        "correct the line by hand",
    ),
    (
        changed(
            silent_components=[
                {
                    "name": "kube-controller-manager",
                    "url": "https://127.0.0.1:10257/healthz",
                    "words": "Error: unknown flag: --pod-eviction-timeout",
                }
            ]
        ),
        {},
        ("control_plane_pod", "error"),
        "does not answer at https://127.0.0.1:10257/healthz: Error: unknown flag: --pod-eviction-timeout",
        "control_plane_cluster_configuration",
    ),
    (
        changed(member={"state": "not ready", "message": "Kubelet stopped posting node status."}),
        {},
        ("node_not_ready", "error"),
        "not Ready: Kubelet stopped posting",
        "kubectl describe node pi-2",
    ),
    (
        changed(member={"state": "missing", "message": 'nodes "pi-2" not found'}),
        {},
        ("not_in_cluster", "info"),
        'does not know it: nodes "pi-2" not found',
        "bramble.pi.site --limit pi-2",
    ),
    (
        changed(member={"state": "silent", "message": "dial tcp: connection refused"}),
        {},
        ("api", "error"),
        "https://192.168.1.11:6443: dial tcp: connection refused",
        "control plane",
    ),
]


@pytest.mark.parametrize(("node", "expected", "kind", "evidence", "remedy"), FOUND)
def test_found(
    node: dict[str, Any], expected: dict[str, Any], kind: tuple[str, str], evidence: str, remedy: str
) -> None:
    (finding,) = found(node, **expected)
    assert (finding.check, finding.severity) == kind
    assert evidence in finding.evidence
    assert remedy in finding.remedy
    assert finding.expected
    assert "{" not in finding.remedy


# Just on the right side of each limit, or not expected.
NOT_FOUND = [
    (changed(swap={"active": ["/var/swap"]}), {"swap": "keep"}),
    (changed(clock={"synchronized": False, "utc": "2026-10-01T12:00:00Z"}), {"time_sync": False}),
    (changed(clock={"synchronized": True, "utc": "2026-10-01T12:01:00Z"}), {}),
    (changed(clock={"synchronized": True, "utc": "2026-10-01T19:00:00Z"}), {"now": None}),
    (changed(temperature=79.9), {}),
    (changed(vxlan=False), {"pod_network": "routed"}),
    (changed(cni=[{"file": "10-calico.conflist", "types": ["calico"]}]), {"pod_network": "none"}),
    (changed(cni=[{"file": "87-podman-bridge.conflist", "types": ["bridge"]}]), {}),
    (changed(cni=[{"file": "100-crio-bridge.conf", "types": ["bridge"]}]), {}),
    (changed(cni=[{"file": "10-bramble.conflist", "types": ["bridge"]}]), {"pod_network": "routed"}),
    # They call the pod network's own.
    (changed(cni=[{"file": "00-multus.conf", "types": ["multus-shim"]}]), {}),
    (changed(cni=[{"file": "05-cilium.conflist", "types": ["cilium-cni", "flannel"]}]), {}),
    (changed(certificates=certificate("/etc/kubernetes/pki/apiserver.crt", days=30)), {}),
    (changed(certificates=certificate("/etc/kubernetes/pki/apiserver.crt", days=8)), {"certificate_days": 7}),
    (changed(disk_available=9 * GIGABYTE), {}),
    (changed(disk_inodes=0, disk_inodes_available=0), {}),
    (changed(memory={"total": GIGABYTE, "available": GIGABYTE // 2}), {}),
    (changed(memory={"total": 1700 * 1000 * 1000, "available": GIGABYTE}), {"control_plane": True}),
    (changed(memory={"total": None, "available": None}), {"control_plane": True}),
    (changed(fsync={"path": "/x", "writes": 200, "p50_ms": 4.0, "p99_ms": 10.0}), {}),
    # A runtime that its owner has switched off, and one that is not installed.
    (
        changed(
            units={
                **units("healthy"),
                "docker": {"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"},
            }
        ),
        {},
    ),
    (changed(packages={}, units=units("docker-failed")), {}),
]


@pytest.mark.parametrize(("node", "expected"), NOT_FOUND)
def test_not_found(node: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found(node, **expected) == []


def test_a_kubelet_without_a_cluster_is_not_missed() -> None:
    node = changed(units=CLUSTER_UNITS["crashing"], kubernetes={"state": "absent"})
    assert [finding.check for finding in found(node)] == ["not_in_cluster"]


def test_containerd_is_missed_in_a_cluster_though_disabled() -> None:
    disabled = {
        "LoadState": "loaded",
        "ActiveState": "inactive",
        "SubState": "dead",
        "UnitFileState": "disabled",
    }
    assert down_units(node=changed(units={"containerd": disabled})) == ["containerd"]
    before = changed(units={"containerd": disabled}, kubernetes={"state": "absent"})
    assert down_units(node=before) == []


@pytest.mark.parametrize(
    ("unit", "journal", "evidence", "remedy"),
    [
        (
            "kubelet",
            "kubeadm/journal-cgroup-driver.txt",
            "cgroup driver",
            "the role docker sets systemd for both",
        ),
        ("kubelet", "kubeadm/journal-cgroup-v1.txt", "cgroup v1", "failCgroupV1: false"),
        (
            "kubelet",
            "node_health/journal.kubelet-config",
            "config.yaml, error failed to decode",
            "cannot be read",
        ),
        ("docker", "node_health/journal.docker-config", "invalid character '}'", "correct it"),
        ("containerd", "node_health/journal.containerd-config", "(2, 1): unterminated array", "correct it"),
    ],
)
def test_the_cause_stands_in_the_journal(unit: str, journal: str, evidence: str, remedy: str) -> None:
    down = {unit: {**CLUSTER_UNITS["crashing"]["kubelet"]}}
    (finding,) = found(changed(units=down), {unit: (FIXTURES / journal).read_text()})
    assert evidence in finding.evidence
    assert remedy in finding.remedy
    assert finding.remedy.endswith(f"sudo systemctl restart {unit}")
    # Neither the journal's own prefix nor a goroutine's stack is a cause.
    assert "pi-3" not in finding.evidence
    assert "goroutine" not in finding.evidence


def test_an_unknown_cause_is_told_as_it_is() -> None:
    journal = "Nov 26 10:10:03 pi-3 dockerd[9]: failed to start daemon: cannot do that today\n"
    assert unit_cause(journal=journal) == ("failed to start daemon: cannot do that today", None)
    assert unit_cause(journal="Nov 26 10:10:03 pi-3 dockerd[9]: bye\n") == ("bye", None)
    assert unit_cause(journal="") is None
    assert unit_cause(journal="-- No entries --\nNov 26 10:10:03 pi-3 systemd[1]: Stopped docker.\n") is None


def test_no_secret_of_the_journal_is_told() -> None:
    token, key = "abcdef.0123456789abcdef", "0123456789abcdef" * 4
    journal = (
        f"Nov 26 10:10:03 pi-3 kubelet[9]: F1126 10:10:03.1 9 x.go:1] failed to run Kubelet: {token} {key}\n"
    )
    (finding,) = found(changed(units=CLUSTER_UNITS["crashing"]), {"kubelet": journal})
    assert "failed to run Kubelet" in finding.evidence
    assert token not in str(finding)
    assert key not in str(finding)


def test_the_worst_comes_first() -> None:
    node = changed(
        throttled=0xE0000, page_size=16384, swap={"active": ["/var/swap"]}, kubernetes={"state": "absent"}
    )
    assert [finding.severity for finding in found(node)] == ["error", "warning", "info", "info"]


def test_every_kind_is_found_in_each_of_its_severities() -> None:
    seen = {kind for _node, _expected, kind, _evidence, _remedy in FOUND}
    # The runtime's warning is the kubelet's.
    seen.add(("runtime", "warning"))
    expected = {
        (check, severity)
        for check, kind in findings.KINDS.items()
        for severity in kind.severities
        if check not in OF_THE_RACK
    }
    assert seen == expected


def test_a_finding_cannot_be_worse_than_its_kind() -> None:
    with pytest.raises(ValueError, match="never error"):
        findings.finding("page_size", findings.ERROR, evidence="", expected="")


def documented(kind: findings.Kind, check: str) -> str:
    remedy = kind.remedy
    for name in ("files", "host", "node", "path"):
        remedy = remedy.replace(f"{{{name}}}", name.upper())
    cells = (f"`{check}`", ", ".join(kind.severities), kind.when, remedy.replace("|", "\\|"))
    return f"| {' | '.join(cells)} |"


def test_the_documentation_has_every_finding() -> None:
    """If it fails: put the lines that it shows into docs/doctor.md."""
    text = (Path(__file__).parents[5] / "docs" / "doctor.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("| `") and line.count(" | ") >= 3]
    assert table == [documented(kind, check) for check, kind in findings.KINDS.items()]


MADE = {"tried": "2026-09-30T03:00:00Z", "error": None, "proved": "2026-09-30T03:00:20Z"}


@pytest.mark.parametrize(
    ("backup", "days", "severity", "evidence"),
    [
        (MADE, 2, None, ""),
        (MADE, 1, "warning", "the last proved backup is 1 days old, of 2026-09-30T03:00:20Z"),
        ({**MADE, "file": "/b.age", "missing": False}, 2, None, ""),
        ({**MADE, "file": "/b.age", "missing": True}, 2, "warning", "its file /b.age is not there any more"),
        (None, 2, "info", "there is no backup of the cluster on this node"),
        ({}, 2, "info", "there is no backup of the cluster on this node"),
        (
            {**MADE, "tried": "2026-10-01T03:00:00Z", "error": "the disk is full"},
            2,
            "warning",
            "the run at 2026-10-01T03:00:00Z failed: the disk is full",
        ),
        (
            {"tried": "2026-10-01T03:00:00Z", "error": "the disk is full"},
            2,
            "warning",
            "no backup was ever proved; the run at 2026-10-01T03:00:00Z failed: the disk is full",
        ),
        # Written by half, or by hand.
        ({"proved": "yesterday"}, 2, "info", "there is no backup"),
    ],
)
def test_age_of_the_last_proved_backup(
    backup: dict[str, Any] | None, days: int, severity: str | None, evidence: str
) -> None:
    node = {**healthy(), "backup": backup, "kubernetes": CONTROL_PLANE}
    expected = findings.Expected(now=NOW, backup_days=days)
    found = [each for each in check_node(node=node, expected=expected) if each.check == "backup"]
    assert [each.severity for each in found] == ([severity] if severity else [])
    assert all(evidence in each.evidence for each in found)


COPY = {"copied": "2026-09-30T03:00:25Z", "file": "b.age", "names": ["b.age"], "error": None}


@pytest.mark.parametrize(
    ("copy", "days", "evidence"),
    [
        (COPY, 2, None),
        (COPY, 1, "the last copy came to pi-2 1 days ago, at 2026-09-30T03:00:25Z"),
        ({**COPY, "error": "pi-2 did not take b.age"}, 2, "pi-2 did not take b.age"),
        (
            {**COPY, "copied": None, "error": "pi-2 did not take b.age"},
            2,
            "no copy ever came to pi-2; pi-2 did not take b.age",
        ),
        ({}, 2, "no copy ever came to pi-2"),
    ],
)
def test_age_of_the_last_copy(copy: dict[str, Any], days: int, evidence: str | None) -> None:
    backup = {**MADE, "proved": "2026-10-01T03:00:20Z", "copies": {"pi-2": copy}}
    node = {**healthy(), "backup": backup, "kubernetes": CONTROL_PLANE}
    found = check_node(node=node, expected=findings.Expected(now=NOW, backup_days=days))
    of_backups = [each for each in found if each.check.startswith("backup")]
    expected = [] if evidence is None else [("backup_copy", "warning", evidence)]
    assert [(each.check, each.severity, each.evidence) for each in of_backups] == expected


def test_a_worker_has_no_backup() -> None:
    assert "backup" not in {
        each.check for each in check_node(node=healthy(), expected=findings.Expected(now=NOW))
    }
