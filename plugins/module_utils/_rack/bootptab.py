# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file ``bootptab`` of bootpd as macOS has it: addresses by MAC.

A line with ``%%`` ends the first section, which is ignored; in the second each line has a host's name,
hardware type, hardware address, address and boot file. Lines that are empty or begin with # say nothing.
https://manp.gs/mac/5/bootptab
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

SEPARATOR = "%%"

#: Hardware types of RFC 1700 whose addresses are MACs: Ethernet, and IEEE 802 as wireless networks have it.
HARDWARE_TYPES = ("1", "6")

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LONGEST_NAME = 253
#: An address, or what a resolver would take for one.
_NUMBERS = re.compile(r"(.*\.)?[0-9]+", re.ASCII)
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)
# bootpd also takes the leading zero of a byte as understood.
_MAC = re.compile(r"[0-9A-Fa-f]{1,2}([:-][0-9A-Fa-f]{1,2}){5}", re.ASCII)
_BYTE = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_ADDRESS = re.compile(rf"{_BYTE}(\.{_BYTE}){{3}}", re.ASCII)


class BootptabError(BrambleError):
    """Lines that cannot be read; one sentence for each, with its number."""


class Entry(NamedTuple):
    """A host of the file."""

    line: int
    name: str
    mac: str
    address: str
    bootfile: str


def normal_mac(text: str) -> str | None:
    """Write a MAC address in lower case with colons; None if it is none that a device can have."""
    if _MAC.fullmatch(text) is None:
        return None
    octets = [int(part, 16) for part in re.split("[:-]", text)]
    # The lowest bit of the first byte marks addresses of groups; broadcast is one of them.
    if octets[0] & 1 or not any(octets):
        return None
    return ":".join(f"{octet:02x}" for octet in octets)


def parse_bootptab(*, text: str) -> list[Entry]:
    """Return the hosts of the file; raise BootptabError with all that is wrong with it."""
    # A byte order mark is no part of the text, and a form feed in a comment ends no line.
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff").removesuffix("\n"))
    separator = next((number for number, line in enumerate(lines, 1) if line.strip() == SEPARATOR), None)
    if separator is None:
        raise BootptabError(
            f"none of its {len(lines)} lines is '{SEPARATOR}'; expected such a line before the first host, "
            "as what stands above it is ignored"
        )
    problems: list[str] = []
    entries: list[Entry] = []
    for number, line in enumerate(lines[separator:], separator + 1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        reason = _reason(fields)
        if reason:
            problems.append(f"line {number}: {reason}")
            continue
        name, _type, mac, address, *bootfile = fields
        entries.append(Entry(number, name, normal_mac(mac) or "", address, "".join(bootfile)))
    problems += _doubles(entries)
    if problems:
        raise BootptabError("; ".join(problems))
    return entries


def _reason(fields: list[str]) -> str | None:
    """Say what is wrong with a line's fields."""
    if not 4 <= len(fields) <= 5:
        return (
            f"has {len(fields)} fields ({' '.join(fields)}); expected name, hardware type, MAC, address "
            "and, if there is one, boot file"
        )
    name, hardware_type, mac, address = fields[:4]
    if _NAME.fullmatch(name) is None:
        return f"the name is {name!r}; expected letters, digits and hyphens"
    if len(name) > _LONGEST_NAME:
        return f"the name has {len(name)} characters; expected at most {_LONGEST_NAME}"
    if _NUMBERS.fullmatch(name):
        return (
            f"the name is {name!r}, an address or a number; expected a name, with a letter in its last part"
        )
    if hardware_type not in HARDWARE_TYPES:
        return f"the hardware type is {hardware_type!r}; expected 1 (Ethernet) or 6 (wireless)"
    if normal_mac(mac) is None:
        return f"the MAC is {mac!r}; expected one of a device, like b8:27:eb:5b:0d:0f"
    if _ADDRESS.fullmatch(address) is None:
        return f"the address is {address!r}; expected one like 192.168.2.101"
    if not _is_of_a_host(address):
        return f"the address is {address!r}, which no host can have; expected one like 192.168.2.101"
    return None


def _is_of_a_host(address: str) -> bool:
    """Tell whether an address is one that DHCP can give: no network, loopback, multicast or broadcast."""
    first = int(address.partition(".")[0])
    return 0 < first < 224 and first != 127


def _doubles(entries: list[Entry]) -> list[str]:
    problems = []
    for what in ("name", "mac", "address"):
        seen: dict[str, Entry] = {}
        for entry in entries:
            value = getattr(entry, what).lower()
            first = seen.setdefault(value, entry)
            if first is not entry:
                problems.append(
                    f"line {entry.line}: has the {what} {value}, as line {first.line} has; expected one of "
                    "its own"
                )
    return problems
