# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubeadm's files on this node: which are there, what they say, and the attempt that is written down.

What that means is decided in ``state``.
"""

from __future__ import annotations

import contextlib
import glob
import mmap
import os
import re
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.join_command import is_ca_cert_hash
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import CaCertError, ca_cert_hash
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.kubeconfig import ca_hashes, server_of


def present() -> frozenset[str]:
    """Return which of kubeadm's files are there; a file that a power cut left empty is not."""
    return frozenset(
        path
        for path in state.KUBERNETES_FILES
        if os.path.isdir(path) or (os.path.isfile(path) and os.path.getsize(path))
    )


def external_etcd() -> bool:
    """Tell whether the node's API server uses an etcd elsewhere."""
    return state.uses_external_etcd(apiserver_manifest=read_text(state.APISERVER_MANIFEST) or "")


def kubernetes_state() -> str:
    """Tell which state this node's Kubernetes is in, as the function of that name in ``state`` does."""
    return state.kubernetes_state(files=present(), external_etcd=external_etcd())


def is_unfinished() -> bool:
    """Tell whether joining has something left to do on a node that has all files of its role."""
    return state.is_unfinished(
        state=kubernetes_state(), attempt=read_attempt(), kubelet_complete=kubelet_complete()
    )


def has_control_plane() -> bool:
    """Tell whether all files of a control plane are there."""
    return state.has_control_plane(files=present(), external_etcd=external_etcd())


def kubelet_socket() -> str | None:
    """Return the socket of the container runtime that the kubelet uses; None for Docker by dockershim."""
    return state.kubelet_cri_socket(
        flags=read_text(state.KUBELET_FLAGS) or "",
        configurations=[
            read_text(path) or ""
            for path in (state.KUBELET_INSTANCE_CONFIGURATION, state.KUBELET_CONFIGURATION)
        ],
    )


def cluster_ca_hash() -> str | None:
    """Return the hash of the CA of the cluster that this node belongs to, or began to join."""
    for path in (state.KUBELET_KUBECONFIG, state.BOOTSTRAP_KUBECONFIG):
        hashes = [value for value in ca_hashes(read_text(path) or "") if is_ca_cert_hash(value)]
        if hashes:
            return hashes[0]
    certificate = read_text(state.CA_CERTIFICATE)
    try:
        return ca_cert_hash(certificate) if certificate else None
    except CaCertError:
        return None


def kubelet_complete() -> bool:
    """Tell whether the kubelet has all that it needs to talk to its cluster."""
    kubeconfig = read_text(state.KUBELET_KUBECONFIG) or ""
    certificate = state.kubelet_client_certificate(kubeconfig=kubeconfig)
    if certificate is None or server_of(kubeconfig) is None:
        return False
    if certificate == "":
        return True
    pem = read_text(certificate) or ""
    return "BEGIN CERTIFICATE" in pem and "PRIVATE KEY" in pem


def server() -> str | None:
    """Return the API server's address that the node's kubeconfig names."""
    for path in (state.ADMIN_KUBECONFIG, state.KUBELET_KUBECONFIG):
        address = server_of(read_text(path) or "")
        if address:
            return address
    return None


def advertise_address() -> str | None:
    """Return the address at which this node's API server says it is."""
    manifest = read_text(state.APISERVER_MANIFEST) or ""
    match = re.search(r"^\s+- --advertise-address=(\S+)\s*$", manifest, re.MULTILINE)
    return match[1] if match else None


def read_attempt() -> state.Attempt | None:
    """Return the run of kubeadm that has not come to its end."""
    return state.parse_attempt(text=read_text(state.ATTEMPT))


def write_attempt(attempt: state.Attempt) -> None:
    """Write down, so that it outlasts a power cut, that kubeadm is being run."""
    write_text(state.ATTEMPT, attempt.dumped(), mode=0o600)


def clear_attempt() -> None:
    """Write down that kubeadm has come to its end."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(state.ATTEMPT)


def users_files() -> tuple[str, ...]:
    """Return the files that the user has put where kubeadm writes: a CA, manifests of static pods."""
    return tuple(
        sorted(
            path
            for directory in (state.PKI, state.MANIFESTS)
            for path in glob.glob(f"{directory}/**", recursive=True)
            if os.path.isfile(path) and path not in state.COMPONENT_MANIFESTS
        )
    )


def remove_bootstrap_kubeconfig() -> None:
    """Remove the kubelet's first credentials, as kubeadm does at the end of a join."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(state.BOOTSTRAP_KUBECONFIG)


def signs_of_use(*, node_name: str) -> list[str]:
    """Return what etcd's files say of other nodes and workloads."""

    def contents() -> Iterator[mmap.mmap]:
        for directory, _directories, names in os.walk(state.ETCD_DATA):
            for name in names:
                with open(os.path.join(directory, name), "rb") as file:
                    # An empty file cannot be mapped.
                    if os.fstat(file.fileno()).st_size:
                        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                            yield data

    return state.signs_of_use(etcd_files=contents(), node_name=node_name)
