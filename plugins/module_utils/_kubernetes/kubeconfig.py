# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose cluster a kubeconfig speaks of, and what may be done with the file.

Nodes have no YAML library. What has to be known stands in lines of their own in every kubeconfig that
kubeadm or kubectl wrote.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import CaCertError, ca_cert_hash

_CA_DATA = re.compile(
    r"""^[ \t-]*["']?certificate-authority-data["']?:[ \t]*["']?([A-Za-z0-9+/=]+)""", re.MULTILINE
)
_SERVER = re.compile(r"^(?P<key>[ \t-]*server:)[ \t]*\S+[ \t]*$", re.MULTILINE)

_ADDRESS = re.compile(r"^\s+server:\s*[\"']?(https?://[^\s\"']+)", re.MULTILINE)


class KubeconfigError(BrambleError):
    """The text is not the kubeconfig of one cluster."""


class Owner(enum.Enum):
    """Whose a kubeconfig is, seen from one cluster."""

    #: It speaks of this cluster alone.
    OURS = "ours"
    #: Somebody put this cluster in beside others.
    SHARED = "shared"
    #: It does not know this cluster.
    FOREIGN = "foreign"


def server_of(text: str) -> str | None:
    """Return the address of the API server that a kubeconfig names."""
    match = _ADDRESS.search(text)
    return match.group(1) if match else None


def ca_hashes(text: str) -> list[str]:
    """Return the hashes of the CAs in a kubeconfig; what cannot be read counts by its own text."""
    hashes = []
    for data in _CA_DATA.findall(text):
        try:
            hashes.append(ca_cert_hash(base64.b64decode(data).decode("ascii")))
        except (binascii.Error, UnicodeDecodeError, CaCertError):
            hashes.append(f"unreadable:{data}")
    return hashes


def admin_ca_hash(text: str) -> str:
    """Return the CA hash of the one cluster of a kubeconfig as kubeadm writes it."""
    hashes = ca_hashes(text)
    if len(hashes) != 1 or hashes[0].startswith("unreadable:"):
        raise KubeconfigError(
            f"the kubeconfig has {len(hashes)} usable certificate-authority-data, wanted exactly one"
        )
    return hashes[0]


def owner(*, text: str, ca_hash: str) -> Owner:
    """Find out whose the kubeconfig is."""
    # A cluster may be described without a CA (by a file name, or insecurely), so clusters count by server.
    clusters = max(len(_SERVER.findall(text)), len(ca_hashes(text)))
    if ca_hash not in ca_hashes(text):
        return Owner.FOREIGN
    return Owner.OURS if clusters == 1 else Owner.SHARED


def with_server(*, text: str, server: str) -> str:
    """Return the kubeconfig with another address of the API server."""
    changed, count = _SERVER.subn(lambda match: f"{match['key']} {server}", text)
    if count != 1:
        raise KubeconfigError(f"the kubeconfig has {count} servers, wanted exactly one")
    return changed
