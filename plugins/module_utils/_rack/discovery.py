# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is heard of Raspberry Pis on the link, and what makes them known to the kernel."""

from __future__ import annotations

import ipaddress
import socket
import time

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._rack.scan import (
    Sighting,
    dhcp_request,
    tftp_request,
)

#: A /22; more would take minutes and belong to somebody who minds.
MOST_ADDRESSES = 1024
_ALL_PROTOCOLS = 3


class ScanError(BrambleError):
    """A network that cannot be searched."""


def wake(network: str) -> None:
    """Have the kernel ask for the MAC of each address, which a datagram to any port does."""
    try:
        addresses = ipaddress.IPv4Network(network)
    except ValueError as error:
        raise ScanError(f"network is {network!r}: {error}; expected one such as '192.168.1.0/24'") from None
    if addresses.num_addresses > MOST_ADDRESSES:
        raise ScanError(
            f"network {network} has {addresses.num_addresses} addresses; expected {MOST_ADDRESSES} at "
            "the most: give the part of it that the Pis are in"
        )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        for address in addresses.hosts():
            try:
                probe.sendto(b"", (str(address), 9))
            except OSError:
                # The queue is full, or there is no way to it: the next one may fare better.
                time.sleep(0.01)
            time.sleep(0.002)
    time.sleep(2)


def listen(seconds: int) -> list[Sighting]:
    """Hear who asks for an address, or for what to boot."""
    sightings = []
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS)) as ear:
        while (rest := deadline - time.monotonic()) > 0:
            ear.settimeout(rest)
            try:
                frame = ear.recv(2048)
            except socket.timeout:
                break
            sighting = dhcp_request(frame=frame) or tftp_request(frame=frame)
            if sighting is not None:
                sightings.append(sighting)
    return sightings
