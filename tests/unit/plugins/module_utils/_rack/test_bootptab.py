# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._rack import bootptab
from hypothesis import given
from hypothesis import strategies as st

GUIDE = Path(__file__).resolve().parents[3] / "fixtures/bootptab/guide.txt"


def test_the_file_of_the_guide_is_read_as_it_is() -> None:
    assert bootptab.parse_bootptab(text=GUIDE.read_text(encoding="utf-8")) == [
        bootptab.Entry(8, "rpi1", "b8:27:eb:5b:0d:0f", "192.168.2.101", "boot"),
        bootptab.Entry(9, "rpi2", "b8:27:eb:a1:5f:5a", "192.168.2.102", "boot"),
    ]


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("pi 1 B8-27-EB-5B-0D-0F 10.0.0.2", bootptab.Entry(2, "pi", "b8:27:eb:5b:0d:0f", "10.0.0.2", "")),
        ("pi\t6\tb8:27:eb:5b:d:f\t10.0.0.2 #x", bootptab.Entry(2, "pi", "b8:27:eb:5b:0d:0f", "10.0.0.2", "")),
        (
            "pi.lan 1 2:0:0:0:0:1 10.0.0.2 /b/x",
            bootptab.Entry(2, "pi.lan", "02:00:00:00:00:01", "10.0.0.2", "/b/x"),
        ),
        # What is no end of a line to bootpd, or to whoever counts lines in an editor.
        (
            "pi 1 2:0:0:0:0:1 10.0.0.2 # first\f second\u2028third\x85\x0b\x1c",
            bootptab.Entry(2, "pi", "02:00:00:00:00:01", "10.0.0.2", ""),
        ),
        (
            "# a\f\u2028b\npi1 1 2:0:0:0:0:1 223.0.0.2",
            bootptab.Entry(3, "pi1", "02:00:00:00:00:01", "223.0.0.2", ""),
        ),
        (
            "a\r\n2pi 1 2:0:0:0:0:1 10.0.0.2\r\n"[3:],
            bootptab.Entry(2, "2pi", "02:00:00:00:00:01", "10.0.0.2", ""),
        ),
    ],
)
def test_a_line(line: str, entry: bootptab.Entry) -> None:
    assert bootptab.parse_bootptab(text=f"%%\n{line}\n") == [entry]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("pi 1 b8:27:eb:5b:0d:0f", "line 2: has 3 fields .*expected name, hardware type, MAC, address"),
        ("pi 1 b8:27:eb:5b:0d:0f 10.0.0.2 boot x", "line 2: has 6 fields"),
        ("pi_1 1 b8:27:eb:5b:0d:0f 10.0.0.2", "line 2: the name is 'pi_1'"),
        ("10.0.0.3 1 b8:27:eb:5b:0d:0f 10.0.0.2", "line 2: the name is '10.0.0.3', an address or a number"),
        ("12 1 b8:27:eb:5b:0d:0f 10.0.0.2", "line 2: the name is '12', an address or a number"),
        ("pi.12 1 b8:27:eb:5b:0d:0f 10.0.0.2", "line 2: the name is 'pi.12', an address or a number"),
        (f"{'a.' * 126}ab 1 b8:27:eb:5b:0d:0f 10.0.0.2", "line 2: the name has 254 characters"),
        ("pi 1 b8:27:eb:5b:0d:0f 127.0.0.1", "line 2: the address is '127.0.0.1', which no host can have"),
        ("pi 1 b8:27:eb:5b:0d:0f 0.0.0.0", "line 2: the address is '0.0.0.0', which no host can have"),
        ("pi 1 b8:27:eb:5b:0d:0f 224.0.0.1", "line 2: the address is '224.0.0.1', which no host can have"),
        ("pi 1 b8:27:eb:5b:0d:0f 255.255.255.255", "line 2: the address is '255.255.255.255', which no host"),
        (
            "pi ethernet b8:27:eb:5b:0d:0f 10.0.0.2",
            r"line 2: the hardware type is 'ethernet'; expected 1 \(",
        ),
        ("pi 1 b8:27:eb:5b:0d 10.0.0.2", "line 2: the MAC is 'b8:27:eb:5b:0d'"),
        ("pi 1 ff:ff:ff:ff:ff:ff 10.0.0.2", "line 2: the MAC is 'ff"),
        ("pi 1 00:00:00:00:00:00 10.0.0.2", "line 2: the MAC is '00"),
        ("pi 1 xx:xx:xx:xx:xx:xx 192.168.2.10x", "line 2: the MAC is 'xx"),
        ("pi 1 b8:27:eb:5b:0d:0f 192.168.2.10x", "line 2: the address is '192.168.2.10x'"),
        ("pi 1 b8:27:eb:5b:0d:0f 10.0.0.256", "line 2: the address is"),
        ("pi 1 b8:27:eb:5b:0d:0f 010.0.0.2", "line 2: the address is"),
        ("a 1 2:0:0:0:0:1 10.0.0.2\nb 1 02:0:0:0:0:1 10.0.0.3", "line 3: has the mac 02:.* as line 2 has"),
        ("a 1 2:0:0:0:0:1 10.0.0.2\nA 1 2:0:0:0:0:2 10.0.0.3", "line 3: has the name a, as line 2"),
        ("a 1 2:0:0:0:0:1 10.0.0.2\nb 1 2:0:0:0:0:2 10.0.0.2", "line 3: has the address 10.0.0.2, as line 2"),
        ("a b\n\nc d", "line 2: has 2 fields .*; line 4: has 2 fields"),
    ],
)
def test_a_bad_line_is_named(line: str, why: str) -> None:
    with pytest.raises(bootptab.BootptabError, match=why):
        bootptab.parse_bootptab(text=f"%%\n{line}\n")


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    (entry,) = bootptab.parse_bootptab(text="\ufeff%%\r\npi 1 2:0:0:0:0:1 10.0.0.2\r\n")
    assert (entry.line, entry.name) == (2, "pi")


def test_without_its_sections_it_is_no_bootptab() -> None:
    with pytest.raises(bootptab.BootptabError, match="none of its 1 lines is '%%'"):
        bootptab.parse_bootptab(text="pi 1 b8:27:eb:5b:0d:0f 10.0.0.2")


@given(octets=st.lists(st.integers(0, 255), min_size=6, max_size=6))
def test_a_mac_has_one_normal_form(octets: list[int]) -> None:
    forms = {
        bootptab.normal_mac(text)
        for text in (
            ":".join(f"{octet:02x}" for octet in octets),
            "-".join(f"{octet:X}" for octet in octets),
        )
    }
    assert len(forms) == 1
    (normal,) = forms
    if normal is not None:
        assert bootptab.normal_mac(normal) == normal
        assert not octets[0] & 1


@given(text=st.text())
def test_whatever_the_file_holds_it_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(bootptab.BootptabError):
        assert all(entry.mac for entry in bootptab.parse_bootptab(text=f"%%\n{text}"))
