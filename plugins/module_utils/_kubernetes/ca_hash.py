# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hash by which kubeadm knows a cluster's CA, computed from the certificate itself.

It is the SHA-256 of the DER SubjectPublicKeyInfo (RFC 7469's pin, written in hexadecimal). Nodes have
no library for X.509, so the few DER elements in front of that field are walked here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

_PEM_CERTIFICATE = re.compile(
    r"^-----BEGIN CERTIFICATE-----[ \t]*\r?$(?P<body>.*?)^-----END CERTIFICATE-----[ \t]*\r?$",
    re.MULTILINE | re.DOTALL,
)
_INTEGER = 0x02
_SEQUENCE = 0x30
_EXPLICIT_VERSION = 0xA0


class CaCertError(BrambleError):
    """The text is not a CA certificate in PEM form."""


def element(*, der: bytes, offset: int, end: int, tag: int, field: str) -> tuple[int, int]:
    """Return where the content of the DER element at offset begins and ends."""
    if offset + 2 > end:
        raise CaCertError(f"the certificate ends before its {field}")
    if der[offset] != tag:
        raise CaCertError(
            f"the certificate has the DER tag {der[offset]:#04x} where {tag:#04x} ({field}) is expected"
        )
    length = der[offset + 1]
    start = offset + 2
    if length & 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4 or start + octets > end:
            raise CaCertError(f"the certificate's {field} has a length that DER does not allow")
        length = int.from_bytes(der[start : start + octets], "big")
        start += octets
    if start + length > end:
        raise CaCertError(f"the certificate's {field} is longer than the certificate")
    return start, start + length


def _fields(der: bytes) -> dict[str, tuple[int, int]]:
    """Return where the content of the fields in front of the key is, and by "key" where the key may begin."""
    fields = {}
    offset, end = element(der=der, offset=0, end=len(der), tag=_SEQUENCE, field="outer sequence")
    offset, end = element(der=der, offset=offset, end=end, tag=_SEQUENCE, field="TBSCertificate")
    # Version 1 certificates leave the version out.
    if der[offset : offset + 1] == bytes([_EXPLICIT_VERSION]):
        _start, offset = element(der=der, offset=offset, end=end, tag=_EXPLICIT_VERSION, field="version")
    for tag, field in (
        (_INTEGER, "serial number"),
        (_SEQUENCE, "signature algorithm"),
        (_SEQUENCE, "issuer"),
        (_SEQUENCE, "validity"),
        (_SEQUENCE, "subject"),
    ):
        start, offset = element(der=der, offset=offset, end=end, tag=tag, field=field)
        fields[field] = (start, offset)
    fields["key"] = (offset, end)
    return fields


def validity(der: bytes) -> tuple[int, int]:
    """Return where in a DER certificate the content of its validity is."""
    return _fields(der)["validity"]


def _subject_public_key_info(der: bytes) -> bytes:
    """Return the encoded SubjectPublicKeyInfo of a DER certificate (RFC 5280, section 4.1)."""
    offset, end = _fields(der)["key"]
    _start, after = element(der=der, offset=offset, end=end, tag=_SEQUENCE, field="SubjectPublicKeyInfo")
    return der[offset:after]


def certificates(pem: str) -> list[bytes]:
    """Return every certificate in the text in DER, in order; other PEM blocks are passed over."""
    found = []
    for block in _PEM_CERTIFICATE.finditer(pem):
        try:
            found.append(base64.b64decode("".join(block["body"].split()), validate=True))
        except binascii.Error as error:
            raise CaCertError(f"the certificate's base64 cannot be decoded: {error}") from error
    if not found:
        raise CaCertError("there is no -----BEGIN CERTIFICATE----- block in the text")
    return found


def ca_cert_hashes(pem: str) -> list[str]:
    """Return the hash of every certificate in the text, in order."""
    return [
        "sha256:" + hashlib.sha256(_subject_public_key_info(der)).hexdigest() for der in certificates(pem)
    ]


def ca_cert_hash(pem: str) -> str:
    """Return ``sha256:<hex>`` of the first certificate, which is the one that kubeadm signs with."""
    return ca_cert_hashes(pem)[0]
