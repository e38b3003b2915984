# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives a kubelet a new client certificate when its own has expired.

A kubelet renews its certificate by itself while it runs. One that was off meanwhile does not even start, and
neither does a control plane that it would run.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable
from datetime import datetime

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import certificate_files, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import KubeadmError, Node

_DATA = re.compile(r"^\s+client-(?:certificate|key)-data:\s*([A-Za-z0-9+/=]+)\s*$", re.MULTILINE)


def has_expired(*, now: datetime) -> bool:
    """Tell whether the kubelet's client certificate is over."""
    pem = read_text(state.KUBELET_CERTIFICATE)
    return pem is not None and certificate_files.of_pem(state.KUBELET_CERTIFICATE, pem).has_expired(now=now)


def issue(node: Node, *, node_name: str) -> str:
    """Have kubeadm sign a certificate for the kubelet of a node, and return it with its key."""
    configuration = node.own_configuration(node_name=node_name)
    folder = os.path.join(os.path.dirname(configuration), "kubeconfigs")
    command = ["init", "phase", "kubeconfig", "kubelet", f"--config={configuration}"]
    node.kubeadm([*command, f"--kubeconfig-dir={folder}"])
    try:
        parts = [
            base64.b64decode(data, validate=True).decode("ascii")
            for data in _DATA.findall(read_text(f"{folder}/kubelet.conf") or "")
        ]
    except (binascii.Error, ValueError):
        parts = []
    if len(parts) != len(("certificate", "key")):
        raise KubeadmError(
            f"kubeadm made a kubeconfig for {node_name} with {len(parts)} of a certificate and its key;"
            " expected both: see 'kubeadm init phase kubeconfig kubelet --help'"
        )
    return "".join(parts)


def renew(*, node: Node, changes: Changes, pem: Callable[[], str], now: datetime) -> None:
    """Install a new certificate if the kubelet's own has expired, and restart the kubelet.

    A kubelet that cannot start is tried again by systemd all the time, so a restart that a kill has left out
    is made up for.
    """
    if has_expired(now=now):
        if changes.note("renew the kubelet's certificate"):
            _install(pem(), now=now)
        Systemd(run=node.run, changes=changes).restart_in_one("kubelet")


def _install(pem: str, *, now: datetime) -> None:
    """Put it where the kubelet keeps its own, under a name as it gives them; the one before stays."""
    folder, current = os.path.split(state.KUBELET_CERTIFICATE)
    name = f"kubelet-client-{now:%Y-%m-%d-%H-%M-%S}.pem"
    write_text(f"{folder}/{name}", pem, mode=0o600)
    link = f"{folder}/.{current}.bramble"
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink(f"{folder}/{name}", link)
    os.replace(link, state.KUBELET_CERTIFICATE)
