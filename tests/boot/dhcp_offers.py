# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask for an address as a boot ROM does, and print what each server offers, as JSON: dhcp_offers.py MAC."""

from __future__ import annotations

import json
import socket
import sys
import time

_HEADER = 236
_COOKIE = bytes.fromhex("63825363")
#: DHCPDISCOVER; what the boot ROM calls itself, its architecture, and what it asks for.
_OPTIONS = (
    bytes([53, 1, 1, 60, 32]) + b"PXEClient:Arch:00000:UNDI:002001" + bytes([93, 2, 0, 0, 55, 3, 43, 60, 66])
)


def discover(mac: bytes) -> bytes:
    """Return the packet, whose answers are to be broadcast."""
    head = bytes([1, 1, 6, 0]) + b"boot" + bytes([0, 0, 0x80, 0]) + bytes(16) + mac
    return head.ljust(_HEADER, b"\0") + _COOKIE + _OPTIONS + b"\xff"


def parse(packet: bytes) -> dict[str, str]:
    """Return addresses and options of an offer."""
    offer = {"yiaddr": socket.inet_ntoa(packet[16:20]), "siaddr": socket.inet_ntoa(packet[20:24])}
    position = _HEADER + len(_COOKIE)
    while position < len(packet) and packet[position] != 0xFF:
        code = packet[position]
        if code == 0:
            position += 1
            continue
        length = packet[position + 1]
        offer[str(code)] = packet[position + 2 : position + 2 + length].hex()
        position += 2 + length
    return offer


def main() -> None:
    """Ask, and listen for a few seconds."""
    offers = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        sock.bind(("", 68))
        sock.sendto(discover(bytes.fromhex(sys.argv[1].replace(":", ""))), ("255.255.255.255", 67))
        end = time.monotonic() + 6
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                offers.append(parse(sock.recv(2048)))
            except TimeoutError:
                break
    print(json.dumps(offers))


if __name__ == "__main__":
    main()
