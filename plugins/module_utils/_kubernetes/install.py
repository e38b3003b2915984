# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs Kubernetes' packages from their repository; ``packages`` decides which versions and why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.apt_repository import AptRepository, Key
from ansible_collections.bramble.pi.plugins.module_utils._common.apt_sources import source_text
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import cluster_version, packages
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    Version,
    parse_version,
)

_SOURCE = "/etc/apt/sources.list.d/kubernetes.sources"
_KEYRING = "/etc/apt/keyrings/kubernetes.asc"
_KUBELET_UNIT = "kubelet.service"
#: dpkg writes it when it unpacks the package; the files of the package are as old as in there.
_KUBELET_UNPACKED = "/var/lib/dpkg/info/kubelet.list"


def kubernetes_source(*, url: str, keyring: str) -> str:
    """Return the source of a repository, whose packages are proved by the keys of a file."""
    return source_text(role="kube_packages", url=url, suite="/", keyring=keyring)


class Order(NamedTuple):
    """What is to be installed, and from where; the options of the module kube_packages."""

    version: Any
    repository: str
    key: str | None
    packages: list[str]
    hold: bool
    allow_downgrade: bool
    upgrade: bool = False
    #: Whether the node is in a cluster, and what that runs, if it is known.
    member: bool = False
    cluster_version: str | None = None
    report_newer: bool = False


class KubePackages:
    """The packages of Kubernetes on this node."""

    def __init__(self, *, order: Order, run: Runner, warn: Callable[[str], None], changes: Changes) -> None:
        self.order = order
        self.run = run
        self.warn = warn
        self.changes = changes
        self.systemd = Systemd(run=run, changes=changes)
        self.wish = parse_version(order.version)
        self.url = packages.repository_url(template=order.repository, wish=self.wish)
        key = order.key or f"{self.url.rstrip('/')}/Release.key"
        self.repository = AptRepository(
            path=_SOURCE,
            text=kubernetes_source(url=self.url, keyring=_KEYRING),
            url=self.url,
            key=Key(
                url=packages.repository_url(template=key, wish=self.wish),
                path=_KEYRING,
                variable="kube_packages_key",
                variables="kube_packages_key or kube_packages_repository",
                remedy="set key (kube_packages_key of the role kube_packages) to a URL that begins with https://",
            ),
            run=run,
            warn=warn,
            changes=changes,
        )

    def ensure(self) -> dict[str, Any]:
        """Install, hold and enable, and return the module's result."""
        names = self.order.packages
        before = self.installed()
        installed = {name: before[name] for name in names if name in before}
        target = packages.target_version(
            wish=self.wish if self.order.upgrade else self.version_of_cluster(installed),
            installed=installed,
            allow_downgrade=self.may_go_down,
            upgrade=self.order.upgrade or self.joins,
        )
        missing = packages.packages_to_install(names=names, installed=before, target=target)
        self.ensure_repository(refresh=bool(missing))
        if missing:
            self.install(missing, before, target)
        after = before if self.changes.check_mode else self.installed()
        self.ensure_hold(after)
        self.ensure_kubelet(before, after)
        return {
            **self.changes.result(),
            "installed": _versions(after),
            "previous": _versions(before),
            "held": sorted(name for name, package in after.items() if package.held),
            "repository_file": _SOURCE,
            "newer": self.newer(target) if self.order.report_newer else None,
        }

    @property
    def joins(self) -> bool:
        """Whether the node is to join a cluster whose version it has to have; nobody uses it meanwhile."""
        return not self.order.member and self.order.cluster_version is not None

    @property
    def may_go_down(self) -> bool:
        """Whether an older patch may be installed."""
        return self.order.allow_downgrade or self.joins

    def version_of_cluster(self, installed: dict[str, apt.Package]) -> Version:
        """Return the version that goes with the cluster that the node is in, or joins."""
        if not self.order.member:
            known = self.order.cluster_version
            return cluster_version.of_newcomer(
                wish=self.wish, cluster=parse_version(known) if known else None
            )
        versions = {
            name: version
            for name, package in installed.items()
            if (version := packages.upstream_version(package.version))
        }
        return cluster_version.of_member(wish=self.wish, installed=versions)

    def newer(self, target: Version) -> str | None:
        """Return the newest version that apt knows of already, if that is newer."""
        madison = ["apt-cache", *self.repository.only, "madison", "kubelet"]
        offered = packages.read_madison(text=self.run(madison)[1]).get("kubelet", ())
        versions = [version for text in offered if (version := packages.upstream_version(text))]
        newest = max(versions, default=target)
        return str(newest) if target.patch is not None and newest > target else None

    def installed(self) -> dict[str, apt.Package]:
        """Ask dpkg."""
        # dpkg-query exits with 1 if it does not know one of the packages, and still lists the others.
        names = [*self.order.packages, *packages.COMPANIONS]
        return apt.read_packages(text=self.run([*apt.DPKG_QUERY, *names])[1])

    def ensure_repository(self, *, refresh: bool) -> None:
        """Set up the repository, and name what gets in its way."""
        for warning in packages.foreign_sources(files=self.repository.others()):
            self.warn(warning)
        self.repository.ensure(refresh=refresh)

    def install(self, missing: list[str], before: dict[str, apt.Package], target: Version) -> None:
        """Install packages of one version."""
        if self.changes.check_mode:
            self.changes.note(f"install {', '.join(missing)} {target}")
            return
        self.repository.update()
        companions = [name for name in packages.COMPANIONS if name not in before]
        madison = ["apt-cache", *self.repository.only, "madison", *missing, *packages.COMPANIONS]
        offered = packages.read_madison(text=output_of(self.run, madison))
        versions = packages.choose_versions(names=missing, offered=offered, target=target, url=self.url)
        versions.update({name: offered[name][0] for name in companions if name in offered})
        arguments = [f"{name}={version}" for name, version in versions.items()]
        if self.order.upgrade or self.joins:
            # A newer kubeadm needs newer ones, and apt renews what is held only if it is named. Without a
            # version, as what is installed may be newer than what this minor has.
            arguments += [name for name in packages.COMPANIONS if name in before and name in offered]
        self.changes.note(f"install {' '.join(arguments)}")
        options = ["--allow-change-held-packages"]
        if self.may_go_down:
            options.append("--allow-downgrades")
        apt.install(run=self.run, arguments=[*options, *arguments])

    def ensure_hold(self, installed: dict[str, apt.Package]) -> None:
        """Hold the packages, or let go of them."""
        hold = self.order.hold
        names = [name for name, package in installed.items() if package.held != hold]
        if self.changes.check_mode and hold:
            names += [name for name in self.order.packages if name not in installed]
        if not names:
            return
        verb = "hold" if hold else "unhold"
        self.changes.do(f"{verb} {' '.join(names)}", ["apt-mark", verb, *names])
        if not self.changes.check_mode:
            installed.update({name: installed[name]._replace(held=hold) for name in names})

    def ensure_kubelet(self, before: dict[str, apt.Package], after: dict[str, apt.Package]) -> None:
        """Enable kubelet, and let a running one become the new version."""
        if "kubelet" not in after:
            return
        if self.run(["systemctl", "is-enabled", _KUBELET_UNIT])[1].strip() != "enabled":
            self.changes.do(f"enable {_KUBELET_UNIT}", ["systemctl", "enable", _KUBELET_UNIT])
        # Also after a run that was killed once the new version was there.
        upgraded = "kubelet" in before and before["kubelet"].version != after["kubelet"].version
        if upgraded or self.systemd.is_outdated(_KUBELET_UNIT, (_KUBELET_UNPACKED,)):
            self.changes.do(
                f"restart {_KUBELET_UNIT}",
                ["systemctl", "daemon-reload"],
                ["systemctl", "try-restart", _KUBELET_UNIT],
            )


def _versions(installed: dict[str, apt.Package]) -> dict[str, str]:
    return {name: package.version for name, package in installed.items()}
