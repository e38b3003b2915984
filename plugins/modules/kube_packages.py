#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.kube_packages``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kube_packages
short_description: Install kubelet, kubeadm and kubectl at one version and hold them
version_added: '0.1.0'
description:
  - Sets up the apt repository of a minor version with its key, installs the packages from it, holds them, and
    enables kubelet.
  - The packages C(kubernetes-cni) and C(cri-tools) are installed with them where the repository has them.
  - Where everything is as wanted, neither the repository nor the key is fetched.
  - With O(version) a minor alone, an installed patch of it stays. Another minor than the installed one is
    refused, as that is an upgrade of the cluster.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: partial
    details:
      - What a repository that is not set up yet offers is not known before, nor is its key.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  version:
    description:
      - V("1.36") for the newest patch of that minor, V("1.36.1") for exactly this one.
      - Numbers are refused, since YAML makes 1.3 of an unquoted 1.30.
    type: raw
    required: true
  repository:
    description: The flat apt repository; V({minor}) stands for the minor version, such as V(1.36).
    type: str
    default: https://pkgs.k8s.io/core:/stable:/v{minor}/deb/
  key:
    description:
      - Where the ASCII-armoured key of the repository is.
      - The default is C(Release.key) in the repository.
    type: str
  packages:
    description: Packages that have the version of Kubernetes.
    type: list
    elements: str
    default: [kubelet, kubeadm, kubectl]
  hold:
    description: Whether an ordinary upgrade is to leave the packages alone.
    type: bool
    default: true
  allow_downgrade:
    description: Whether an older patch than the installed one may be installed.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Install the newest patch of Kubernetes 1.36
  bramble.pi.kube_packages:
    version: "1.36"

- name: Install Kubernetes 1.36.1 from a mirror
  bramble.pi.kube_packages:
    version: "1.36.1"
    repository: http://192.168.1.2/kubernetes/v{minor}/
    key: http://192.168.1.2/kubernetes/release.asc
"""

RETURN = r"""
changes:
  description: What was changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [Write /etc/apt/sources.list.d/kubernetes.sources, Install kubelet=1.36.2-2.1]
installed:
  description: The packages that are installed, with their versions.
  returned: success
  type: dict
  sample: {kubelet: 1.36.2-2.1, kubeadm: 1.36.2-2.1, kubectl: 1.36.2-2.1, kubernetes-cni: 1.9.1-1.1}
previous:
  description: The packages that were installed before.
  returned: success
  type: dict
  sample: {}
held:
  description: The packages that are held.
  returned: success
  type: list
  elements: str
  sample: [kubeadm, kubectl, kubelet, kubernetes-cni]
repository_file:
  description: The file that names the repository.
  returned: success
  type: str
  sample: /etc/apt/sources.list.d/kubernetes.sources
"""

import glob
import os
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.download import DownloadError, download
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import packages as kubernetes_packages
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    CompatibilityError,
    Version,
    parse_version,
)

_SOURCE = "/etc/apt/sources.list.d/kubernetes.sources"
_KEYRING = "/etc/apt/keyrings/kubernetes.asc"
_OTHER_SOURCES = (
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/*.list",
    "/etc/apt/sources.list.d/*.sources",
)
_KUBELET_UNIT = "kubelet.service"
#: Only this repository; the lists of the others are left as they are.
_ONLY_SOURCE = ["-o", f"Dir::Etc::sourcelist={_SOURCE}", "-o", "Dir::Etc::sourceparts=/dev/null"]
#: By itself apt-get update takes an unreachable repository for a warning.
_FAIL_ON_ERRORS = ["-o", "APT::Update::Error-Mode=any"]


class KubePackages:
    """The packages of Kubernetes on this node."""

    def __init__(self, module: AnsibleModule, run: apt.Runner) -> None:
        self.module = module
        self.run = run
        self.wish = parse_version(module.params["version"])
        self.url = kubernetes_packages.repository_url(template=module.params["repository"], wish=self.wish)
        key = module.params["key"] or f"{self.url.rstrip('/')}/Release.key"
        self.key_url = kubernetes_packages.repository_url(template=key, wish=self.wish)
        self.changes: list[str] = []
        self.diffs: list[dict[str, str]] = []

    def ensure(self) -> dict[str, Any]:
        """Bring everything into the wanted state."""
        names: list[str] = self.module.params["packages"]
        before = self.packages()
        target = kubernetes_packages.target_version(
            wish=self.wish,
            installed={name: before[name] for name in names if name in before},
            allow_downgrade=self.module.params["allow_downgrade"],
        )
        missing = kubernetes_packages.packages_to_install(names=names, installed=before, target=target)
        self.ensure_repository(refresh=bool(missing))
        if missing:
            self.install(missing, before, target)
        after = before if self.module.check_mode else self.packages()
        self.ensure_hold(after)
        self.ensure_kubelet(before, after)
        return {
            "changed": bool(self.changes),
            "changes": self.changes,
            "diff": self.diffs,
            "installed": _versions(after),
            "previous": _versions(before),
            "held": sorted(name for name, package in after.items() if package.held),
            "repository_file": _SOURCE,
        }

    def packages(self) -> dict[str, apt.Package]:
        """Ask dpkg."""
        # dpkg-query exits with 1 if it does not know one of the packages, and still lists the others.
        names = [*self.module.params["packages"], *kubernetes_packages.COMPANIONS]
        return apt.read_packages(text=self.run([*apt.DPKG_QUERY, *names])[1])

    def output_of(self, command: list[str]) -> str:
        """Run a command that has to succeed."""
        code, output, error = self.run(command)
        if code != 0:
            raise kubernetes_packages.KubePackagesError(
                f"{' '.join(command)} failed: {(error or output).strip()}"
            )
        return output

    def write(self, path: str, before: str | None, after: str) -> None:
        """Replace a file, unless it has this content."""
        if after == before:
            return
        self.changes.append(f"Write {path}")
        self.diffs.append(
            {"before_header": path, "before": before or "", "after_header": path, "after": after}
        )
        if not self.module.check_mode:
            write_text(path, after)

    def ensure_repository(self, *, refresh: bool) -> None:
        """Set up the repository; its key is fetched again whenever the repository is going to be used."""
        paths = [path for pattern in _OTHER_SOURCES for path in sorted(glob.glob(pattern)) if path != _SOURCE]
        for warning in kubernetes_packages.foreign_sources(
            files={path: read_text(path) or "" for path in paths}
        ):
            self.module.warn(warning)
        key = read_text(_KEYRING)
        source = read_text(_SOURCE)
        wanted = kubernetes_packages.source_text(url=self.url, keyring=_KEYRING)
        if refresh or key is None or source != wanted:
            if not self.module.check_mode:
                self.write(_KEYRING, key, self.fetch_key())
            elif key is None:
                self.changes.append(f"Write {_KEYRING}")
        self.write(_SOURCE, source, wanted)

    def fetch_key(self) -> str:
        """Download the key."""
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "kubernetes.asc")
            download(url=self.key_url, path=path)
            key = read_text(path) or ""
        kubernetes_packages.check_key(text=key, url=self.key_url)
        return key

    def install(self, missing: list[str], before: dict[str, apt.Package], target: Version) -> None:
        """Install packages of one version."""
        if self.module.check_mode:
            self.changes.append(f"Install {', '.join(missing)} {target}")
            return
        apt.update(
            run=self.run,
            options=[*_ONLY_SOURCE, *("-o", "APT::Get::List-Cleanup=false"), *_FAIL_ON_ERRORS],
        )
        companions = [name for name in kubernetes_packages.COMPANIONS if name not in before]
        madison = ["apt-cache", *_ONLY_SOURCE, "madison", *missing, *companions]
        offered = kubernetes_packages.read_madison(text=self.output_of(madison))
        versions = kubernetes_packages.choose_versions(
            names=missing, offered=offered, target=target, url=self.url
        )
        versions.update({name: offered[name][0] for name in companions if name in offered})
        arguments = [f"{name}={version}" for name, version in versions.items()]
        self.changes.append(f"Install {' '.join(arguments)}")
        options = ["--allow-change-held-packages"]
        if self.module.params["allow_downgrade"]:
            options.append("--allow-downgrades")
        apt.install(run=self.run, arguments=[*options, *arguments])

    def ensure_hold(self, packages: dict[str, apt.Package]) -> None:
        """Hold the packages, or let go of them."""
        hold = self.module.params["hold"]
        names = [name for name, package in packages.items() if package.held != hold]
        if self.module.check_mode and hold:
            names += [name for name in self.module.params["packages"] if name not in packages]
        if not names:
            return
        verb = "hold" if hold else "unhold"
        self.changes.append(f"{verb.capitalize()} {' '.join(names)}")
        if not self.module.check_mode:
            self.output_of(["apt-mark", verb, *names])
            packages.update({name: packages[name]._replace(held=hold) for name in names})

    def ensure_kubelet(self, before: dict[str, apt.Package], after: dict[str, apt.Package]) -> None:
        """Enable kubelet, and let a running one become the new version."""
        if "kubelet" not in after:
            return
        if self.run(["systemctl", "is-enabled", _KUBELET_UNIT])[1].strip() != "enabled":
            self.changes.append(f"Enable {_KUBELET_UNIT}")
            if not self.module.check_mode:
                self.output_of(["systemctl", "enable", _KUBELET_UNIT])
        if "kubelet" in before and before["kubelet"].version != after["kubelet"].version:
            self.changes.append(f"Restart {_KUBELET_UNIT}")
            self.output_of(["systemctl", "daemon-reload"])
            self.output_of(["systemctl", "try-restart", _KUBELET_UNIT])


def _versions(packages: dict[str, apt.Package]) -> dict[str, str]:
    return {name: package.version for name, package in packages.items()}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "raw", "required": True},
            "repository": {"type": "str", "default": "https://pkgs.k8s.io/core:/stable:/v{minor}/deb/"},
            "key": {"type": "str", "no_log": False},
            "packages": {"type": "list", "elements": "str", "default": ["kubelet", "kubeadm", "kubectl"]},
            "hold": {"type": "bool", "default": True},
            "allow_downgrade": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )

    def run(command: list[str]) -> tuple[int, str, str]:
        code, output, error = module.run_command(command, environ_update=apt.ENVIRONMENT)
        return code, output, error

    try:
        result = KubePackages(module, run).ensure()
    except (kubernetes_packages.KubePackagesError, CompatibilityError, apt.AptError, DownloadError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
