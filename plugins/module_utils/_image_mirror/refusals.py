# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the settings of the image mirror, as far as they alone tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.bramble.pi.plugins.module_utils._common.data_folder import is_data_folder
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.urls import is_url, public_url
from ansible_collections.bramble.pi.plugins.module_utils._common.values import is_address
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror.blobs import size_of

_REGISTRY = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?")
_PORTS = range(1, 65536)
_WHERE = "in group_vars/all.yml"


class ImageMirrorError(BrambleError):
    """The image mirror cannot be as it is asked for; the message says why, and what fixes it."""


def _set(name: str, seen: Any, expected: str) -> str:
    return f"{name} is {seen}; expected {expected}: set {name} {_WHERE}"


def _is_server(url: object) -> bool:
    """Tell whether a registry can be there: a URL of a host alone, without a login."""
    if not isinstance(url, str) or not is_url(url):
        return False
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and "@" not in parts.netloc and url == f"{parts.scheme}://{parts.netloc}"


def _registries(registries: Mapping[str, Any]) -> Iterator[str]:
    name = "image_mirror_registries"
    if not registries:
        yield _set(name, "{}", "a registry at least, or image_mirror_host '' for no mirror")
    for registry, url in registries.items():
        if not _REGISTRY.fullmatch(str(registry)):
            yield _set(name, f"with {registry!r}", "names as in those of images, such as docker.io")
        if not _is_server(url):
            seen = public_url(url) if isinstance(url, str) else url
            expected = (
                "the URL of a host alone, such as https://quay.io (logins are in image_mirror_credentials)"
            )
            yield _set(name, f"with {registry}: {seen!r}", expected)


def _ports(port: int, count: int) -> Iterator[str]:
    if port not in _PORTS or port + max(count, 1) - 1 not in _PORTS:
        yield _set("image_mirror_port", port, f"{max(count, 1)} ports from there on, from 1 to 65535")


def _credentials(credentials: Mapping[str, Any], registries: Mapping[str, Any] | None) -> Iterator[str]:
    name = "image_mirror_credentials"
    for registry, login in credentials.items():
        if registries is not None and registry not in registries:
            yield _set(
                name, f"with {registry!r}", f"registries of image_mirror_registries ({', '.join(registries)})"
            )
        if not isinstance(login, Mapping) or set(login) != {"user", "password"} or not all(login.values()):
            yield _set(
                name, f"with {registry} and a secret that is not shown here", "user and password of each"
            )


def problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with the variables of the role; those that are not known yet are None."""
    registries, port = values.get("image_mirror_registries"), values.get("image_mirror_port")
    if registries is not None:
        yield from _registries(registries)
    if port is not None:
        yield from _ports(port, len(registries or ()))
    address = values.get("image_mirror_address")
    if address is not None and not is_address(address):
        yield _set("image_mirror_address", repr(address), "an IPv4 address of image_mirror_host")
    if values.get("image_mirror_credentials"):
        yield from _credentials(values["image_mirror_credentials"], registries)
    folder = values.get("image_mirror_folder")
    if folder is not None and not is_data_folder(folder):
        yield _set("image_mirror_folder", repr(folder), "a folder such as /mnt/disk/images")
    size = values.get("image_mirror_size")
    if size is not None and size_of(size) is None:
        yield _set("image_mirror_size", repr(size), "a number with MB, GB or TB, such as 20GB")
