# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads when the certificates of this node begin and end."""

from __future__ import annotations

import glob
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.renewal import Certificate
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import certificates

_KUBECONFIGS = ("admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf")


def of_pem(path: str, pem: str) -> Certificate:
    """Read a certificate."""
    try:
        begins, expires = certificates.period(pem=pem)
    except certificates.CertificateError as error:
        return Certificate(path, error=str(error))
    return Certificate(path, begins, expires)


def of_kubeconfig(path: str, text: str) -> Certificate | None:
    """Read the client certificate of a kubeconfig; None where it has none of its own."""
    try:
        pem = certificates.client_certificate(kubeconfig=text)
    except certificates.CertificateError as error:
        return Certificate(path, error=str(error))
    return None if pem is None else of_pem(path, pem)


def of_file(path: str, text: str) -> Certificate | None:
    """Read a certificate or a kubeconfig, as the name says; None for what is neither, as a key."""
    if path.endswith(".conf"):
        return of_kubeconfig(path, text)
    return of_pem(path, text) if path.endswith((".crt", ".pem")) else None


def read_certificates() -> Iterator[Certificate]:
    """Read the certificates of kubeadm and the kubelet, as far as they are there."""
    patterns = (
        f"{state.PKI}/*.crt",
        f"{state.PKI}/etcd/*.crt",
        state.KUBELET_CERTIFICATE,
        *(f"{state.KUBERNETES}/{name}" for name in _KUBECONFIGS),
    )
    for path in (path for pattern in patterns for path in sorted(glob.glob(pattern))):
        text = read_text(path)
        found = None if text is None else of_file(path, text)
        if found is not None:
            yield found
