# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority of the image mirror, and the certificate that it signs for the mirror's registries."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Sequence

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, replace_file
from ansible_collections.bramble.pi.plugins.module_utils._common.values import is_address
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror.configuration import (
    CA,
    CA_KEY,
    CERTIFICATE,
    KEY,
)

#: The authority is for the rack's life; nodes get its certificate by each run.
_CA_DAYS = 7300
_DAYS = 365
RENEW_BEFORE_DAYS = 60
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_CONFIGURATION = """[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {names}
"""
_NAMES = re.compile(r"(DNS|IP Address):([^,\s]+)")


def alternative_name(host: str) -> str:
    """Return a name or an address as openssl has it in a certificate's list."""
    return f"{'IP' if is_address(host) else 'DNS'}:{host}"


def names_in(text: str) -> list[str]:
    """Read the names of a certificate from what ``openssl x509 -ext subjectAltName`` printed."""
    return [f"{'IP' if kind != 'DNS' else kind}:{name}" for kind, name in _NAMES.findall(text)]


class Authority:
    """Makes the authority once, and the certificate as often as it is due."""

    def __init__(self, *, run: Runner, changes: Changes) -> None:
        self._run = run
        self._changes = changes

    def ensure(self, *, hosts: Sequence[str], owner: tuple[int, int]) -> bool:
        """Ensure that there is a certificate for these names, and tell whether it is a new one.

        ``owner`` reads its key.
        """
        made = not (os.path.exists(CA) and os.path.exists(CA_KEY))
        names = [alternative_name(host) for host in hosts]
        if not made and not self._is_due(names):
            return False
        if made and self._changes.note(f"make the authority {CA}"):
            self._make()
        if self._changes.note(f"sign {CERTIFICATE} for {', '.join(hosts)}"):
            self._sign(hosts[0], names, owner)
        return True

    def _is_due(self, names: Sequence[str]) -> bool:
        if not (os.path.exists(CERTIFICATE) and os.path.exists(KEY)):
            return True
        before = str(RENEW_BEFORE_DAYS * 86400)
        asked = ("openssl", "x509", "-in", CERTIFICATE, "-noout")
        public = (("openssl", "pkey", "-in", KEY, "-pubout"), (*asked, "-pubkey"))
        return (
            self._run([*asked, "-checkend", before])[0] != 0
            or self._run(["openssl", "verify", "-CAfile", CA, CERTIFICATE])[0] != 0
            or sorted(names_in(self._run([*asked, "-ext", "subjectAltName"])[1])) != sorted(names)
            # A run that was killed has put only one of them there.
            or len({self._run(list(command))[1] for command in public}) != 1
        )

    def _make(self) -> None:
        with tempfile.TemporaryDirectory(prefix="bramble-") as folder:
            settings = self._settings(folder, name="bramble.pi image mirror", names="DNS:unused")
            key, certificate = f"{folder}/ca.key", f"{folder}/ca.crt"
            command = ["openssl", "req", "-x509", "-config", settings, "-extensions", "ca", *_NEW_KEY]
            command += ["-days", str(_CA_DAYS), "-keyout", key, "-out", certificate]
            output_of(self._run, command)
            # What is told to nodes last: without it all of this is done again.
            _put(CA_KEY, key, mode=0o600, owner=(0, 0))
            _put(CA, certificate, mode=0o644, owner=(0, 0))

    def _sign(self, name: str, names: Sequence[str], owner: tuple[int, int]) -> None:
        with tempfile.TemporaryDirectory(prefix="bramble-") as folder:
            settings = self._settings(folder, name=name, names=", ".join(names))
            key, request, certificate = (f"{folder}/{each}" for each in ("tls.key", "tls.csr", "tls.crt"))
            command = ["openssl", "req", "-new", "-config", settings, *_NEW_KEY, "-keyout", key]
            output_of(self._run, [*command, "-out", request])
            command = ["openssl", "x509", "-req", "-in", request, "-CA", CA, "-CAkey", CA_KEY]
            command += ["-set_serial", f"0x{secrets.token_hex(16)}", "-days", str(_DAYS)]
            command += ["-extfile", settings, "-extensions", "server", "-out", certificate]
            output_of(self._run, command)
            _put(KEY, key, mode=0o600, owner=owner)
            _put(CERTIFICATE, certificate, mode=0o644, owner=(0, 0))

    @staticmethod
    def _settings(folder: str, *, name: str, names: str) -> str:
        path = f"{folder}/openssl.cnf"
        replace_file(path, _CONFIGURATION.format(name=name, names=names).encode())
        return path


def _put(path: str, source: str, *, mode: int, owner: tuple[int, int]) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    replace_file(path, (read_text(source) or "").encode(), mode=mode, owner=owner)
