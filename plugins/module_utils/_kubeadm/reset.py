# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes Kubernetes off a node: all of it, or what a run of kubeadm that was interrupted has left."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.home_files import (
    read_home_file,
    remove_home_file,
)
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES, runtime_at
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import (
    components,
    leftovers,
    node_files,
    state,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import KubeadmError, Node
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.kubeconfig import Owner, owner

_CNI_CONFIGURATIONS = "/etc/cni/net.d"
# Their content goes, they stay: packages own some, and some may be mounts.
_DIRECTORIES = (
    state.MANIFESTS,
    state.PKI,
    state.UPGRADES,
    state.ETCD,
    state.KUBELET,
    "/var/lib/cni",
    state.POD_LOGS,
    state.CONTAINER_LOGS,
)
_FLANNEL = "/run/flannel"
_NETWORK_NAMESPACES = "/run/netns/cni-*"
_LEGACY_TABLES = {
    "iptables-legacy": "/proc/net/ip_tables_names",
    "ip6tables-legacy": "/proc/net/ip6_tables_names",
}


# What kubeadm has done


def kubeadm_reset(*, node: Node, cri_socket: str | None) -> None:
    """Run ``kubeadm reset`` and take away the containers that it cannot."""
    # kubeadm takes Docker where both are installed, also if the kubelet uses containerd. What the kubelet has
    # started is at its own socket, be another one meant by now.
    cri_socket = node_files.kubelet_socket() or cri_socket
    command = ["kubeadm", "reset", "--force"]
    if cri_socket:
        command.append(f"--cri-socket={cri_socket}")
    node.explained(command)
    runtime = runtime_at(cri_socket)
    if runtime is not None:
        runtime.remove_containers(run=node.run, has=node.has)


def undo(*, node: Node, attempt: state.Attempt | None, cri_socket: str | None) -> None:
    """Undo what a run of kubeadm that did not come to its end has left."""
    kept = {path: _Content.of(path) for path in (attempt.kept if attempt else ()) if os.path.isfile(path)}
    kubeadm_reset(node=node, cri_socket=cri_socket)
    empty_directory(state.ETCD)
    for path in state.KUBERNETES_FILES - state.DIRECTORIES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    # The next control plane's pods have the same names and ids, and would count as restarted.
    for component in components.COMPONENTS:
        for path in glob.glob(f"{state.POD_LOGS}/kube-system_{component}-*"):
            shutil.rmtree(path, ignore_errors=True)
    for path, content in kept.items():
        content.write(path)
    if node_files.kubernetes_state() != "absent":
        raise KubeadmError(
            f"kubeadm reset left {', '.join(sorted(node_files.present()))}; remove them and run this again"
        )
    node_files.clear_attempt()


class _Content:
    """A file's content with its mode and owner."""

    def __init__(self, *, data: bytes, status: os.stat_result) -> None:
        self._data = data
        self._status = status

    @classmethod
    def of(cls, path: str) -> _Content:
        """Read a file."""
        with open(path, "rb") as file:
            return cls(data=file.read(), status=os.fstat(file.fileno()))

    def write(self, path: str) -> None:
        """Write it back where it was."""
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        mode = stat.S_IMODE(self._status.st_mode)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(self._data)
            os.fchmod(file.fileno(), mode)
            os.fchown(file.fileno(), self._status.st_uid, self._status.st_gid)


def empty_directory(path: str) -> list[str]:
    """Remove everything in a directory, which may be a mount, and return what was removed."""
    removed = []
    for entry in sorted(glob.glob(f"{glob.escape(path)}/*") + glob.glob(f"{glob.escape(path)}/.[!.]*")):
        if os.path.isdir(entry) and not os.path.islink(entry):
            shutil.rmtree(entry)
        else:
            os.unlink(entry)
        removed.append(entry)
    return removed


# What kubeadm leaves


@dataclass(frozen=True)
class _Removal:
    """Something to remove, and how."""

    what: str
    remove: Callable[[], object]


def _containers(*, node: Node) -> Iterator[_Removal]:
    """Find what a run has left that was killed once kubeadm's files were gone."""
    for name, runtime in RUNTIMES.items():
        if runtime.leaves_containers(run=node.run, has=node.has):
            yield _Removal(
                f"containers of pods in {name}",
                partial(runtime.remove_containers, run=node.run, has=node.has),
            )


def _files(*, patterns: Iterable[str]) -> Iterator[_Removal]:
    of_bramble = {state.ATTEMPT, state.BACKUP_STATUS, state.RESTORE_BEGUN}
    for path in sorted((state.KUBERNETES_FILES - state.DIRECTORIES) | of_bramble):
        if os.path.exists(path):
            yield _Removal(path, partial(os.unlink, path))
    for pattern in patterns:
        for path in sorted(glob.glob(f"{_CNI_CONFIGURATIONS}/{pattern}")):
            yield _Removal(path, partial(os.unlink, path))
    for path in _DIRECTORIES:
        if os.path.isdir(path) and os.listdir(path):
            yield _Removal(f"{path}/*", partial(empty_directory, path))
    if os.path.isdir(_FLANNEL):
        yield _Removal(_FLANNEL, partial(shutil.rmtree, _FLANNEL))


def _kubeconfigs(
    *, paths: Iterable[str], ca_hash: str | None, warn: Callable[[str], None]
) -> Iterator[_Removal]:
    for path in paths:
        if ca_hash is None:
            continue
        try:
            present = read_home_file(path)
        except BrambleError as error:
            # One that a user has put there does not keep the node from being reset.
            warn(f"{path} is left alone: {error}")
            continue
        if present is None:
            continue
        whose = owner(text=present.text, ca_hash=ca_hash)
        if whose is Owner.OURS:
            yield _Removal(path, partial(remove_home_file, path))
        elif whose is Owner.SHARED:
            warn(
                f"{path} knows this cluster and has what is its user's own, so it is left alone; take "
                "the cluster out of it with kubectl config delete-context and delete-cluster"
            )


def _packet_filter(*, node: Node) -> Iterator[_Removal]:
    for backend in ("iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"):
        if not node.has(f"{backend}-save"):
            continue
        # Asking the legacy backend would load its modules, after which it counts as in use.
        if backend in _LEGACY_TABLES and not read_text(_LEGACY_TABLES[backend]):
            continue
        removal = leftovers.removal(saved=output_of(node.run, [f"{backend}-save"]))
        if removal:
            count = leftovers.removed_chains(removal_text=removal)
            yield _Removal(
                f"{count} chains and rules of {backend}",
                partial(node.feed, [f"{backend}-restore", "--noflush"], removal),
            )
    if node.has("nft"):
        for family, name in leftovers.kubernetes_tables(
            ruleset=output_of(node.run, ["nft", "--json", "list", "tables"])
        ):
            yield _Removal(
                f"table {family} {name}",
                partial(output_of, node.run, ["nft", "delete", "table", family, name]),
            )


def _lived_in() -> set[tuple[int, int]]:
    """Return the network namespaces that processes are in, each by device and number."""
    lived_in = set()
    for path in glob.glob("/proc/[0-9]*/ns/net"):
        with contextlib.suppress(OSError):
            status = os.stat(path)
            lived_in.add((status.st_dev, status.st_ino))
    return lived_in


def network_namespaces(*, run: Runner) -> Iterator[_Removal]:
    """Find those that the pods had; others with CNI, such as Podman's, are named alike, and are lived in."""
    lived_in = _lived_in()
    for path in sorted(glob.glob(_NETWORK_NAMESPACES)):
        status = os.stat(path)
        if (status.st_dev, status.st_ino) not in lived_in:
            name = os.path.basename(path)
            yield _Removal(
                f"network namespace {name}", partial(output_of, run, ["ip", "netns", "delete", name])
            )


def _links(*, node: Node) -> Iterator[_Removal]:
    yield from network_namespaces(run=node.run)
    for name in leftovers.kubernetes_links(names=os.listdir("/sys/class/net")):
        if name == "kube-ipvs0" and node.has("ipvsadm"):
            yield _Removal("IPVS services", partial(output_of, node.run, ["ipvsadm", "--clear"]))
        yield _Removal(f"link {name}", partial(output_of, node.run, ["ip", "link", "delete", name]))


def reset_node(
    *,
    node: Node,
    changes: Changes,
    warn: Callable[[str], None],
    cri_socket: str | None,
    clean_up: bool,
    cni_configurations: Iterable[str],
    kubeconfigs: Iterable[str],
) -> None:
    """Take Kubernetes off this node; ``clean_up`` is for what ``kubeadm reset`` leaves."""
    # Asked before the files are gone that say it.
    ca_hash = node_files.cluster_ca_hash()
    traces = node_files.present() or os.path.exists(state.ATTEMPT) or os.path.exists(state.CA_CERTIFICATE)
    if traces and changes.note("kubeadm's files and containers"):
        node.need("kubeadm")
        kubeadm_reset(node=node, cri_socket=cri_socket)
    if not clean_up:
        return
    # One after the other, as what is left in the end depends on the containers.
    for leftover in chain(
        () if traces else _containers(node=node),
        _kubeconfigs(paths=kubeconfigs, ca_hash=ca_hash, warn=warn),
        _files(patterns=cni_configurations),
        _packet_filter(node=node),
        _links(node=node),
    ):
        if changes.note(leftover.what):
            leftover.remove()
