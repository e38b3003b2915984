# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When certificates begin and expire, read from the certificates themselves.

Nodes have no library for X.509, and need not have openssl.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime, timezone

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import (
    CaCertError,
    certificates,
    element,
    validity,
)

_UTC_TIME = 0x17
_GENERALIZED_TIME = 0x18
_CLIENT_CERTIFICATE = re.compile(r"^\s+client-certificate-data:\s*[\"']?([A-Za-z0-9+/=]+)", re.MULTILINE)


class CertificateError(BrambleError):
    """The text holds no certificate whose end can be read."""


def _time(*, der: bytes, offset: int, end: int) -> tuple[datetime, int]:
    """Return the time at offset, and where it ends (RFC 5280, 4.1.2.5: always in UTC, to the second)."""
    if der[offset : offset + 1] == bytes([_UTC_TIME]):
        tag, digits = _UTC_TIME, 12
    else:
        tag, digits = _GENERALIZED_TIME, 14
    start, after = element(der=der, offset=offset, end=end, tag=tag, field="validity")
    text = der[start:after].decode("ascii", "replace")
    if not re.fullmatch(rf"[0-9]{{{digits}}}Z", text):
        raise CertificateError(
            f"the certificate's validity has the time {text!r}, which RFC 5280 does not allow"
        )
    if tag == _UTC_TIME:
        text = ("19" if text[0] >= "5" else "20") + text
    try:
        moment = datetime.strptime(text, "%Y%m%d%H%M%SZ")
    except ValueError as error:
        raise CertificateError(f"the certificate's validity has the time {text!r}: {error}") from error
    return moment.replace(tzinfo=timezone.utc), after


def period(*, pem: str) -> tuple[datetime, datetime]:
    """Return from when to when the first of the certificates in the text to expire is valid."""
    try:
        periods = []
        for der in certificates(pem):
            offset, end = validity(der)
            begins, offset = _time(der=der, offset=offset, end=end)
            periods.append((_time(der=der, offset=offset, end=end)[0], begins))
    except CaCertError as error:
        raise CertificateError(str(error)) from error
    expires, begins = min(periods)
    return begins, expires


def client_certificate(*, kubeconfig: str) -> str | None:
    """Return the client certificate that a kubeconfig holds; None where it names a file or has a token."""
    match = _CLIENT_CERTIFICATE.search(kubeconfig)
    if not match:
        return None
    try:
        return base64.b64decode(match[1], validate=True).decode("ascii", "replace")
    except binascii.Error as error:
        raise CertificateError(f"its client-certificate-data cannot be decoded: {error}") from error
