# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions that are put on the link: who has an address, and whether the gateway answers."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import struct
import time

from ansible_collections.bramble.pi.plugins.module_utils._common.addresses import without_prefix
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import (
    NetworkError,
    Settings,
    State,
)

_GATEWAY_TIMEOUT = 4.0
_PROBE_TIMEOUT = 1.2


def holder_of(*, interface: str, address: str) -> str | None:
    """Ask on the link who has an address (RFC 5227); return the MAC address of who answers."""
    ethertype, desired = 0x0806, socket.inet_aton(address)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype)) as link:
        link.bind((interface, ethertype))
        own = link.getsockname()[4]
        header = struct.pack("!6s6sH", b"\xff" * 6, own, ethertype)
        # Ethernet, IPv4, request; without an address of our own, so that nobody notes it down.
        probe = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, own, bytes(4), bytes(6), desired)
        deadline = time.monotonic() + _PROBE_TIMEOUT
        while time.monotonic() < deadline:
            try:
                link.send(header + probe)
            except OSError as error:
                if error.errno == errno.ENETDOWN:
                    return None
                raise
            again = min(time.monotonic() + _PROBE_TIMEOUT / 4, deadline)
            while (left := again - time.monotonic()) > 0:
                link.settimeout(left)
                try:
                    answer = link.recv(128)[14:42]
                except socket.timeout:
                    break
                if len(answer) == 28 and answer[14:18] == desired and answer[8:14] != own:
                    return ":".join(f"{byte:02x}" for byte in answer[8:14])
    return None


def check_free(desired: Settings, before: State) -> None:
    """Refuse an address that another machine has."""
    address = str(desired.address.ip)
    if address in map(without_prefix, before.addresses):
        return
    holder = holder_of(interface=desired.interface, address=address)
    if holder is not None:
        raise NetworkError(
            f"{address} is the address of another machine on {desired.interface}, {holder}, and nothing was "
            "changed; expected one that is free: set node_network_address, or take it from that machine"
        )


def gateway_answers(run: Runner, *, interface: str, gateway: str) -> bool:
    """Have the kernel look for the gateway's MAC address, forgetting what it knew of it."""
    run(["ip", "neighbour", "del", gateway, "dev", interface])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        deadline = time.monotonic() + _GATEWAY_TIMEOUT
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                # Port 9 is "discard": whether anybody takes it does not matter, only who it is sent to.
                probe.sendto(b"", (gateway, 9))
            _status, stdout, _stderr = run(["ip", "-j", "neighbour", "show", gateway, "dev", interface])
            if any("lladdr" in entry for entry in json.loads(stdout or "[]")):
                return True
            time.sleep(0.2)
    return False
