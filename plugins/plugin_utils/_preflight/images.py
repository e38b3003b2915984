# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the images that nodes pass on to each other."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._containers.images import (
    ContainerImagesError,
    check_archive,
    normalize,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import (
    parse_address,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, Finding, Rack


def check_images(rack: Rack) -> Iterator[Finding]:
    """Check which images are asked for, and who passes them on from where."""
    for host in rack.nodes:
        for name in rack.value(host, "image_cache_images") or ():
            try:
                normalize(name, variable="image_cache_images")
            except ContainerImagesError as error:
                yield Finding(str(error), host)
        for variable in ("image_cache_archives", "kube_packages_image_archives"):
            for archive in rack.value(host, variable) or ():
                try:
                    check_archive(archive, variable=variable)
                except ContainerImagesError as error:
                    yield Finding(str(error), host)
    sources = dict.fromkeys(
        source for host in rack.nodes if (source := rack.value(host, "image_cache_source")) is not None
    )
    for source in sources:
        if source not in rack.nodes:
            yield Finding(
                f"image_cache_source is {source!r}, which is no node of the cluster: set it {ALL} to one of "
                f"{', '.join(rack.nodes)}"
            )
    if len(sources) > 1:
        yield Finding(f"image_cache_source is {' here and '.join(sources)} there: set it once, {ALL}")
    for host in rack.nodes:
        yield from _check_image_server(rack, host)


def _check_image_server(rack: Rack, host: str) -> Iterator[Finding]:
    folder = rack.value(host, "image_cache_dir")
    if folder is not None and not folder.startswith("/"):
        yield Finding(
            f"image_cache_dir is {folder!r}: set a path from the root on, such as '/var/cache'", host
        )
    text = rack.value(host, "image_cache_address")
    if text is None:
        return
    try:
        address = parse_address(text)
    except ValueError as error:
        yield Finding(f"image_cache_address is {text!r}, which {error}", host)
        return
    network = rack.network
    if network is not None and address not in network:
        yield Finding(
            f"image_cache_address is {address}, and images are served within the rack alone: set the node's "
            f"own address in {network}",
            host,
        )
