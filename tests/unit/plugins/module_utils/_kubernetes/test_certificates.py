# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import contextlib
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import certificates
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = sorted((Path(__file__).parents[3] / "fixtures" / "ca_cert").glob("*.crt"))


def openssl_says(path: Path) -> datetime:
    """Return the end that openssl reads."""
    line = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate", "-in", path], check=True, capture_output=True, text=True
    ).stdout
    moment = datetime.strptime(line.strip(), "notAfter=%b %d %H:%M:%S %Y GMT")
    return moment.replace(tzinfo=timezone.utc)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_openssl_says_the_same(path: Path) -> None:
    assert certificates.period(pem=path.read_text())[1] == openssl_says(path)


@pytest.mark.parametrize("days", [1, 365, 20000, 40000])
def test_any_year(tmp_path: Path, days: int) -> None:
    """From 2050 on the time has another form."""
    path = tmp_path / "own.crt"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "/dev/null"]
    subprocess.run(
        ["openssl", "req", "-x509", *key, "-subj", "/CN=x", "-days", str(days), "-out", path],
        check=True,
        capture_output=True,
    )
    assert certificates.period(pem=path.read_text())[1] == openssl_says(path)


def test_the_first_of_several_to_expire_counts(tmp_path: Path) -> None:
    texts = []
    for days in (300, 3):
        path = tmp_path / f"{days}.crt"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "/dev/null"]
        subprocess.run(
            ["openssl", "req", "-x509", *key, "-subj", "/CN=x", "-days", str(days), "-out", path],
            check=True,
            capture_output=True,
        )
        texts.append(path.read_text())
    assert certificates.period(pem="".join(texts))[1] == openssl_says(tmp_path / "3.crt")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no -----BEGIN CERTIFICATE----- block"),
        ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "base64"),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "ends before"),
    ],
)
def test_what_is_no_certificate(text: str, says: str) -> None:
    with pytest.raises(certificates.CertificateError, match=says):
        certificates.period(pem=text)


def test_a_time_that_there_is_not() -> None:
    body = FIXTURES[0].read_text()
    der = base64.b64decode("".join(re.findall(r"^[A-Za-z0-9+/=]+$", body, re.MULTILINE)))
    broken = der.replace(b"361118053901Z", b"361399053901Z")
    assert broken != der
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(broken).decode()}\n-----END CERTIFICATE-----\n"
    with pytest.raises(certificates.CertificateError, match="361399053901Z"):
        certificates.period(pem=pem)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_be_refused(der: bytes) -> None:
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(der).decode()}\n-----END CERTIFICATE-----\n"
    with contextlib.suppress(certificates.CertificateError):
        certificates.period(pem=pem)


@given(st.integers(min_value=0), st.binary(min_size=1, max_size=4))
def test_no_damage_does_worse_than_be_refused(position: int, damage: bytes) -> None:
    text = FIXTURES[0].read_text()
    der = bytearray(base64.b64decode("".join(re.findall(r"^[A-Za-z0-9+/=]+$", text, re.MULTILINE))))
    start = position % len(der)
    der[start : start + len(damage)] = damage
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(der).decode()}\n-----END CERTIFICATE-----\n"
    with contextlib.suppress(certificates.CertificateError):
        certificates.period(pem=pem)


def test_client_certificate_of_a_kubeconfig() -> None:
    certificate = FIXTURES[0].read_text()
    data = base64.b64encode(certificate.encode()).decode()
    assert (
        certificates.client_certificate(kubeconfig=f"users:\n- user:\n    client-certificate-data: {data}\n")
        == certificate
    )
    # The kubelet's names a file.
    assert (
        certificates.client_certificate(kubeconfig="users:\n- user:\n    client-certificate: /x.pem\n")
        is None
    )
    assert certificates.client_certificate(kubeconfig="") is None
    with pytest.raises(certificates.CertificateError, match="cannot be decoded"):
        certificates.client_certificate(kubeconfig="    client-certificate-data: abc\n")
