# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names by which kubectl proxy may be asked."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError


class AcceptedHostsError(BrambleError):
    """What is given is not a network."""


def _octet(first: int, last: int) -> str:
    if (first, last) == (0, 255):
        return "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
    return f"({'|'.join(str(number) for number in range(first, last + 1))})" if first != last else str(first)


def accepted_hosts(networks: Sequence[str]) -> str:
    """Return the expression that matches the addresses of these networks, and nothing else.

    kubectl proxy takes commas for the end of an expression, so that there is none in it.
    """
    choices = []
    for text in networks:
        try:
            network = ipaddress.IPv4Network(text)
        except ValueError as error:
            raise AcceptedHostsError(
                f"{text!r} is not an IPv4 network such as 192.168.1.0/24, or 192.168.1.7/32 ({error})"
            ) from error
        pairs = zip(network.network_address.packed, network.broadcast_address.packed)
        choices.append("[.]".join(_octet(first, last) for first, last in pairs))
    return f"^({'|'.join(choices)})$"
