# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""URLs of files: as users and servers write them, as they are asked for, and as they are shown."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"[A-Za-z0-9._-]+")
#: Every ASCII character that may stand as it is; what is percent-encoded already stays so.
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_LOGIN = re.compile(r"(?<=://).*@", re.DOTALL)


class UrlError(BrambleError):
    """What is wrong with a URL, without the URL itself."""


def is_url(source: str) -> bool:
    """Tell a URL from a path."""
    return _SCHEME.match(source) is not None


def is_https(url: str) -> bool:
    """Tell whether a server has to prove its name."""
    return url[:8].lower() == "https://"


def public_url(url: str) -> str:
    """Return a URL without user and password, for messages and records."""
    try:
        parts = urlsplit(url)
        _port = parts.port
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    except ValueError:
        # Nobody can say how far the login goes.
        return _LOGIN.sub("", url)


def url_path(url: str) -> str:
    """Return the path in a URL; nothing if the URL has none that can be told."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def request_url(url: str) -> str:
    """Return a URL as it is asked for: ASCII only, the host as DNS knows it, no fragment."""
    if _CONTROL.search(url) or url != url.strip():
        raise UrlError("it has a line break, another control character or a blank at an end")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise UrlError(f"its host cannot be read ({error})") from error
    try:
        port = parts.port
        if port == 0:
            raise ValueError("it is 0")
    except ValueError as error:
        # What is taken for a port may be a part of a password.
        raise UrlError(
            "its port is not a number from 1 to 65535 (in a password, '/', '?' and '#' are written as %2F, "
            "%3F and %23)"
        ) from error
    login, at, _host = parts.netloc.rpartition("@")
    netloc = quote(login, safe=_PRINTABLE.replace("@", ""), errors="surrogateescape") + at + _host_name(host)
    return urlunsplit(
        (
            parts.scheme.lower(),
            netloc if port is None else f"{netloc}:{port}",
            quote(parts.path, safe=_PRINTABLE, errors="surrogateescape"),
            quote(parts.query, safe=_PRINTABLE, errors="surrogateescape"),
            "",
        )
    )


def _host_name(host: str) -> str:
    """Return a host as DNS and HTTP have it."""
    if not host:
        raise UrlError("it names no host")
    if ":" in host:
        try:
            ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError as error:
            raise UrlError(f"its host is {host!r}, which is not an IPv6 address") from error
        return f"[{host}]"
    try:
        name = host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise UrlError(
            f"its host is {host!r}, which is not a host name: each part between dots has 1 to 63 characters"
        ) from error
    if len(name) > 253 or not _HOST.fullmatch(name):
        raise UrlError(f"its host is {host!r}, which is not a host name")
    return name


def redirect_target(*, place: str, location: str) -> str:
    """Return where a header Location leads from a place, as it stands there."""
    # http.client decodes headers as Latin-1; servers write UTF-8, where they write more than ASCII.
    text = location.encode("latin-1", "replace").decode("utf-8", "surrogateescape").strip()
    try:
        return urljoin(place, text)
    except ValueError:
        return text


def with_login(url: str, *, of: str) -> str:
    """Return a URL with the user and password of the one that led to it, if it is the same server's."""
    old, new = urlsplit(of), urlsplit(url)
    login, at, host = old.netloc.rpartition("@")
    same = (old.scheme, host) == (new.scheme, new.netloc)
    return urlunsplit(new._replace(netloc=f"{login}{at}{host}")) if same else url
