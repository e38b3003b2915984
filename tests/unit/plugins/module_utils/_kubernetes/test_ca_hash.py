# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import contextlib
import re
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import (
    CaCertError,
    ca_cert_hash,
    ca_cert_hashes,
)
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures" / "ca_cert"

# What `openssl x509 -pubkey -noout | openssl pkey -pubin -outform DER | sha256sum` says of each file.
HASHES = {
    "rsa.crt": "f9ff1529ab426b391a665cda3b1df7d9a3950da11045dd8c634e605ef835a58c",
    "rsa4096.crt": "d60a242db2dc1ebc809c89d0d29d62bd366196ee9baa83423f1f47db8a34553e",
    "ecdsa.crt": "0fffefc56e995a82f8966f6d22d96bbe4ad95e32bfaa7f7a591a1fb935e9a206",
    "ed25519.crt": "047058a07ded253045b080cf23d05767e43719667cb70af12dd937ccb30bafae",
    # The same key as ecdsa.crt in a certificate without the version field.
    "version1.crt": "0fffefc56e995a82f8966f6d22d96bbe4ad95e32bfaa7f7a591a1fb935e9a206",
}
RSA = (FIXTURES / "rsa.crt").read_text()
ECDSA = (FIXTURES / "ecdsa.crt").read_text()


@pytest.mark.parametrize(("name", "digest"), HASHES.items())
def test_hash_is_what_openssl_computes(name: str, digest: str) -> None:
    assert ca_cert_hash((FIXTURES / name).read_text()) == f"sha256:{digest}"


@pytest.mark.parametrize(
    "pem",
    [
        pytest.param(RSA.replace("\n", "\r\n"), id="Windows line ends"),
        pytest.param(RSA.rstrip("\n"), id="no newline at the end"),
        pytest.param("subject=CN = kubernetes\n" + RSA + "trailing words\n", id="text around it"),
        pytest.param(RSA + ECDSA, id="a second certificate after it"),
        pytest.param(
            "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIA==\n-----END EC PRIVATE KEY-----\n" + RSA,
            id="a key before it",
        ),
    ],
)
def test_first_certificate_counts(pem: str) -> None:
    assert ca_cert_hash(pem) == f"sha256:{HASHES['rsa.crt']}"


def test_all_certificates_in_order() -> None:
    assert ca_cert_hashes(RSA + ECDSA) == [f"sha256:{HASHES[name]}" for name in ("rsa.crt", "ecdsa.crt")]


def _pem(der: bytes) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(der).decode()}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        ("", "no -----BEGIN CERTIFICATE-----"),
        ("-----BEGIN CERTIFICATE-----\n", "no -----BEGIN CERTIFICATE-----"),
        (RSA.replace("MII", "M*I"), "base64"),
        (_pem(b""), "ends before its outer sequence"),
        (_pem(b"\x31\x00"), "0x31 where 0x30"),
        (_pem(b"\x30\x82\x05\x00"), "longer than the certificate"),
        (_pem(b"\x30\x80\x30\x80"), "length that DER does not allow"),
        (_pem(b"\x30\x04\x30\x02\x02\x00"), "ends before its signature algorithm"),
    ],
)
def test_anything_else_is_refused(pem: str, reason: str) -> None:
    with pytest.raises(CaCertError, match=re.escape(reason)):
        ca_cert_hash(pem)


@given(st.binary(max_size=200))
def test_damage_never_crashes(der: bytes) -> None:
    with contextlib.suppress(CaCertError):
        assert re.fullmatch("sha256:[0-9a-f]{64}", ca_cert_hash(_pem(der)))


@given(st.integers(min_value=0, max_value=2000))
def test_a_cut_off_file_is_refused(length: int) -> None:
    cut = RSA[:length]
    if len(cut) < len(RSA.rstrip("\n")):
        with pytest.raises(CaCertError):
            ca_cert_hash(cut)
