# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one table of which versions of Kubernetes, container runtimes and operating systems go together."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

Minor = tuple[int, int]

#: kubeadm's API v1beta2, the oldest one written by this collection, came with 1.15.
OLDEST_MINOR: Minor = (1, 15)
#: Newer ones are tried, with a warning: what they changed is not known here.
NEWEST_MINOR: Minor = (1, 37)

#: API version of kubeadm's configuration: first and last minor that read it (None: still read).
#: https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/
KUBEADM_API_VERSIONS: dict[str, tuple[Minor, Minor | None]] = {
    "v1beta2": ((1, 15), (1, 26)),
    "v1beta3": ((1, 22), None),
    "v1beta4": ((1, 31), None),
}

#: Runtime: first and last minor that it serves (None: no such end).
#: Kubelet's own dockershim left with 1.24, and cri-dockerd took its place.
RUNTIMES: dict[str, tuple[Minor, Minor | None]] = {
    "containerd": (OLDEST_MINOR, None),
    "cri_dockerd": ((1, 24), None),
    "dockershim": (OLDEST_MINOR, (1, 23)),
}

#: First minor whose kubelet refuses cgroup v1 (failCgroupV1).
CGROUP_V1_REFUSED_FROM: Minor = (1, 35)

#: First minor whose kubeadm asks a runtime itself, and not by crictl (kubernetes/kubernetes#124685).
CRICTL_NOT_NEEDED_FROM: Minor = (1, 31)

#: kubeadm join adds a member to etcd that has no vote until it is promoted, after the kubelet has its
#: certificate. From 1.33 on (ControlPlaneKubeletLocalMode) the kubelet gets it after that.
ETCD_LEARNER_AFTER_KUBELET: tuple[Minor, Minor] = ((1, 29), (1, 32))

#: Kubernetes from this minor on needs at least this containerd.
#: 1.26 dropped CRI v1alpha2 (containerd 1.6 brought v1); 1.38 is announced to drop the fallback for runtimes
#: without the RuntimeConfig call, which containerd 1 and older releases of cri-dockerd do not have.
#: https://github.com/containerd/containerd/blob/main/RELEASES.md
CONTAINERD_NEEDED: tuple[tuple[Minor, Minor], ...] = (
    (OLDEST_MINOR, (1, 3)),
    ((1, 26), (1, 6)),
    ((1, 38), (2, 0)),
)
#: By containerd's own matrix: series of containerd, and the newest Kubernetes that it is tested with. Newer
#: series have no end yet. Patches are left aside: distributions have fixes of their own.
CONTAINERD_TESTED: dict[Minor, Minor] = {
    (1, 6): (1, 34),
    (1, 7): (1, 35),
    (2, 0): (1, 34),
    (2, 1): (1, 35),
}
#: containerd 2 dropped CRI v1alpha2; kubelet speaks v1 from this minor on.
CONTAINERD_2_NEEDS_MINOR: Minor = (1, 23)


#: How many minors a kubelet may be older than an API server: three, and two before 1.28.
#: https://kubernetes.io/releases/version-skew-policy/
KUBELET_SKEW: tuple[tuple[Minor, int], ...] = ((OLDEST_MINOR, 2), ((1, 28), 3))
#: API servers of one cluster may be this many minors apart, while they are upgraded.
API_SERVER_SKEW = 1

#: Flags that users still bring along from old guides: program, flag, first minor that does not know it.
REMOVED_FLAGS: dict[str, dict[str, Minor]] = {
    "kube-apiserver": {"insecure-bind-address": (1, 24), "insecure-port": (1, 24)},
    "kube-controller-manager": {
        "address": (1, 24),
        "enable-taint-manager": (1, 27),
        "pod-eviction-timeout": (1, 27),
        "port": (1, 24),
    },
    "kube-scheduler": {"address": (1, 24), "port": (1, 24)},
    "kubelet": {
        "cni-bin-dir": (1, 24),
        "cni-cache-dir": (1, 24),
        "cni-conf-dir": (1, 24),
        "container-runtime": (1, 27),
        "docker-endpoint": (1, 24),
        "experimental-dockershim-root-directory": (1, 24),
        "image-pull-progress-deadline": (1, 24),
        "network-plugin": (1, 24),
        "network-plugin-mtu": (1, 24),
        "pod-infra-container-image": (1, 35),
    },
}
#: Flags of kubelet that kubeadm has written itself, and the minor whose kubeadm upgrade takes them out of its
#: file again, no other one: https://github.com/kubernetes/kubernetes/pull/112000 and 133778. What belonged to
#: dockershim stays there (https://github.com/kubernetes/kubeadm/issues/2626).
KUBEADM_TAKES_OUT: dict[str, Minor] = {
    "container-runtime": (1, 26),
    "pod-infra-container-image": (1, 35),
}
#: What to set in place of one.
FLAG_SUCCESSORS: dict[str, str] = {
    "pod-eviction-timeout": "use control_plane_failure_detection for it",
}


class OsRelease(NamedTuple):
    """A release of an operating system that the roles know."""

    codename: str
    #: The newest in its own archive, with its updates.
    containerd: Minor


_DEBIAN = {
    "11": OsRelease("bullseye", (1, 4)),
    "12": OsRelease("bookworm", (1, 6)),
    "13": OsRelease("trixie", (1, 7)),
}

#: By ID and VERSION_ID of /etc/os-release; 32-bit Raspberry Pi OS calls itself raspbian.
#: Ubuntu's updates bring one containerd to all releases that are supported:
#: https://documentation.ubuntu.com/project/SRU/reference/exception-Docker-Updates
OS_RELEASES: dict[str, dict[str, OsRelease]] = {
    "debian": _DEBIAN,
    "raspbian": _DEBIAN,
    "ubuntu": {
        "22.04": OsRelease("jammy", (2, 2)),
        "24.04": OsRelease("noble", (2, 2)),
        "25.10": OsRelease("questing", (2, 1)),
        "26.04": OsRelease("resolute", (2, 2)),
    },
}

#: As dpkg names them: what Kubernetes' own packages are built for and this collection is tested on.
ARCHITECTURES: tuple[str, ...] = ("amd64", "arm64")


class CompatibilityError(BrambleError):
    """Versions that do not work together, or that are no versions."""


class Version(NamedTuple):
    """A Kubernetes version; without a patch it stands for the newest one of that minor."""

    major: int
    minor: int
    patch: int | None = None

    @property
    def short(self) -> Minor:
        """Major and minor, by which compatibility is decided."""
        return (self.major, self.minor)

    def __str__(self) -> str:
        return ".".join(str(part) for part in self if part is not None)


def _minor_text(minor: Minor) -> str:
    return f"{minor[0]}.{minor[1]}"


def _covers(span: tuple[Minor, Minor | None], minor: Minor) -> bool:
    first, last = span
    return first <= minor and (last is None or minor <= last)


def parse_version(text: object) -> Version:
    """Read "1.36" or "1.36.1"; numbers are refused, since YAML has made 1.3 of an unquoted 1.30."""
    if not isinstance(text, str):
        raise CompatibilityError(
            f"Kubernetes version {text!r} is not a string: "
            'put it in quotes, such as "1.36", since YAML reads 1.30 as the number 1.3'
        )
    match = re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)(?:\.(0|[1-9]\d*))?", text, re.ASCII)
    if match is None:
        raise CompatibilityError(
            f'Kubernetes version {text!r} is not valid; expected one like "1.36" (its newest patch) '
            'or "1.36.1", without a leading v'
        )
    major, minor, patch = match.groups()
    version = Version(int(major), int(minor), None if patch is None else int(patch))
    if version.short < OLDEST_MINOR:
        raise CompatibilityError(
            f"Kubernetes {text} is too old: the oldest supported is {_minor_text(OLDEST_MINOR)}"
        )
    return version


def version_warning(version: Version) -> str | None:
    """Say so if the version is newer than this table."""
    if version.short <= NEWEST_MINOR:
        return None
    return (
        f"Kubernetes {version} is newer than {_minor_text(NEWEST_MINOR)}, the newest that this release of "
        "bramble.pi knows: it is treated like that one"
    )


def kubernetes_runtime(*, version: Version, runtime: str = "auto") -> str:
    """Choose the runtime for a version, or check the one asked for."""
    served = [name for name, span in RUNTIMES.items() if _covers(span, version.short)]
    if runtime == "auto":
        return "dockershim" if "dockershim" in served else "containerd"
    if runtime not in RUNTIMES:
        raise CompatibilityError(f"runtime {runtime!r} is not known: use one of auto, {', '.join(RUNTIMES)}")
    if runtime not in served:
        raise CompatibilityError(
            f"runtime {runtime} does not work with Kubernetes {version}: use one of auto, {', '.join(served)}"
        )
    return runtime


def kubeadm_api_version(version: Version) -> str:
    """Newest API version of configuration that this version's kubeadm reads."""
    return [name for name, span in KUBEADM_API_VERSIONS.items() if _covers(span, version.short)][-1]


def _age(api_version: str) -> tuple[int, ...]:
    """Return what orders API versions as Kubernetes does: v1beta4, v1, v2alpha1. No version is the newest."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", api_version, re.ASCII)
    if match is None:
        return (sys.maxsize,)
    return (int(match[1]), ("alpha", "beta", None).index(match[2]), int(match[3] or 0))


def known_api_version(api_version: str) -> str:
    """Return the API version to write for a kubeadm that asks for this one.

    For one that is newer than known here it is the newest known: kubeadm reads older ones for some releases.
    """
    oldest, *_between, newest = KUBEADM_API_VERSIONS
    if api_version in KUBEADM_API_VERSIONS:
        return api_version
    if _age(api_version) > _age(newest):
        return newest
    raise CompatibilityError(
        f"the API of the installed kubeadm is kubeadm.k8s.io/{api_version}; expected {oldest} or newer: set "
        f"kube_packages_version to {_minor_text(OLDEST_MINOR)} or newer"
    )


def repeats_flags(api_version: str) -> bool:
    """Whether extra arguments are a list, in which flags may be repeated; before that they were a mapping."""
    return _age(api_version) >= _age("v1beta4")


def cgroup_v1_refused(version: Version) -> bool:
    """Whether kubelet refuses to start on cgroup v1 unless told otherwise."""
    return version.short >= CGROUP_V1_REFUSED_FROM


def removed_flag(*, program: str, flag: str, version: Version) -> str | None:
    """Say why a program of this version does not start with a flag, if so."""
    gone = REMOVED_FLAGS.get(program, {}).get(flag)
    if gone is None or version.short < gone:
        return None
    instead = FLAG_SUCCESSORS.get(flag)
    return (
        f"{program} has no flag {flag} since {_minor_text(gone)}, and ends with 'unknown flag' in {version}:"
        " remove it" + (f", and {instead}" if instead else "")
    )


def promotes_etcd_after_kubelet(version: Version) -> bool:
    """Whether a member of etcd may still be without a vote when its node's kubelet has joined."""
    return _covers(ETCD_LEARNER_AFTER_KUBELET, version.short)


def containerd_problem(*, version: Version, containerd: Minor) -> str | None:
    """Say why kubelet cannot use this containerd, if so."""
    needed = max(desired for since, desired in CONTAINERD_NEEDED if since <= version.short)
    if containerd < needed:
        return (
            f"Kubernetes {version} needs containerd {_minor_text(needed)} or newer, "
            f"and this is {_minor_text(containerd)}"
        )
    if containerd >= (2, 0) and version.short < CONTAINERD_2_NEEDS_MINOR:
        return (
            f"containerd {_minor_text(containerd)} needs Kubernetes {_minor_text(CONTAINERD_2_NEEDS_MINOR)} "
            f"or newer, and this is {version}"
        )
    return None


def containerd_warning(*, version: Version, containerd: Minor) -> str | None:
    """Say so if containerd's makers have not tested this containerd with this Kubernetes."""
    tested = CONTAINERD_TESTED.get(containerd)
    if (
        tested is None
        or version.short <= tested
        or containerd_problem(version=version, containerd=containerd)
    ):
        return None
    return (
        f"containerd {_minor_text(containerd)} is tested by its makers with Kubernetes up to "
        f"{_minor_text(tested)}, and this is {version}"
    )


def skew_problem(*, version: Version, control_planes: Sequence[Version], worker: bool) -> str | None:
    """Say why a node's version does not work with those of the control planes, if so."""
    if not control_planes:
        return None
    oldest = min(control_planes, key=lambda one: one.short)
    newest = max(control_planes, key=lambda one: one.short)
    if not worker:
        if version.short[1] - oldest.short[1] <= API_SERVER_SKEW:
            return None
        return (
            f"this control plane has {version}, and another one {oldest}: they may be {API_SERVER_SKEW} "
            "minor apart"
        )
    if version.short > oldest.short:
        return (
            f"the worker has {version}, and the control plane {oldest}: a worker may be older, but not newer"
        )
    allowed = [skew for since, skew in KUBELET_SKEW if since <= newest.short][-1]
    if newest.short[1] - version.short[1] > allowed:
        return (
            f"the worker has {version}, and the control plane {newest}: a worker may be at most {allowed} "
            "minors older"
        )
    return None
