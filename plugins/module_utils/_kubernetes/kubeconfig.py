# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose cluster a kubeconfig speaks of, and what may be done with the file.

Nodes have no YAML library. What kubeadm wrote is read by line; what a user may have changed, by
``block_yaml``.
"""

from __future__ import annotations

import base64
import enum
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import block_yaml
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import CaCertError, ca_cert_hash

_CA_DATA = re.compile(
    r"""^[ \t-]*["']?certificate-authority-data["']?:[ \t]*["']?([A-Za-z0-9+/=]+)""", re.MULTILINE
)
# In whatever form of YAML: behind a brace, in quotes, on a line of its own.
_ANY_CA_DATA = re.compile(r"""certificate-authority-data["']?\s*:\s*[|>]?[+-]?\s*["']?([A-Za-z0-9+/=]+)""")
_SERVER = re.compile(r"^(?P<key>[ \t-]*server:)[ \t]*\S+[ \t]*$", re.MULTILINE)

_ADDRESS = re.compile(r"^\s+server:\s*[\"']?(https?://[^\s\"']+)", re.MULTILINE)

_TOP = {"apiVersion", "kind", "preferences", "current-context"}
_ENTRIES = {
    "clusters": {"certificate-authority-data", "server"},
    "contexts": {"cluster", "user"},
    "users": {"client-certificate-data", "client-key-data"},
}


class KubeconfigError(BrambleError):
    """The text is not the kubeconfig of one cluster."""


class Owner(enum.Enum):
    """Whose a kubeconfig is, seen from one cluster."""

    #: It speaks of this cluster alone.
    OURS = "ours"
    #: It knows this cluster, beside others or with something of its user's own.
    SHARED = "shared"
    #: It does not know this cluster.
    FOREIGN = "foreign"


def server_of(text: str) -> str | None:
    """Return the address of the API server that a kubeconfig names."""
    match = _ADDRESS.search(text)
    return match.group(1) if match else None


def ca_hashes(text: str) -> list[str]:
    """Return the hashes of the CAs in a kubeconfig; what cannot be read counts by its own text."""
    return _hashes(_CA_DATA.findall(text))


def _hashes(found: Iterable[str]) -> list[str]:
    hashes = []
    for data in found:
        try:
            hashes.append(ca_cert_hash(base64.b64decode(data).decode("ascii")))
        except (ValueError, CaCertError):
            hashes.append(f"unreadable:{data}")
    return hashes


def admin_ca_hash(text: str) -> str:
    """Return the CA hash of the one cluster of a kubeconfig as kubeadm writes it."""
    hashes = ca_hashes(text)
    if len(hashes) != 1 or hashes[0].startswith("unreadable:"):
        raise KubeconfigError(
            f"the kubeconfig has {len(hashes)} usable certificate-authority-data; expected exactly one"
        )
    return hashes[0]


def owner(*, text: str, ca_hash: str) -> Owner:
    """Find out whose the kubeconfig is.

    It is ours only if each word of it is one that kubeadm writes, for this cluster; whatever a user has added
    (a context, a namespace, a way to log in, an option) makes it shared.
    """
    try:
        config = block_yaml.load(text)
    except block_yaml.UnclearError:
        # Not ours, then. The cluster's CA in it, wherever that stands, keeps it from being replaced.
        return Owner.SHARED if ca_hash in _hashes(_ANY_CA_DATA.findall(text)) else Owner.FOREIGN
    data = list(_values(config, "certificate-authority-data"))
    if ca_hash not in _hashes(data):
        return Owner.FOREIGN
    return Owner.OURS if _as_kubeadm_writes(config) else Owner.SHARED


def _values(config: Any, key: str) -> Iterator[str]:
    for name, value in config.items() if isinstance(config, dict) else ():
        if name == key and isinstance(value, str):
            yield value
        yield from _values(value, key)
    for value in config if isinstance(config, list) else ():
        yield from _values(value, key)


def _as_kubeadm_writes(config: Any) -> bool:
    if not isinstance(config, dict) or set(config) - _TOP - set(_ENTRIES) or config.get("preferences"):
        return False
    for part, keys in _ENTRIES.items():
        entries = config.get(part) or []
        if not isinstance(entries, list) or len(entries) > 1:
            return False
        kind = part[:-1]
        for entry in entries:
            if not isinstance(entry, dict) or set(entry) - {kind, "name"}:
                return False
            content = entry.get(kind) or {}
            if not isinstance(content, dict) or set(content) - keys:
                return False
    return True


def with_server(*, text: str, server: str) -> str:
    """Return the kubeconfig with another address of the API server."""
    changed, count = _SERVER.subn(lambda match: f"{match['key']} {server}", text)
    if count != 1:
        raise KubeconfigError(f"the kubeconfig has {count} servers; expected exactly one")
    return changed
