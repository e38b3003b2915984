# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes of a backup one that is as whole, and of a cluster with another CA; prints the hash of that.

Run with the backup, the secret key, the public key, and the file to write.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile

CA = "etc/kubernetes/pki/ca.crt"
backup, identity, recipient, target = sys.argv[1:]


def run(*command: str, data: bytes = b"") -> bytes:
    """Run a command, and return what it printed."""
    return subprocess.run(command, input=data, check=True, stdout=subprocess.PIPE).stdout


request = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null")
certificate = run(*request, "-subj", "/CN=kubernetes")
public = run("openssl", "x509", "-noout", "-pubkey", data=certificate)
spki = run("openssl", "pkey", "-pubin", "-outform", "der", data=public)
ca_cert_hash = f"sha256:{hashlib.sha256(spki).hexdigest()}"

packed = run("age", "--decrypt", "--identity", identity, backup)
made = io.BytesIO()
with (
    tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as old,
    tarfile.open(fileobj=made, mode="w:gz", format=tarfile.PAX_FORMAT) as new,
):
    for entry in old:
        file = old.extractfile(entry) if entry.isreg() else None
        data = file.read() if file else b""
        if entry.name == "manifest.json":
            manifest = json.loads(data)
            manifest["ca_cert_hash"] = ca_cert_hash
            checksum = {"sha256": hashlib.sha256(certificate).hexdigest(), "size": len(certificate)}
            manifest["files"][CA].update(checksum)
            data = json.dumps(manifest).encode()
        elif entry.name == CA:
            data = certificate
        entry.size = len(data)
        new.addfile(entry, io.BytesIO(data))
run("age", "--encrypt", "--recipient", recipient, "--output", target, data=made.getvalue())
print(ca_cert_hash)
