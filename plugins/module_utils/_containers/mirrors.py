# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirrors of registries, as runtimes are told of them: they are asked first, and the registry itself after.

containerd has a file for each registry, which it reads at each pull. Docker knows mirrors of Docker Hub alone
(https://github.com/moby/moby/issues/18818), in daemon.json.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED

DOCKER_HUB = "docker.io"
#: Where containerd looks for a registry's settings.
HOSTS = "/etc/containerd/certs.d"
#: The certificate of the mirrors' authority.
CA = "/etc/bramble/image-mirror-ca.crt"
#: Docker looks for authorities below this, in a folder for each host with its port; ours have this name, by
#: which they are known again.
DOCKER_HOSTS = "/etc/docker/certs.d"
DOCKER_CA = "bramble.crt"
#: The key of daemon.json.
DOCKER_KEY = "registry-mirrors"
#: How long containerd waits for a mirror that is off; those before 2.1 wait half a minute all the same.
_DIAL_SECONDS = 3


class Mirror(NamedTuple):
    """A registry, and where its images are asked for first."""

    #: As in the names of images, such as docker.io.
    registry: str
    #: Where the registry itself is reached.
    server: str
    #: The URL of the mirror.
    url: str


def hosts_toml(mirror: Mirror) -> str:
    """Return containerd's settings of a registry: the mirror, then the registry itself."""
    return (
        f"{MANAGED}server = {json.dumps(mirror.server)}\n\n"
        f"[host.{json.dumps(mirror.url)}]\n"
        '  capabilities = ["pull", "resolve"]\n'
        f"  ca = {json.dumps(CA)}\n"
        f'  dial_timeout = "{_DIAL_SECONDS}s"\n'
    )


def hosts_path(registry: str) -> str:
    """Return where containerd has the settings of a registry."""
    return f"{HOSTS}/{registry}/hosts.toml"


def looked_for(config_path: object) -> bool:
    """Tell whether containerd looks where the settings are; several folders are parted by colons."""
    return HOSTS in str(config_path or "").split(":")


def config_path(present: object) -> str:
    """Return containerd's config_path with the folder of the settings first."""
    return ":".join(filter(None, (HOSTS, str(present or ""))))


def docker_mirrors(mirrors: Collection[Mirror]) -> list[str]:
    """Return the URLs that Docker is told of."""
    return [mirror.url for mirror in mirrors if mirror.registry == DOCKER_HUB]


def docker_ca_path(url: str) -> str:
    """Return where Docker has the authority of a mirror."""
    return f"{DOCKER_HOSTS}/{urlsplit(url).netloc}/{DOCKER_CA}"


def daemon_settings(
    settings: Mapping[str, Any], *, present: object, ours: Sequence[str], former: Collection[str]
) -> dict[str, Any]:
    """Return daemon.json's settings with the mirrors first, and without those that were ours before.

    ``present`` is what the file has of mirrors; the user's own ones, there or in ``settings``, stay.
    """
    told = settings.get(DOCKER_KEY, present)
    there = [str(url) for url in told] if isinstance(told, list) else []
    gone = {url.rstrip("/") for url in (*ours, *former)}
    merged = [*ours, *(url for url in there if url.rstrip("/") not in gone)]
    if not ours and merged == there:
        # Nothing of it is ours.
        return dict(settings)
    return {**settings, DOCKER_KEY: merged}
