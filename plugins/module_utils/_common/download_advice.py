# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user can do about a download that failed."""

from __future__ import annotations

from socket import gaierror
from ssl import SSLError
from urllib.error import HTTPError, URLError

from ansible.module_utils.urls import SSLValidationError

#: Answers of servers, and of the proxies before them, that are others a moment later.
TEMPORARY_CODES = (408, 425, 429, 500, 502, 503, 504)
_PROXIES = "http_proxy and https_proxy in the environment"
_HTML = (b"<!doctype html", b"<html")


def advice(error: Exception, *, variable: str) -> str:
    """Say what is expected instead of an error, and what fixes it; ``variable`` is what has the address."""
    if isinstance(error, HTTPError):
        return _answer(error.code, variable)
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, gaierror):
        return (
            f"expected a host that DNS knows: correct {variable}, or check this machine's name servers "
            f"and proxy ({_PROXIES})"
        )
    if isinstance(reason, (SSLError, SSLValidationError)):
        return (
            "expected a certificate that this machine trusts: check its clock ('date'), install the "
            f"certificate of the authority (or the package ca-certificates), or set {variable} to another "
            "address"
        )
    return (
        f"expected a server that answers: check the network and the proxy ({_PROXIES}), or set {variable} "
        "to another address"
    )


def _answer(code: int, variable: str) -> str:
    """Say what to do about a server's refusal."""
    if code == 401:
        return (
            "expected a file without a login, or the right login: write user, colon, password and @ "
            f"before the host in {variable}, or write them into ~/.netrc"
        )
    if code == 403:
        return (
            "expected a file that this machine may fetch: look in a browser whether it needs a login, or "
            f"set {variable} to another address"
        )
    if code in (404, 410):
        return f"expected a file there: set {variable} to the address of the download itself"
    if code == 407:
        return f"expected a proxy that lets this machine through: write user and password into {_PROXIES}"
    if code in TEMPORARY_CODES:
        return f"expected a server that is not busy: run it again later, or set {variable} to another server"
    return f"expected the file: set {variable} to the address of the download itself"


def is_web_page(beginning: bytes) -> bool:
    """Tell whether it is a page for people that came: of a login, a shop, a router or a missing file."""
    return beginning.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_HTML)


def wrong_checksum(*, name: str, seen: str, expected: str, variable: str) -> str:
    """Say that a file is another than expected."""
    return (
        f"{name} has the sha256 {seen}; expected {expected}: set {variable} to the one that the makers of "
        "the file name, or put the right file there"
    )


def web_page(*, name: str, expected: str, variable: str) -> str:
    """Say that a page came instead of a file."""
    return (
        f"{name} is a web page (HTML); expected a file with the sha256 {expected}: set {variable} to the "
        "address of the download itself, and look whether a proxy or a login answers in its place"
    )
