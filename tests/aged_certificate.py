# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign certificates of a cluster again as if they had been made a year ago.

usage: python -m tests.aged_certificate SECONDS FILE...     they expire in so many seconds
"""

from __future__ import annotations

import base64
import re
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

KUBERNETES = Path("/etc/kubernetes")
_DATA = re.compile(r"(client-certificate-data: )(\S+)")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)


def authority_of(path: str) -> str:
    """Return what has signed a file, below /etc/kubernetes and without its suffix."""
    if "/etcd/" in path or "apiserver-etcd-client" in path:
        return "pki/etcd/ca"
    return "pki/front-proxy-ca" if "front-proxy-client" in path else "pki/ca"


def aged(text: str, *, key: str, seconds: int) -> str:
    """Return a certificate, or a kubeconfig or pair with one, signed again with the authority's key."""
    if data := _DATA.search(text):
        pem = aged(base64.b64decode(data[2]).decode(), key=key, seconds=seconds)
        return _DATA.sub(lambda match: match[1] + base64.b64encode(pem.encode()).decode(), text)
    present = x509.load_pem_x509_certificate(text.encode())
    ends = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    builder = x509.CertificateBuilder(
        issuer_name=present.issuer,
        subject_name=present.subject,
        public_key=present.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=ends - timedelta(days=365),
        not_valid_after=ends,
        extensions=list(present.extensions),
    )
    signer = serialization.load_pem_private_key(key.encode(), None)
    signed = builder.sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    pem = signed.public_bytes(serialization.Encoding.PEM).decode()
    return _PEM.sub(lambda _match: pem, text, count=1)


def main() -> None:
    """Age files in place."""
    seconds, *paths = sys.argv[1:]
    for path in map(Path, paths):
        key = (KUBERNETES / f"{authority_of(str(path))}.key").read_text()
        path.write_text(aged(path.read_text(), key=key, seconds=int(seconds)))


if __name__ == "__main__":
    main()
