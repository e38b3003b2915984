# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checksums in all the forms that publishers and users write them in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._os_image.source import (
    Checksum,
    Expected,
    ImageSourceError,
    beside,
    file_name,
    find_in_list,
    find_sha256,
    literal_sha256,
    merge,
    nothing_beside,
    parse_checksum,
    verified_by,
)

A = "0123456789abcdef" * 4
B = "fedcba9876543210" * 4


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("", "beside", ""),
        ("  ", "beside", ""),
        ("none", "none", ""),
        (A, "literal", A),
        (A.upper(), "literal", A),
        (f" sha256:{A}\n", "literal", A),
        (f"SHA256:{A.upper()}", "literal", A),
        ("https://example.org/SHA256SUMS", "file", "https://example.org/SHA256SUMS"),
        ("sha256:https://example.org/SHA256SUMS", "file", "https://example.org/SHA256SUMS"),
        ("~/Downloads/pi.img.xz.sha256", "file", "~/Downloads/pi.img.xz.sha256"),
        ("SHA256SUMS", "file", "SHA256SUMS"),
    ],
)
def test_checksum(text: str, kind: str, value: str) -> None:
    assert parse_checksum(text) == Checksum(kind, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (A[:-1], "checksum is .*; expected a SHA-256 checksum: 64 hexadecimal digits"),
        (A + "0", "expected a SHA-256 checksum: 64"),
        ("d41d8cd98f00b204e9800998ecf8427e", "expected a SHA-256 checksum: 64"),
        ("sha256:xyz", "expected a SHA-256 checksum: 64"),
        ("md5:d41d8cd98f00b204e9800998ecf8427e", "expected a SHA-256 checksum .*flash_image_checksum"),
        (f"SHA512:{A}{B}", "expected a SHA-256 checksum .*flash_image_checksum"),
    ],
)
def test_refuses_what_is_no_sha256(text: str, message: str) -> None:
    with pytest.raises(ImageSourceError, match=message):
        parse_checksum(text)


def test_literal() -> None:
    assert literal_sha256(text=f"sha256:{A.upper()}", option="extract_checksum") == A
    with pytest.raises(ImageSourceError, match="extract_checksum is 'x'; expected a SHA-256"):
        literal_sha256(text="x", option="extract_checksum")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"{A}  pi.img.xz\n", "sha256sum"),
        (f"{A} *pi.img.xz\n", "sha256sum --binary, as Ubuntu has it"),
        (f"{A}\tpi.img.xz", "with a tab"),
        (f"{A}  ./pi.img.xz\n", "from the folder"),
        (f"{A}  /build/out/pi.img.xz\n", "from another folder"),
        (f"{A.upper()}  pi.img.xz\r\n", "written on Windows"),
        (f"SHA256 (pi.img.xz) = {A}\n", "BSD"),
        (f"SHA256(pi.img.xz)= {A}\n", "openssl"),
        (f"SHA2-256(pi.img.xz)= {A}\n", "openssl 3"),
        (f"SHA2-256(/out/pi.img.xz)= {A.upper()}\r\n", "openssl 3, written on Windows"),
        (f"\ufeff{A}  pi.img.xz\n", "with a byte order mark"),
        (f"\ufeff{A}\n", "alone, with a byte order mark"),
        (f"{A}  old/pi.img.xz\n{A}  pi.img.xz\n", "twice the same"),
        (f"{A}  ./pi.img.xz\n{B}  old/pi.img.xz\n", "the one in the folder itself"),
        (f"{B}  old/pi.img.xz\n{A}  pi.img.xz\n", "the one in the folder itself, last"),
        (f"{A} *pi.img.xz\n{B} *old/pi.img.xz\n{B} *new/pi.img.xz\n", "the one, of three"),
        (f"{B}  pi\u2028{A}\n{A}  pi.img.xz\n", "another name with a line separator of Unicode"),
        (f"{A}\n", "alone"),
        (f"# made by x\n\n{A}\n", "alone, with a comment"),
        (f"{B}  pi.img\n{A} *pi.img.xz\n{B} *api.img.xz\n", "one of several"),
        (f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{A}  pi.img.xz\n", "signed"),
        (f"{'0' * 128}  pi.img.xz\n{A}  pi.img.xz\n", "beside a SHA-512"),
    ],
)
def test_finds_the_line(text: str, name: str) -> None:
    assert find_sha256(text=text, name="pi.img.xz", origin=name) == A


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sums has no SHA-256 checksum in it .*begins with ''"),
        ("<!DOCTYPE html><title>Not found", "has no SHA-256 checksum in it .*begins with '<!DOCTYPE html>"),
        ("d41d8cd98f00b204e9800998ecf8427e  pi.img.xz", "has no SHA-256"),
        (f"{A}\n{B}\n", "has no SHA-256 checksum in it"),
        (
            f"{A}  lite/pi.img.xz\n{B}  full/pi.img.xz\n",
            r"sums has 2 different checksums for pi\.img\.xz \(lite/pi\.img\.xz: 01234567\.\.\., "
            r"full/pi\.img\.xz: fedcba98\.\.\.\); expected one: set 'checksum'",
        ),
        (f"{A}  pi.img.xz\n{B}  pi.img.xz\n", "sums has 2 different checksums for pi"),
        (
            f"{A}  pi.img\n",
            r"sums has checksums for pi\.img; expected one for pi\.img\.xz: set 'checksum'",
        ),
        (
            "".join(f"{A}  {number}\n" for number in range(9)),
            "has checksums for 0, 1, 2, 3, 4, ...; expected",
        ),
    ],
)
def test_refuses_files_without_the_line(text: str, message: str) -> None:
    with pytest.raises(ImageSourceError, match=message):
        find_sha256(text=text, name="pi.img.xz", origin="sums")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (f"\\{A}  pi\\nos.img", "pi\nos.img"),
        (f"\\{A}  pi\\\\os.img", "pi\\os.img"),
        (f"\\{A}  pi\\\\nos.img", "pi\\nos.img"),
        (f"\\SHA256 (pi\\ros.img) = {A}", "pi\ros.img"),
        (f"{A}  pi\\nos.img", "pi\\nos.img"),
    ],
)
def test_escaped_names(line: str, name: str) -> None:
    """As sha256sum writes names with line breaks and backslashes."""
    assert find_sha256(text=f"{B}  os.img\n{line}\n", name=name, origin="sums") == A


def test_names_and_neighbours() -> None:
    assert file_name("HTTPS://example.org/%C3%BC.img#x") == "ü.img"
    assert beside("https://example.org/a/pi.img.xz#x?") == [
        "https://example.org/a/pi.img.xz.sha256",
        "https://example.org/a/SHA256SUMS",
    ]
    assert file_name("https://example.org/a/pi%20os.img.xz?token=1") == "pi os.img.xz"
    assert file_name("/a/b?.img") == "b?.img"
    assert beside("https://example.org/a/pi.img.xz?x=/") == [
        "https://example.org/a/pi.img.xz.sha256",
        "https://example.org/a/SHA256SUMS",
    ]
    assert beside("/a/pi.img.xz") == ["/a/pi.img.xz.sha256", "/a/SHA256SUMS"]
    assert "flash_image_checksum" in str(nothing_beside(source="u", looked=["a", "b"]))


def image_list(**entry: Any) -> str:
    """Return a list of the form of os_list_imagingutility_v4.json."""
    raspios = {
        "name": "Raspberry Pi OS Lite (64-bit)",
        "url": "https://downloads.raspberrypi.com/raspios_lite_arm64/images/x/trixie-lite.img.xz",
        "extract_size": 2977955840,
        "extract_sha256": A,
        "image_download_size": 509837312,
        "image_download_sha256": B,
        "release_date": "2025-11-24",
        "init_format": "cloudinit-rpi",
        "devices": ["pi5-64bit"],
        **entry,
    }
    other = {"name": "Raspberry Pi OS (other)", "subitems": [{"name": "Lite", "subitems": [raspios]}]}
    erase = {"name": "Erase", "url": "internal://format"}
    return json.dumps({"imager": {"latest_version": "2.0.0"}, "os_list": [erase, {"name": "x"}, other]})


URL = "https://downloads.raspberrypi.com/raspios_lite_arm64/images/x/trixie-lite.img.xz"


def test_finds_the_image_in_the_list() -> None:
    found = find_in_list(text=image_list(), url=URL, origin="list")
    assert found == Expected(B, A, 2977955840, "cloudinit-rpi")
    assert found.verifies
    bare = image_list(image_download_sha256="", extract_sha256=None, extract_size=0, init_format="none")
    found = find_in_list(text=bare, url=URL, origin="list")
    assert found == Expected()
    assert not found.verifies


@pytest.mark.parametrize(
    ("text", "url", "message"),
    [
        ("", URL, "list is not an image list; expected JSON with os_list"),
        ("[]", URL, "list is not an image list"),
        ('{"imager": {}}', URL, "list is not an image list.*'os_list'"),
        ('{"os_list": 5}', URL, "list has 0 images, and none with the URL"),
        (image_list(), URL + "x", "list has 2 images, and none with the URL .*xzx: correct 'src' or leave"),
        (image_list(extract_sha256="abc"), URL, "extract_sha256 in list is 'abc'; expected a SHA-256"),
    ],
)
def test_refuses_other_lists(text: str, url: str, message: str) -> None:
    with pytest.raises(ImageSourceError, match=message):
        find_in_list(text=text, url=url, origin="list")


def test_user_and_list_together() -> None:
    listed = Expected(B, A, 5, "systemd")
    assert merge(given=Expected(), listed=listed, origin="list") == listed
    assert merge(given=Expected(A, B), listed=Expected(), origin="list") == Expected(A, B)
    assert merge(given=Expected(B), listed=listed, origin="list") == listed
    with pytest.raises(ImageSourceError, match=f"^checksum is {A}, and list says {B}: correct it"):
        merge(given=Expected(A), listed=listed, origin="list")
    with pytest.raises(ImageSourceError, match=f"^extract_checksum is {B}, and list says {A}"):
        merge(given=Expected(None, B), listed=listed, origin="list")


@pytest.mark.parametrize(
    ("verified", "place", "by"),
    [
        (False, "https://example.org/a.img", "none"),
        (True, "", "given"),
        (True, "/srv/SHA256SUMS", "given"),
        (True, "https://example.org/SHA256SUMS", "https"),
        (True, "http://example.org/SHA256SUMS", "http"),
        (True, "HTTPS://example.org/SHA256SUMS", "https"),
        (True, "HTTP://example.org/SHA256SUMS", "http"),
    ],
)
def test_whose_word_a_checksum_is(verified: bool, place: str, by: str) -> None:
    assert verified_by(verified=verified, place=place) == by
