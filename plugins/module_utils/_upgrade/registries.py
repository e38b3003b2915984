# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks registries whether they have an image, without fetching it."""

from __future__ import annotations

import glob
from http.client import HTTPException
from urllib.error import HTTPError

from ansible.module_utils.urls import open_url
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text

_TIMEOUT = 10
_ACCEPTED = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
#: Where a runtime is told of other places or ways to fetch from, and what says so there.
_MIRRORS = (
    ("/etc/containerd/certs.d/*/hosts.toml", "host"),
    ("/etc/containerd/config.toml", "registry.mirrors"),
    ("/etc/docker/daemon.json", "registry-mirrors"),
    # A proxy, which this module has not in its environment, and authorities that it does not trust.
    ("/etc/systemd/system/*.service.d/*.conf", "_PROXY="),
    ("/etc/systemd/system/*.service.d/*.conf", "_proxy="),
    ("/etc/docker/certs.d/*/*.crt", ""),
)


def has_mirrors(*, root: str = "") -> bool:
    """Tell whether the runtimes of this node fetch from elsewhere, which is not asked here."""
    return any(
        word in (read_text(path) or "") for pattern, word in _MIRRORS for path in glob.glob(root + pattern)
    )


class Registries:
    """The registries that were asked; one that is out of reach is asked no more."""

    def __init__(self, *, scheme: str = "https", root: str = "") -> None:
        self._scheme = scheme
        self._mirrored = has_mirrors(root=root)
        self._silent: dict[str, str] = {}

    def problem(self, image: str) -> str:
        """Say why an image does not come from its registry; nothing if it does, or if that is not known."""
        registry, _slash, rest = image.partition("/")
        name, _colon, tag = rest.rpartition(":")
        if self._mirrored:
            return ""
        if registry not in self._silent:
            try:
                open_url(
                    f"{self._scheme}://{registry}/v2/{name}/manifests/{tag}",
                    method="HEAD",
                    headers={"Accept": _ACCEPTED},
                    timeout=_TIMEOUT,
                    follow_redirects="all",
                ).close()
            except HTTPError as error:
                # Others ask for a token first, or do not like to be asked so.
                return f"{registry} does not have it" if error.code == 404 else ""
            except (OSError, HTTPException, ValueError) as error:
                self._silent[registry] = f"{registry} cannot be reached ({error})"
            else:
                return ""
        return self._silent[registry]
