# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import struct

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._rack import scan
from hypothesis import given
from hypothesis import strategies as st

MAC = "dc:a6:32:01:36:c2"


def request(options: bytes, *, ciaddr: bytes = bytes(4), port: int = 67) -> bytes:
    """Build a frame as RFC 2131 has it."""
    hardware = bytes.fromhex(MAC.replace(":", ""))
    packet = bytes([1, 1, 6, 0]) + bytes(8) + ciaddr + bytes(12) + hardware + bytes(10 + 64 + 128)
    packet += bytes([99, 130, 83, 99]) + options
    udp = struct.pack("!4H", 68, port, 8 + len(packet), 0) + packet
    ip = bytes([0x45, 0]) + struct.pack("!H", 20 + len(udp)) + bytes([0, 0, 0, 0, 64, 17]) + bytes(10) + udp
    return b"\xff" * 6 + hardware + b"\x08\x00" + ip


# What a Pi 4 with the revision c03111 and the serial number 6a1b9c04 sends, and a 3B.
PI_4 = bytes([97, 17, 0]) + b"RPi4" + struct.pack("<3I", 0xC03111, 0x320136C2, 0x6A1B9C04)
PI_3 = bytes([97, 17, 0]) + struct.pack("<4I", *[0x765FC593] * 4)
NAME = bytes([12, 11]) + b"raspberrypi"


@pytest.mark.parametrize(
    ("frame", "sighting"),
    [
        (request(PI_4 + b"\xff"), scan.Sighting(MAC, "DHCP request", "", "", "6a1b9c04", "Raspberry Pi 4B")),
        (request(b"\x00" + PI_3 + b"\xff"), scan.Sighting(MAC, "DHCP request", "", "", "765fc593", "")),
        (
            request(NAME + b"\xff", ciaddr=bytes([10, 0, 0, 7])),
            scan.Sighting(MAC, "DHCP request", "10.0.0.7", "raspberrypi"),
        ),
        # The boot ROM of every Pi 3, in the form that its four words or a UUID give it.
        (request(bytes([97, 17, 0]) + b"\x44" * 16 + b"\xff"), scan.Sighting(MAC, "DHCP request")),
        (request(NAME, port=53), None),
        (request(NAME)[:60], None),
        (b"", None),
    ],
)
def test_a_request_is_read(frame: bytes, sighting: scan.Sighting | None) -> None:
    assert scan.dhcp_request(frame=frame) == sighting


def tftp(name: bytes, *, opcode: int = 1, port: int = 69) -> bytes:
    """Return the frame by which a board at 10.0.0.7 asks for a file."""
    data = struct.pack("!H", opcode) + name + b"\0octet\0tsize\x000\0"
    ip = bytes([0x45, 0, 0, 28 + len(data), 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 7, 10, 0, 0, 1])
    udp = struct.pack("!4H", 49152, port, 8 + len(data), 0)
    return bytes(6) + bytes.fromhex(MAC.replace(":", "")) + b"\x08\x00" + ip + udp + data


@pytest.mark.parametrize(
    ("frame", "serial"),
    [
        (tftp(b"6a1b9c04/start4.elf"), "6a1b9c04"),
        (tftp(b"6a1b9c04/overlays/a.dtbo"), "6a1b9c04"),
        # What a Pi 3 asks for first, a request to write, and somebody else.
        (tftp(b"bootcode.bin"), None),
        (tftp(b"6a1b9c04/start4.elf", opcode=2), None),
        (tftp(b"6a1b9c04/start4.elf", port=53), None),
        (tftp(b"6A1B9C04X/start4.elf"), None),
        (b"", None),
    ],
)
def test_a_request_for_what_to_boot_is_read(frame: bytes, serial: str | None) -> None:
    desired = scan.Sighting(MAC, "TFTP request", "10.0.0.7", "", serial) if serial else None
    assert scan.tftp_request(frame=frame) == desired
    # One is not taken for the other.
    assert scan.dhcp_request(frame=frame) is None


@given(frame=st.binary(max_size=400), cut=st.integers(0, 400))
def test_whatever_is_heard_it_is_read_or_not(frame: bytes, cut: int) -> None:
    scan.dhcp_request(frame=frame)
    scan.tftp_request(frame=frame)
    scan.tftp_request(frame=tftp(b"6a1b9c04/start.elf")[:cut])
    scan.dhcp_request(frame=request(PI_4 + NAME)[:cut])
    scan.dhcp_request(frame=request(frame))


@pytest.mark.parametrize(
    ("revision", "model"),
    [
        (0xC03111, "Raspberry Pi 4B"),
        (0xB03150, "Raspberry Pi Compute Module 4S"),
        (0xC04170, "Raspberry Pi 5"),
        (0xC04180, "Raspberry Pi Compute Module 5"),
        (0xD04190, "Raspberry Pi 500"),
        (0xC041A0, "Raspberry Pi Compute Module 5 Lite"),
        (0xC04FF0, ""),
    ],
)
def test_boards_by_their_revision(revision: int, model: str) -> None:
    words = struct.pack("<3I", revision, 0x320136C2, 0x6A1B9C04)
    heard = scan.dhcp_request(frame=request(bytes([97, 17, 0]) + b"RPi4" + words))
    assert heard is not None
    assert (heard.model, heard.serial) == (model, "6a1b9c04")


LEASES = f"1795296257 {MAC} 10.0.0.7 raspberrypi *\n1795296257 02:00:00:00:00:01 10.0.0.8 * *\n"
NEIGHBOURS = """[{"dst":"10.0.0.7","dev":"eth0","lladdr":"DC:A6:32:01:36:C2","state":["STALE"]},
 {"dst":"10.0.0.2","dev":"eth0","lladdr":"b8:27:eb:5b:0d:0f","state":["REACHABLE"]},
 {"dst":"10.0.0.3","dev":"eth0","state":["FAILED"]},
 {"dst":"fe80::1","dev":"eth0","lladdr":"b8:27:eb:5b:0d:0f","state":["STALE"]}]"""


def test_an_inventory_from_what_was_seen() -> None:
    heard = scan.dhcp_request(frame=request(PI_4))
    assert heard
    found = scan.merge(
        [
            *scan.leases(text=LEASES),
            *scan.neighbours(ip_json=NEIGHBOURS),
            scan.Sighting("88:a2:9e:05:50:21", "DHCP request"),
            heard,
        ]
    )
    assert [(pi.mac, pi.address, pi.serial, pi.seen) for pi in found] == [
        ("b8:27:eb:5b:0d:0f", "10.0.0.2", "", ["neighbour"]),
        (MAC, "10.0.0.7", "6a1b9c04", ["lease", "neighbour", "DHCP request"]),
        ("88:a2:9e:05:50:21", "", "", ["DHCP request"]),
    ]
    text = scan.inventory(found)
    assert "# Raspberry Pi 4B, calls itself raspberrypi, seen by lease and neighbour" in text
    assert '      netboot_tree_serial: "6a1b9c04"' in text
    assert yaml.safe_load(text)["all"]["hosts"] == {
        "pi-1": {"ansible_host": "10.0.0.2", "rack_services_mac": "b8:27:eb:5b:0d:0f"},
        "pi-2": {"ansible_host": "10.0.0.7", "rack_services_mac": MAC, "netboot_tree_serial": "6a1b9c04"},
        "pi-3": {"rack_services_mac": "88:a2:9e:05:50:21"},
    }


def test_names_of_their_own_are_kept_and_no_name_is_given_twice() -> None:
    names = ["raspberrypi", "pi-2", "node-7", "node-7", "Pi-9", "", "12"]
    found = [
        scan.Found(f"b8:27:eb:00:00:{number:02}", "", name, "", "", []) for number, name in enumerate(names)
    ]
    hosts = yaml.safe_load(scan.inventory(found))["all"]["hosts"]
    assert list(hosts) == ["pi-1", "pi-2", "pi-3", "pi-4", "pi-5", "pi-6", "pi-7"]
    assert hosts["pi-2"]["rack_services_mac"] == "b8:27:eb:00:00:01"
    hosts = yaml.safe_load(scan.inventory([found[1], found[2]]))["all"]["hosts"]
    assert list(hosts) == ["pi-2", "node-7"]


ANY = bytes([97, 17, 0]) + b"\x44" * 16
GUESS = bytes([97, 17, 0]) + struct.pack("<4I", *[0x11111111] * 4)


@pytest.mark.parametrize(
    ("heard", "serial"),
    [
        ([request(ANY)], ""),
        ([request(ANY), tftp(b"6e810bbc/start.elf")], "6e810bbc"),
        ([tftp(b"6e810bbc/start.elf"), request(ANY)], "6e810bbc"),
        # What it asks for counts more than what is made of its request for an address.
        ([request(GUESS), tftp(b"6e810bbc/start.elf")], "6e810bbc"),
        ([request(PI_4), tftp(b"6e810bbc/start.elf"), request(PI_4)], "6e810bbc"),
        ([request(PI_4), tftp(b"bootcode.bin")], "6a1b9c04"),
    ],
)
def test_which_serial_number_counts(heard: list[bytes], serial: str) -> None:
    sightings = [scan.dhcp_request(frame=frame) or scan.tftp_request(frame=frame) for frame in heard]
    (found,) = scan.merge([sighting for sighting in sightings if sighting])
    assert found.serial == serial
    assert ("netboot_tree_serial" in scan.inventory([found])) == bool(serial)
