# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the image mirror's registries read, and where its files are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.bramble.pi.plugins.module_utils._containers.mirrors import Mirror

FOLDER = "/etc/bramble/image-mirror"
CA, CA_KEY = f"{FOLDER}/ca.crt", f"{FOLDER}/ca.key"
CERTIFICATE, KEY = f"{FOLDER}/tls.crt", f"{FOLDER}/tls.key"
SETTINGS = f"{FOLDER}/settings.json"
#: For each registry a file with the one that it stands for, and one without.
ONLINE, OFFLINE = f"{FOLDER}/registries", f"{FOLDER}/offline"
PROGRAM = "/usr/local/lib/bramble/image-mirror.pyz"
#: Of Debian's package, without rights elsewhere.
USER = "docker-registry"
_DRAIN = "30s"


def configuration_path(registry: str, *, online: bool = True) -> str:
    """Return where a registry's configuration is."""
    return f"{ONLINE if online else OFFLINE}/{registry}.json"


def address(mirror: Mirror) -> str:
    """Return the address and port at which a registry listens."""
    return urlsplit(mirror.url).netloc


def configuration(
    mirror: Mirror, *, data: str, credentials: Mapping[str, str] | None = None, online: bool = True
) -> str:
    """Return the configuration of a registry, which may have a password in it.

    One that stands for another one does not start while that does not answer: without it, what is there is
    served, and nothing is taken.

    There is no cache of descriptors: what is removed behind its back is not there, and asked for again.
    """
    storage: dict[str, Any] = {"filesystem": {"rootdirectory": f"{data}/{mirror.registry}"}}
    upstream: dict[str, Any] = {}
    if online:
        storage["delete"] = {"enabled": True}
        login = {"username": credentials["user"], "password": credentials["password"]} if credentials else {}
        upstream = {"proxy": {"remoteurl": mirror.server, **login}}
    else:
        storage["maintenance"] = {"readonly": {"enabled": True}}
    content = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": storage,
        "http": {
            "addr": address(mirror),
            "draintimeout": _DRAIN,
            "tls": {"certificate": CERTIFICATE, "key": KEY, "minimumtls": "tls1.2"},
        },
        **upstream,
    }
    # JSON is YAML, and nodes need no library for it.
    return json.dumps(content, indent=2) + "\n"
