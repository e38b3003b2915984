# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the nodes would stop an upgrade: what doctor finds, skew, runtimes, control groups, room."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._containers import containerd, docker
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    CGROUP_V1_REFUSED_FROM,
    CRICTL_NOT_NEEDED_FROM,
    KUBEADM_TAKES_OUT,
    RUNTIMES,
    CompatibilityError,
    Minor,
    Version,
    cgroup_v1_refused,
    containerd_problem,
    kubernetes_runtime,
    removed_flag,
    skew_problem,
)
from ansible_collections.bramble.pi.plugins.module_utils._node.check_pod_network import other_pod_network
from ansible_collections.bramble.pi.plugins.module_utils._node.findings import (
    DISK_ERROR,
    ERROR,
    MEBIBYTE,
    parse_time,
)
from ansible_collections.bramble.pi.plugins.module_utils._upgrade.plan import Node
from ansible_collections.bramble.pi.plugins.plugin_utils._upgrade.verdict import Problem

#: What a step brings, in MiB: images of a control plane (etcd and CoreDNS too) or a worker, and packages.
_CONTROL_PLANE_IMAGES, _WORKER_IMAGES, _PACKAGES = 700, 250, 150
#: An upgrade renews what kubeadm signs, but the cluster has to live until then.
_CERTIFICATES = timedelta(days=1)
#: What a run that was killed leaves so on the node that it worked on, and what the next one puts right.
_IN_BETWEEN = frozenset(
    ("kubelet", "runtime", "runtime_settings", "api", "node_not_ready", "control_plane_pod")
)
_DATA = {
    "containerd": containerd.DAEMON.data,
    "cri_dockerd": docker.DAEMON.data,
    "dockershim": docker.DAEMON.data,
}


#: How the runtime of a node is changed where it is, by Kubernetes' own documentation.
_CHANGE_RUNTIME = (
    "https://kubernetes.io/docs/tasks/administer-cluster/migrating-from-dockershim/change-runtime-containerd/"
)


def _earlier(version: Version) -> str:
    return f"{version.major}.{version.minor - 1}"


def findings(host: str, seen: Sequence[Mapping[str, str]], *, in_between: bool) -> Iterator[Problem]:
    """Pass on what doctor finds: its errors stop an upgrade, and certificates are told of in time."""
    for each in seen:
        text = f"{host}: {each['evidence']}; expected {each['expected']}: {each['remedy']}"
        if each["severity"] == ERROR:
            yield Problem(text, stops=not (in_between and each["check"] in _IN_BETWEEN))
        elif each["check"] == "certificate":
            yield Problem(f"{text}. An upgrade renews those that kubeadm has signed", stops=False)


def certificates(host: str, node: Mapping[str, Any]) -> Iterator[Problem]:
    """Say which certificates end while the upgrade may still go on."""
    now = parse_time(node["clock"]["utc"])
    for each in node["certificates"]:
        left = parse_time(each["expires"]) - now if each.get("expires") else _CERTIFICATES
        if timedelta(0) <= left < _CERTIFICATES:
            yield Problem(
                f"{host}: {each['path']} expires at {each['expires']}; expected a day or more: "
                "ansible-playbook -i INVENTORY bramble.pi.certificates"
            )


def skew(nodes: Sequence[Node], *, versions: Sequence[Version], moved: Sequence[str]) -> Iterator[Problem]:
    """Say which kubelets do not go with the API servers; those that are not moved, with the last ones."""
    servers = [node.programs["kube-apiserver"] for node in nodes if "kube-apiserver" in node.programs]
    for node in nodes:
        kubelet = node.programs["kubelet"]
        newest = max(servers, default=kubelet)
        again = (
            f"take it out with bramble.pi.reset --limit {node.name}, and in again with bramble.pi.site and "
            f'kube_packages_version "{newest}"'
        )
        if node.control_plane and len(servers) == 1:
            # With its only control plane the cluster would go.
            again = (
                "run on it sudo apt-get install --allow-downgrades --allow-change-held-packages "
                f"'kubelet={newest}*'"
            )
        if kubelet.short > newest.short:
            yield Problem(
                f"the kubelet of {node.name} is {kubelet}, and the newest API server {newest}; expected no "
                f"newer kubelet: {again}"
            )
            continue
        # Between control planes of a run that was killed a kubelet may be newer than the oldest of them.
        reached = [newest] if node.name in moved else [newest, *versions]
        told = next(
            (
                problem
                for server in reached
                if (problem := skew_problem(version=kubelet, control_planes=[server], worker=True))
            ),
            None,
        )
        if told and node.name in moved:
            yield Problem(f"{node.name}: {told}; expected it within that: {again}")
        elif told:
            yield Problem(
                f"{node.name}: {told}, and {node.name} is no host of this inventory; expected a node that is "
                "upgraded with the others: add it to the group workers, or take it out of the cluster"
            )


def pod_network(host: str, node: Mapping[str, Any], *, plugin: str) -> Iterator[Problem]:
    """Say beside which pod network the inventory's would be a second one."""
    second = other_pod_network(node, pod_network=plugin)
    if second:
        yield Problem(f"{host}: {second}")


def runtime(
    host: str, node: Mapping[str, Any], *, versions: Sequence[Version], only_control_plane: bool
) -> Iterator[Problem]:
    """Say from which version on the container runtime does not serve kubelet any more."""
    name = (node.get("runtime") or {}).get("name")
    if name is None:
        return
    for version in versions:
        try:
            kubernetes_runtime(version=version, runtime=name)
        except CompatibilityError:
            # With its only control plane the cluster would go.
            change = (
                f"change it where it is, as {_CHANGE_RUNTIME} says; no bramble.pi.reset, as this is the only "
                "control plane"
                if only_control_plane
                else f"take the node out with bramble.pi.reset --limit {host}, and in again with "
                "bramble.pi.site"
            )
            yield Problem(
                f"{host}: kubelet uses {name}, which Kubernetes {version} does not have; expected "
                f"containerd: upgrade to {_earlier(version)} first, then set docker_kubernetes_runtime to "
                f"containerd, and {change}"
            )
            return
        found = _containerd((node.get("member") or {}).get("runtime") or "")
        problem = (
            containerd_problem(version=version, containerd=found) if found and name == "containerd" else None
        )
        if problem:
            yield Problem(
                f"{host}: {problem}; expected a containerd that serves each minor on the way: give the node "
                f"a newer one before (docs/cluster.md), or upgrade to {_earlier(version)} at most, with -e "
                f"kube_packages_version={_earlier(version)}"
            )
            return


def _containerd(text: str) -> Minor | None:
    found = re.match(r"containerd://v?([0-9]+)\.([0-9]+)", text)
    return (int(found[1]), int(found[2])) if found else None


def crictl(host: str, node: Mapping[str, Any], *, versions: Sequence[Version]) -> Iterator[Problem]:
    """Say if a control plane lacks what a kubeadm on the way asks its runtime by."""
    name = (node.get("runtime") or {}).get("name")
    needs = next((version for version in versions if version.short < CRICTL_NOT_NEEDED_FROM), None)
    if name not in (None, "dockershim") and needs and not node["crictl"]:
        yield Problem(
            f"{host}: there is no crictl, without which kubeadm {needs} does not upgrade a control plane on "
            f"{name}; expected one in its PATH: sudo apt-get install cri-tools, which is in Kubernetes' own "
            "repository (kube_packages_repository)"
        )


def kubelet_flags(
    host: str, node: Mapping[str, Any], *, kubelet: Version, versions: Sequence[Version]
) -> Iterator[Problem]:
    """Say which flags keep the kubelet of a minor on the way from starting, and that nobody takes out."""
    dockershim = (node.get("runtime") or {}).get("name") == "dockershim"
    for each in node["kubelet_flags"]:
        path, flag = each["path"], each["flag"]
        told = (removed_flag(program="kubelet", flag=flag, version=version) for version in versions)
        reason = next((one for one in told if one), None)
        kubeadms = path == state.KUBELET_FLAGS
        taken_out = kubeadms and KUBEADM_TAKES_OUT.get(flag) in {version.short for version in versions}
        # kubeadm's own flags for it go with dockershim, of which is told.
        if reason is None or taken_out or (kubeadms and dockershim):
            continue
        last = RUNTIMES["dockershim"][1]
        if flag == "container-runtime" and last and kubelet.short <= last:
            # Up to there a kubelet without it would use dockershim.
            yield Problem(
                f"{host}: {reason} from {path} once the kubelet is newer than {last[0]}.{last[1]}: upgrade "
                "to 1.26 at most first, with -e kube_packages_version=1.26"
            )
        else:
            yield Problem(f"{host}: {reason} from {path} on it, and sudo systemctl restart kubelet")


def control_groups(
    host: str, node: Mapping[str, Any], *, versions: Sequence[Version], kubelet: Mapping[str, Any]
) -> Iterator[Problem]:
    """Say from which version on kubelet does not start on cgroup v1."""
    refused = next((version for version in versions if cgroup_v1_refused(version)), None)
    if node["cgroup"]["version"] == 1 and refused and kubelet.get("failCgroupV1") is not False:
        older = f"{CGROUP_V1_REFUSED_FROM[0]}.{CGROUP_V1_REFUSED_FROM[1] - 1}"
        yield Problem(
            f"{host}: the control groups are cgroup v1, with which the kubelet of Kubernetes {refused} does "
            "not start; expected cgroup v2: remove systemd.unified_cgroup_hierarchy=0 from the kernel "
            f"command line and reboot, or upgrade the operating system, or upgrade to {older} at most, with "
            f"-e kube_packages_version={older}"
        )


def room(host: str, node: Mapping[str, Any], *, control_plane: bool, steps: int) -> Iterator[Problem]:
    """Say where images and packages do not fit: kubelet evicts pods where less than a tenth is free."""
    name = (node.get("runtime") or {}).get("name")
    images = _CONTROL_PLANE_IMAGES if control_plane else _WORKER_IMAGES
    needs: dict[str, int] = {}
    for folder, mebibytes in ((_DATA.get(name or "") or "/var", images), ("/var", _PACKAGES)):
        disk = _disk_of(folder, node["disks"])
        needs[disk] = needs.get(disk, 0) + mebibytes * steps
    for disk in node["disks"]:
        needed = needs.get(disk["path"], 0) * MEBIBYTE
        kept = disk["size"] * DISK_ERROR // 100
        if needed and disk["available"] - needed < kept:
            yield Problem(
                f"{host}: {disk['path']} has {disk['available'] // MEBIBYTE} MiB free; expected "
                f"{(needed + kept) // MEBIBYTE} MiB, as images and packages of {steps} versions take about "
                f"{needed // MEBIBYTE} MiB, and kubelet evicts pods where less than {DISK_ERROR} % are free: "
                "sudo apt-get clean; sudo journalctl --vacuum-size=100M; remove images that nobody needs; or "
                "upgrade fewer minors at once"
            )


def _disk_of(folder: str, disks: Sequence[Mapping[str, Any]]) -> str:
    above = [
        disk["path"] for disk in disks if disk["path"] == "/" or f"{folder}/".startswith(f"{disk['path']}/")
    ]
    return max(above, key=len, default="/")
