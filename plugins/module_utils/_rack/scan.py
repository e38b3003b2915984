# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raspberry Pis on a network, by their MACs: in leases, among neighbours, and as they ask for an address."""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count
from typing import NamedTuple

#: What the first three bytes of the MAC tell of the model, for all that are registered for Raspberry Pis.
PREFIXES = {
    "b8:27:eb": "Raspberry Pi 1, 2, 3 or Zero",
    "dc:a6:32": "Raspberry Pi 3 or 4",
    "e4:5f:01": "Raspberry Pi 4",
    "28:cd:c1": "Raspberry Pi",
    "d8:3a:dd": "Raspberry Pi 4 or 5",
    "2c:cf:67": "Raspberry Pi 4 or 5",
    "88:a2:9e": "Raspberry Pi 4 or 5",
}

#: Types in revision codes of boards that boot from the network.
#: https://www.raspberrypi.com/documentation/computers/raspberry-pi.html#new-style-revision-codes
TYPES = {
    0x04: "2B",
    0x08: "3B",
    0x0A: "Compute Module 3",
    0x0D: "3B+",
    0x10: "Compute Module 3+",
    0x11: "4B",
    0x13: "400",
    0x14: "Compute Module 4",
    0x15: "Compute Module 4S",
    0x17: "5",
    0x18: "Compute Module 5",
    0x19: "500",
    0x1A: "Compute Module 5 Lite",
}

#: What the boot ROM of every Pi 3 sends for one, in the place of a serial number.
_NO_SERIAL = "44444444"
#: The names that a boot ROM asks for begin with its serial number; what is made of option 97 is a guess.
_TFTP_REQUEST = "TFTP request"

_BOOTREQUEST = 1
_MAGIC = bytes([99, 130, 83, 99])
_PAD, _END = 0, 255
_HOST_NAME, _CLIENT_MACHINE = 12, 97

#: A host name that somebody gave; those of images, such as raspberrypi, have no number.
_NUMBERED = re.compile(r"[a-z][a-z0-9-]{0,61}[0-9]")


class Sighting(NamedTuple):
    """What one source tells of a device."""

    mac: str
    seen: str
    address: str = ""
    hostname: str = ""
    serial: str = ""
    model: str = ""


class Found(NamedTuple):
    """A Raspberry Pi, and where it was seen."""

    mac: str
    address: str
    hostname: str
    serial: str
    model: str
    seen: list[str]


def is_pi(mac: str) -> bool:
    """Tell whether a MAC is one of a Raspberry Pi."""
    return mac.lower()[:8] in PREFIXES


def neighbours(*, ip_json: str) -> list[Sighting]:
    """Read the neighbour table, from C(ip -json neighbour)."""
    return [
        Sighting(entry["lladdr"].lower(), "neighbour", entry["dst"])
        for entry in json.loads(ip_json or "[]")
        if "lladdr" in entry and ":" not in entry["dst"]
    ]


def leases(*, text: str) -> list[Sighting]:
    """Read dnsmasq's file of leases: expiry, MAC, address, name (or a star), client identifier."""
    rows = (line.split() for line in text.splitlines())
    return [
        Sighting(row[1].lower(), "lease", row[2], "" if row[3] == "*" else row[3])
        for row in rows
        if len(row) == 5 and ":" not in row[2]
    ]


def dhcp_request(*, frame: bytes) -> Sighting | None:
    """Read an Ethernet frame; None unless it is somebody asking for an address."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return None
    udp = 14 + (frame[14] & 0x0F) * 4
    packet = frame[udp + 8 :]
    if frame[udp + 2 : udp + 4] != struct.pack("!H", 67) or len(packet) < 240:
        return None
    if packet[0] != _BOOTREQUEST or packet[236:240] != _MAGIC:
        return None
    options = _options(packet[240:])
    # A client that renews names its address; one that begins again has none.
    address = ".".join(str(byte) for byte in packet[12:16]) if any(packet[12:16]) else ""
    serial, model = _client_machine(options.get(_CLIENT_MACHINE, b""))
    return Sighting(
        mac=":".join(f"{byte:02x}" for byte in packet[28:34]),
        seen="DHCP request",
        address=address,
        # Anybody may have sent it.
        hostname=re.sub(r"[^A-Za-z0-9.-]", "", options.get(_HOST_NAME, b"").decode("ascii", "replace")),
        serial=serial,
        model=model,
    )


def tftp_request(*, frame: bytes) -> Sighting | None:
    """Read an Ethernet frame; None unless it is a boot ROM asking for a file under its serial number."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return None
    udp = 14 + (frame[14] & 0x0F) * 4
    packet = frame[udp + 8 :]
    # A read request, whose name comes first.
    name = re.match(rb"\x00\x01([0-9a-f]{8})/[^\x00]+\x00", packet)
    if frame[udp + 2 : udp + 4] != struct.pack("!H", 69) or name is None:
        return None
    return Sighting(
        mac=":".join(f"{byte:02x}" for byte in frame[6:12]),
        seen=_TFTP_REQUEST,
        address=".".join(str(byte) for byte in frame[26:30]),
        serial=name.group(1).decode(),
    )


def _options(data: bytes) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    index = 0
    while index < len(data) and data[index] != _END:
        if data[index] == _PAD:
            index += 1
            continue
        if index + 1 >= len(data):
            break
        length = data[index + 1]
        options[data[index]] = data[index + 2 : index + 2 + length]
        index += 2 + length
    return options


def _client_machine(value: bytes) -> tuple[str, str]:
    """Return serial number and model from option 97 as the bootloader of a Raspberry Pi sends it.

    A type 0, then "RPi4", the board's revision code, the end of the MAC and the serial number, little-endian;
    older ones repeat the serial number four times.
    """
    if len(value) != 17 or value[0] != 0:
        return "", ""
    words = struct.unpack("<4I", value[1:])
    if value[1:5] == b"RPi4":
        revision = words[1]
        kind = TYPES.get(revision >> 4 & 0xFF)
        return f"{words[3]:08x}", f"Raspberry Pi {kind}" if kind else ""
    serial = f"{words[0]:08x}"
    return (serial, "") if len(set(words)) == 1 and serial != _NO_SERIAL else ("", "")


def merge(sightings: Iterable[Sighting]) -> list[Found]:
    """Join what was seen of each Raspberry Pi; what was seen first counts, but for a better serial number."""
    found: dict[str, Found] = {}
    asked_for = set()
    for sighting in sightings:
        mac = sighting.mac
        if not is_pi(mac):
            continue
        known = found.get(mac) or Found(mac, "", "", "", "", [])
        if sighting.seen == _TFTP_REQUEST and mac not in asked_for:
            asked_for.add(mac)
            known = known._replace(serial=sighting.serial)
        found[mac] = Found(
            mac,
            known.address or sighting.address,
            known.hostname or sighting.hostname,
            known.serial or sighting.serial,
            known.model or sighting.model,
            [*known.seen, *({sighting.seen} - set(known.seen))],
        )
    return sorted(
        (
            pi if pi.model else pi._replace(model=f"{PREFIXES[pi.mac[:8]]} (by its MAC)")
            for pi in found.values()
        ),
        key=lambda pi: ([int(part) for part in pi.address.split(".")] if pi.address else [256], pi.mac),
    )


def names(found: Sequence[Found]) -> list[str]:
    """Name each Raspberry Pi as it calls itself, if that is a name of its own, and number the rest."""
    own = Counter(pi.hostname for pi in found)
    free = (name for number in count(1) if (name := f"pi-{number}") not in own)
    return [
        pi.hostname if own[pi.hostname] == 1 and _NUMBERED.fullmatch(pi.hostname) else next(free)
        for pi in found
    ]


def inventory(found: Sequence[Found]) -> str:
    """Write hosts for an inventory, to be sorted into groups by hand."""
    lines = ["all:", "  hosts:"]
    for name, pi in zip(names(found), found):
        told = [
            pi.model,
            pi.hostname and f"calls itself {pi.hostname}",
        ]
        lines += [
            f"    # {', '.join(part for part in [*told, 'seen by ' + ' and '.join(pi.seen)] if part)}",
            f"    {name}:",
            f"      ansible_host: {pi.address}" if pi.address else "      # ansible_host: has no address yet",
            f'      rack_services_mac: "{pi.mac}"',
            *([f'      netboot_tree_serial: "{pi.serial}"'] if pi.serial else []),
        ]
    return "\n".join(lines) + "\n"
