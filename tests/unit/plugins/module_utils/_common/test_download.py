# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads from a real server that breaks off, changes its files and forgets what it can do."""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common import download as common_download
from ansible_collections.bramble.pi.plugins.module_utils._common.download import (
    DownloadError,
    download,
    fetch_text,
    final_url,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.urls import public_url, with_login

from tests.unit.image_server import ImageServer, image_server

CONTENT = random.Random(1).randbytes(1_000_000)
OTHER = random.Random(2).randbytes(900_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageServer]:
    monkeypatch.setattr(common_download, "_PAUSE", 0.01)
    with image_server() as serving:
        serving.files["/a.img.xz"] = CONTENT
        yield serving


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.img.xz"


def fetch(server: ImageServer, path: Path, sha256: str | None = SHA256) -> str:
    return download(url=f"{server.url}/a.img.xz", path=str(path), sha256=sha256)


def break_off(server: ImageServer, path: Path, after: int, *, resumes: bool = True) -> None:
    """Have a download end in the middle, for good."""
    server.cuts = [after, 0, 0] if resumes else [after, after, after]
    kept = rf"\. {after} bytes are kept in .*a\.img\.xz\.part; run it again to go on from there"
    nothing = r"\. Nothing is kept, as the server cannot go on .*; run it again, or set the address"
    with pytest.raises(DownloadError, match=kept if resumes else nothing):
        fetch(server, path)
    server.cuts.clear()
    server.requests.clear()
    assert not path.exists()
    assert path.with_name("a.img.xz.part").exists() == resumes


def assert_complete(path: Path, content: bytes = CONTENT) -> None:
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "nothing else stays"


def test_fetches_and_returns_the_checksum(server: ImageServer, path: Path) -> None:
    assert fetch(server, path, SHA256.upper()) == SHA256
    assert_complete(path)
    assert server.gets("/a.img.xz") == [None]


def test_goes_on_within_one_call(server: ImageServer, path: Path) -> None:
    server.cuts = [300_000, 300_000]
    assert fetch(server, path) == SHA256
    assert server.gets("/a.img.xz") == [None, "bytes=299999-", "bytes=599998-"]
    assert_complete(path)


@pytest.mark.parametrize("version", [None, ("Last-Modified", "Mon, 24 Nov 2025 10:00:00 GMT")])
def test_goes_on_in_the_next_call(server: ImageServer, path: Path, version: tuple[str, str] | None) -> None:
    server.version = version
    break_off(server, path, 400_000)
    assert fetch(server, path) == SHA256
    assert server.gets("/a.img.xz") == ["bytes=399999-"]
    assert_complete(path)


def test_goes_on_after_a_redirect(server: ImageServer, path: Path) -> None:
    server.redirects["/latest"] = "/a.img.xz"
    server.cuts = [400_000]
    assert download(url=f"{server.url}/latest", path=str(path), sha256=SHA256) == SHA256
    assert server.gets("/a.img.xz") == [None, "bytes=399999-"]


def test_takes_up_what_was_complete_but_not_renamed(server: ImageServer, path: Path) -> None:
    break_off(server, path, 400_000)
    path.with_name("a.img.xz.part").write_bytes(CONTENT)
    assert fetch(server, path) == SHA256
    assert server.gets("/a.img.xz") == [f"bytes={len(CONTENT) - 1}-"]
    assert_complete(path)


@pytest.mark.parametrize("version", [None, ("ETag", 'W/"weak"')])
def test_begins_anew_without_ranges_or_versions(
    server: ImageServer, path: Path, version: tuple[str, str] | None
) -> None:
    server.ranges = version is not None
    server.version = version
    break_off(server, path, 400_000, resumes=False)
    assert fetch(server, path) == SHA256
    assert_complete(path)


@pytest.mark.parametrize("honour", [True, False])
@pytest.mark.parametrize("content", [OTHER, OTHER[:100_000]])
def test_begins_anew_if_the_file_changed(
    server: ImageServer, path: Path, content: bytes, honour: bool
) -> None:
    break_off(server, path, 400_000)
    server.files["/a.img.xz"] = content
    server.honour_if_range = honour
    assert fetch(server, path, None) == hashlib.sha256(content).hexdigest()
    assert_complete(path, content)


def test_begins_anew_for_another_url(server: ImageServer, path: Path) -> None:
    break_off(server, path, 400_000)
    server.files["/b.img.xz"] = OTHER
    download(url=f"{server.url}/b.img.xz", path=str(path))
    assert server.gets("/b.img.xz") == [None]
    assert_complete(path, OTHER)


def test_begins_anew_if_the_version_is_damaged(server: ImageServer, path: Path) -> None:
    break_off(server, path, 400_000)
    path.with_name("a.img.xz.part.json").write_text("{")
    assert fetch(server, path) == SHA256
    assert server.gets("/a.img.xz") == [None]


def test_a_wrong_file_leaves_nothing(server: ImageServer, path: Path) -> None:
    with pytest.raises(DownloadError, match=f"has the sha256 {SHA256}; expected 0+: set the checksum"):
        fetch(server, path, "0" * 64)
    assert list(path.parent.iterdir()) == []


def test_gives_up_where_nothing_new_comes(server: ImageServer, path: Path) -> None:
    server.ranges = False
    server.cuts = [500_000] * 9
    with pytest.raises(
        DownloadError, match=r"the connection ended after 500000 of 1000000 bytes\. Nothing is kept"
    ):
        fetch(server, path)
    assert len(server.requests) == 3


def test_does_not_wait_for_ever(server: ImageServer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common_download, "_TIMEOUT", 0.2)
    server.hang = True
    server.cuts = [500_000, 0, 0]
    with pytest.raises(DownloadError, match=r"timed out after 499999 bytes\. 500000 bytes are kept"):
        fetch(server, path)


def test_asks_for_room_before_the_content(server: ImageServer, path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def refuse(total: int, missing: int) -> None:
        asked.append((total, missing))
        raise DownloadError("no room")

    break_off(server, path, 400_000)
    with pytest.raises(DownloadError, match="no room"):
        download(url=f"{server.url}/a.img.xz", path=str(path), check_room=refuse)
    assert asked == [(1_000_000, 600_001)]


def test_names_what_cannot_be_fetched(server: ImageServer, path: Path) -> None:
    host = server.url.removeprefix("http://")
    for status in (403, 404, 503):
        server.statuses["/a.img.xz"] = status
        with pytest.raises(
            DownloadError, match=rf"^{server.url}/a\.img\.xz cannot be fetched: .*{status}"
        ) as no:
            download(url=f"http://user:secret@{host}/a.img.xz", path=str(path))
        assert no.value.status == status
        for fetch_it in (fetch_text, final_url):
            with pytest.raises(DownloadError) as error:
                fetch_it(url=f"{server.url}/a.img.xz")
            assert error.value.status == status
    with pytest.raises(DownloadError, match=r"cannot be fetched: .*refused") as refused:
        download(url="http://127.0.0.1:9/x", path=str(path))
    assert refused.value.status is None
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("http://[::1/a.img", "its host cannot be read"),
        ("http://[zz::1]/a.img", "its host"),
        ("http://a..b/a.img", "its host is 'a..b', which is not a host name: each part"),
        ("http://.example.org/a.img", "which is not a host name: each part between dots"),
        (f"http://{'a' * 64}.example.org/a.img", "which is not a host name: each part between dots"),
        (f"http://{'a.' * 130}org/a.img", "which is not a host name"),
        ("http://ex ample.org/a.img", "which is not a host name"),
        ("http://exam%70le.org/a.img", "which is not a host name"),
        ("http://a\u2100.org/a.img", "its host cannot be read"),
        ("http:///a.img", "it names no host"),
        ("http://", "it names no host"),
        ("http://example.org:x/a.img", "its port is not a number from 1 to 65535"),
        ("http://example.org:65536/a.img", "its port is not a number from 1 to 65535"),
        ("http://example.org:0/a.img", "its port is not a number from 1 to 65535"),
        ("http://example.org/a.img\n", "a line break, another control character"),
        ("http://exam\tple.org/a.img", "a line break, another control character"),
        ("http://example.org/a.img ", "a blank at an end"),
    ],
)
def test_refuses_what_is_no_url(path: Path, source: str, why: str) -> None:
    for fetching in FETCHES.values():
        with pytest.raises(DownloadError, match=r"is not a URL: .*; expected one") as error:
            fetching(source, path)
        assert why in str(error.value)
        assert error.value.status is None
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "target",
    [
        "http://[::1/a.img",
        "http://[zz::1]/a.img",
        "http://a..b/a.img",
        f"http://{'a' * 64}.example.org/a.img",
        "http://ex ample.org/a.img",
        "http://b\u00fc\u00fc..org/a.img",
        "http://example.org:x/a.img",
        "http://example.org:65536/a.img",
    ],
)
@pytest.mark.parametrize("fetching", ["download", "fetch_text", "final_url"])
def test_a_redirect_to_what_is_no_url(server: ImageServer, path: Path, target: str, fetching: str) -> None:
    server.redirects["/latest"] = target.encode().decode("latin-1")
    # The first two are refused by Python itself.
    with pytest.raises(
        DownloadError, match=r"/latest (cannot be fetched: |is redirected from .* is not a URL: )"
    ):
        FETCHES[fetching](f"{server.url}/latest", path)
    assert list(path.parent.iterdir()) == []


def test_a_broken_url_keeps_its_password(path: Path) -> None:
    with pytest.raises(DownloadError) as error:
        download(url="http://bob:hunter2/x@example.org/a.img", path=str(path))
    assert "hunter2" not in str(error.value)
    assert "%2F" in str(error.value)
    assert public_url("http://bob:hunter2@[::1/a") == "http://[::1/a"


ADVICE = {
    401: r"before the host in 'src', or write them into ~/\.netrc",
    403: "look in a browser whether it needs a login, or set 'src' to another address",
    404: "expected a file there: set 'src' to the address of the download itself",
    407: "write user and password into http_proxy and https_proxy",
    410: "expected a file there: set 'src' to the address",
    418: "expected the file: set 'src' to the address",
    429: "run it again later, or set 'src' to another server",
    503: "run it again later, or set 'src' to another server",
}


@pytest.mark.parametrize("status", ADVICE)
def test_says_what_to_do_about_an_answer(server: ImageServer, path: Path, status: int) -> None:
    server.statuses["/a.img.xz"] = status
    url = f"{server.url}/a.img.xz"
    for fetch_it in (fetch_text, final_url, lambda **options: download(path=str(path), **options)):
        with pytest.raises(DownloadError, match=ADVICE[status]):
            fetch_it(url=url, variable="'src'")


def test_says_what_to_do_about_a_server_that_is_none(
    secure: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        DownloadError, match=r"expected a server that answers: check the network .* set 'src'"
    ):
        fetch_text(url="http://127.0.0.1:9/x", variable="'src'")
    with pytest.raises(DownloadError, match=r"expected a host that DNS knows: correct 'src'"):
        fetch_text(url="http://no-such-host.invalid/x", variable="'src'")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(DownloadError, match=r"expected a certificate that this .* set 'src'"):
        fetch_text(url=f"{secure.url}/x", variable="'src'")


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><title>Login", b"\xef\xbb\xbf\n <HTML>"])
def test_a_web_page_is_no_file(server: ImageServer, path: Path, page: bytes) -> None:
    server.files["/a.img.xz"] = page
    with pytest.raises(
        DownloadError,
        match=rf"is a web page \(HTML\); expected a file with the sha256 {SHA256}: set the addr",
    ):
        fetch(server, path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("fetching", ["download", "fetch_text", "final_url"])
def test_urls_as_people_write_them(server: ImageServer, path: Path, fetching: str) -> None:
    server.files["/bl%C3%BCte%20x/%7e.img"] = b"abc"
    server.redirects["/utf-8"] = "/blüte x/%7e.img".encode().decode("latin-1")
    server.redirects["/latin-1"] = "/blüte.img"
    server.files["/bl%FCte.img"] = b"abc"
    port = server.url.rpartition(":")[2]
    for url in (
        f"{server.url}/blüte x/%7e.img#fragment",
        f"HTTP://127.0.0.1:{port}/bl%C3%BCte x/%7e.img",
        f"Http://böb:p@ss wörd@127.0.0.1:{port}/blüte%20x/%7e.img",
        f"{server.url}/utf-8",
        f"{server.url}/latin-1",
    ):
        FETCHES[fetching](url, path)
        assert fetching == "final_url" or server.requests[-1][0] == "GET"


def test_uppercase_https_does_not_lead_to_http(server: ImageServer, secure: ImageServer, path: Path) -> None:
    secure.redirects["/latest"] = f"{server.url.upper()}/a.img.xz"
    with pytest.raises(DownloadError, match="expected https all the way"):
        fetch_text(url=f"{secure.url.replace('https', 'HTTPS')}/latest")
    assert server.requests == [], "nobody was asked over http"


@pytest.mark.parametrize("length", ["abc", "-5", "1e3", "²", "", "1" * 5000, "10, 10"])
def test_a_length_that_is_no_number(server: ImageServer, path: Path, length: str) -> None:
    server.headers["Content-Length"] = length
    if length:
        with pytest.raises(DownloadError, match=r"is sent with the Content-Length .*; expected a number"):
            fetch(server, path)
    else:
        assert fetch(server, path) == SHA256


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("fetching", ["download", "fetch_text", "final_url"])
def test_asks_a_busy_server_again(server: ImageServer, path: Path, status: int, fetching: str) -> None:
    server.busy = [(status, None), (status, "0")]
    FETCHES[fetching](f"{server.url}/a.img.xz", path)
    assert len(server.requests) == 3
    server.busy = [(status, "0")] * 3
    with pytest.raises(DownloadError) as error:
        FETCHES[fetching](f"{server.url}/a.img.xz", path)
    assert error.value.status == status
    assert len(server.requests) == 6


def test_goes_on_where_a_server_was_busy_between(server: ImageServer, path: Path) -> None:
    break_off(server, path, 400_000)
    server.busy = [(503, "0")]
    assert fetch(server, path) == SHA256
    assert server.gets("/a.img.xz") == ["bytes=399999-"] * 2


def test_waits_as_long_as_a_busy_server_says(server: ImageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(common_download.time, "sleep", slept.append)
    server.files["/sums"] = b"abc\n"
    for said, seconds in (("7", 7), ("86400", 30), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.01), ("-1", 0.01)):
        server.busy = [(503, said)]
        fetch_text(url=f"{server.url}/sums")
        assert slept.pop() == seconds


def test_what_proxies_and_logins_do_wrong(
    server: ImageServer, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with pytest.raises(DownloadError, match=r"cannot be fetched: .*netrc"):
        fetch(server, path)
    monkeypatch.delenv("NETRC")
    for proxy in ("http://a..b:3128", "http://[::1", "http://127.0.0.1:99999"):
        monkeypatch.setenv("http_proxy", proxy)
        for fetching in FETCHES.values():
            with pytest.raises(DownloadError, match="cannot be fetched: "):
                fetching(f"{server.url}/a.img.xz", path)


def test_a_text_whose_packing_is_broken(server: ImageServer) -> None:
    server.files["/sums"] = b"\x1f\x8b\x08\x00 is no gzip"
    server.headers["Content-Encoding"] = "gzip"
    with pytest.raises(DownloadError, match="sums cannot be fetched: "):
        fetch_text(url=f"{server.url}/sums")


def test_small_files_and_where_urls_lead(server: ImageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/sums"] = b"abc\n"
    server.redirects["/latest"] = "/sums"
    assert fetch_text(url=f"{server.url}/latest") == "abc\n"
    assert final_url(url=f"{server.url}/latest") == f"{server.url}/sums"
    monkeypatch.setattr(common_download, "_MAX_TEXT", 100)
    with pytest.raises(DownloadError, match="than 100 bytes; expected a small text file: set the address"):
        fetch_text(url=f"{server.url}/a.img.xz")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    subprocess.run(
        [*command.split(), "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def secure(
    server: ImageServer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[ImageServer]:
    """Serve by https beside the other."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with image_server(certificate=certificate) as serving:
        yield serving


FETCHES = {
    "download": lambda url, path: download(url=url, path=str(path), sha256=None),
    "fetch_text": lambda url, _path: fetch_text(url=url),
    "final_url": lambda url, _path: final_url(url=url),
}


@pytest.mark.parametrize("fetching", FETCHES)
@pytest.mark.parametrize("steps", [1, 2])
def test_https_does_not_lead_to_http(
    server: ImageServer, secure: ImageServer, path: Path, fetching: str, steps: int
) -> None:
    target = f"{server.url}/a.img.xz"
    secure.redirects["/latest"] = target if steps == 1 else f"{secure.url}/next"
    secure.redirects["/next"] = target
    with pytest.raises(
        DownloadError, match=rf"is redirected from https://localhost:.* to {target}; expected"
    ):
        FETCHES[fetching](f"{secure.url}/latest", path)
    assert server.requests == [], "nobody was asked over http"


@pytest.mark.parametrize("fetching", FETCHES)
def test_other_redirects_are_followed(
    server: ImageServer, secure: ImageServer, path: Path, fetching: str
) -> None:
    server.redirects["/latest"] = f"{secure.url}/first"
    secure.redirects["/first"] = "second?a b"
    secure.files["/second?a%20b"] = b"abc"
    found = FETCHES[fetching](f"{server.url}/latest", path)
    expected = {"fetch_text": "abc", "final_url": f"{secure.url}/second?a%20b"}
    assert found == expected.get(fetching, hashlib.sha256(b"abc").hexdigest())


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/latest"])
def test_redirects_that_lead_nowhere(server: ImageServer, path: Path, target: str) -> None:
    server.redirects["/latest"] = target
    with pytest.raises(DownloadError, match=r"is redirected (from .* to (file|ftp):|more than 10 times)"):
        download(url=f"{server.url}/latest", path=str(path))


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("https://example.org/b", True),
        ("https://example.org:8443/b", False),
        ("https://elsewhere.org/b", False),
        ("https://bob@example.org/b", False),
    ],
)
def test_a_password_goes_to_its_server_alone(url: str, login: bool) -> None:
    found = with_login(url, of="https://ada:secret@example.org/latest")
    assert found == (url.replace("//", "//ada:secret@") if login else url)


def test_urls_are_shown_without_passwords() -> None:
    assert public_url("https://user:pa@ss@example.org:8/a?b#c") == "https://example.org:8/a?b#c"
    assert public_url("/a/path") == "/a/path"


@pytest.mark.parametrize(
    ("url", "sha256", "told"),
    [
        ("https://example.org/a", None, False),
        ("https://example.org/a", SHA256, False),
        ("http://example.org/a", SHA256, False),
        ("http://example.org/a", None, True),
        ("http://example.org/a", "", True),
        ("http://me:s3cret@example.org/a", None, True),
        ("/srv/a", None, False),
    ],
)
def test_what_nobody_vouches_for(url: str, sha256: str | None, told: bool) -> None:
    warnings = common_download.unproved(url=url, sha256=sha256, remedy="set x")
    assert bool(warnings) is told
    assert not any("s3cret" in warning for warning in warnings)
    assert all(warning.startswith("http://example.org/a came over http") for warning in warnings)
