# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that parse IPv4 networks and addresses, and build URLs."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.plugin_utils._common.filters import filter_errors
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import addresses, urls


@filter_errors()
def nth_address(cidr: str, n: int) -> str:
    """Take the n-th address."""
    return addresses.nth_address(cidr=cidr, n=n)


@filter_errors()
def reverse_zones(network: str) -> list[str]:
    """Name the zones of reverse look-ups of a network."""
    return addresses.reverse_zones(network=network)


def service_url(address: str, port: int = 6443, scheme: str = "https") -> str:
    """Write the URL of a service."""
    return urls.service_url(address=str(address), port=int(port), scheme=scheme)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters; each is documented in a file of its name."""
        return {
            "nth_address": nth_address,
            "reverse_zones": reverse_zones,
            "service_url": service_url,
        }
