# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch small files by TFTP, and print what each is, null if there is none: tftp_client.py ADDRESS NAME..."""

from __future__ import annotations

import json
import socket
import struct
import sys

_READ, _DATA, _ACKNOWLEDGEMENT = 1, 3, 4
_BLOCK = 512


def fetch(address: str, name: str) -> str | None:
    """Return the text of a file, None if the server refuses it (RFC 1350)."""
    text = b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.sendto(struct.pack("!H", _READ) + name.encode() + b"\0octet\0", (address, 69))
        while True:
            packet, server = sock.recvfrom(_BLOCK + 4)
            kind, block = struct.unpack("!HH", packet[:4])
            if kind != _DATA:
                return None
            text += packet[4:]
            sock.sendto(struct.pack("!HH", _ACKNOWLEDGEMENT, block), server)
            if len(packet) < _BLOCK + 4:
                return text.decode(errors="replace")


if __name__ == "__main__":
    print(json.dumps({name: fetch(sys.argv[1], name) for name in sys.argv[2:]}))
