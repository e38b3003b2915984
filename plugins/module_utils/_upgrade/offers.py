# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the repositories of minors what they have, without a change to the sources and lists of the node."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from typing import Callable

from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import write_text
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import packages
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import Minor, Version
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.install import (
    KubePackages,
    Order,
    kubernetes_source,
)
from ansible_collections.bramble.pi.plugins.module_utils._upgrade.plan import Offer

_PACKAGES = ("kubelet", "kubeadm", "kubectl")
#: What the node's configuration has apt run around an update: it would touch the node's caches and stamps.
_HOOKS = "".join(
    f"#clear APT::Update::{hook};\n" for hook in ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")
)


def _options(folder: str, source: str) -> list[str]:
    """Have apt use this folder for all that it keeps of repositories, and read nothing but this source."""
    settings = {
        "Dir::Etc::sourcelist": source,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": f"{folder}/lists",
        "Dir::Cache": f"{folder}/cache",
        # In memory.
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
    }
    hooks = f"{folder}/apt.conf"
    write_text(hooks, _HOOKS)
    # Read after the node's own configuration.
    return ["-c", hooks, *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]


def _of_minor(node: KubePackages, run: Runner, folder: str) -> list[Version]:
    keyring, source = f"{folder}/kubernetes.asc", f"{folder}/kubernetes.sources"
    write_text(keyring, node.repository.fetch_key())
    write_text(source, kubernetes_source(url=node.url, keyring=keyring))
    options = _options(folder, source)
    apt.update(run=run, options=[*options, "-o", "APT::Update::Error-Mode=any"])
    madison = output_of(run, ["apt-cache", *options, "madison", *_PACKAGES])
    offered = packages.read_madison(text=madison)
    versions = [
        {version for text in offered.get(name, ()) if (version := packages.upstream_version(text))}
        for name in _PACKAGES
    ]
    return sorted(set.intersection(*versions))


def read(
    *,
    minors: Iterable[Minor],
    repository: str,
    key: str | None,
    run: Runner,
    warn: Callable[[str], None],
) -> Offer:
    """Return what the repositories of these minors have of all packages; apt checks their signatures."""
    found: dict[Minor, list[Version]] = {}
    unread: dict[Minor, str] = {}
    told: dict[str, None] = {}
    for minor in minors:
        order = Order(f"{minor[0]}.{minor[1]}", repository, key, list(_PACKAGES), True, False)
        node = KubePackages(
            order=order,
            run=run,
            warn=told.setdefault,
            changes=Changes(check_mode=True, run=run),
        )
        with tempfile.TemporaryDirectory() as folder:
            # apt reads as a user of its own.
            os.chmod(folder, 0o755)  # noqa: S103 - there is nothing secret in it
            for name in ("lists/partial", "cache/archives/partial"):
                os.makedirs(f"{folder}/{name}")
            try:
                found[minor] = [version for version in _of_minor(node, run, folder) if version.short == minor]
            except BrambleError as error:
                unread[minor] = (
                    f"{error}; expected a repository of that minor: set kube_packages_version to a minor "
                    "that there is, or kube_packages_repository and kube_packages_key to a mirror that has it"
                )
    for text in told:
        warn(text)
    return Offer(found, unread, repository)
