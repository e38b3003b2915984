# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action client_certificate keeps and renews; the cluster is one key that signs."""

from __future__ import annotations

import base64
import datetime
import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.action.client_certificate import ActionModule
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.timezone.utc)
USER = "bramble:monitoring"


class Cluster:
    """A control plane, as far as the modules that are run there see it."""

    def __init__(self, *, days: int = 365) -> None:
        self.days = days
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca = self._certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]), self.key)
        self.requests: dict[str, dict[str, Any]] = {}
        self.commands: list[str] = []

    def _certificate(self, subject: x509.Name, key: Any) -> str:
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(days=1))
            .not_valid_after(NOW + datetime.timedelta(days=self.days))
            .sign(self.key, hashes.SHA256())
        )
        return built.public_bytes(serialization.Encoding.PEM).decode()

    def execute(self, module: str, arguments: dict[str, Any], **_more: Any) -> dict[str, Any]:
        if module == "ansible.legacy.slurp":
            return {"content": base64.b64encode(self.ca.encode()).decode()}
        words = [word for word in arguments["argv"][1:] if not word.startswith("--")]
        self.commands.append(words[0])
        if words[0] == "create":
            found = json.loads(arguments["stdin"])
            self.requests[found["metadata"]["name"]] = found
        elif words[0] == "certificate":
            request = self.requests[words[2]]
            csr = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
            pem = self._certificate(csr.subject, csr)
            request["status"] = {"certificate": base64.b64encode(pem.encode()).decode()}
        elif words[0] == "delete":
            del self.requests[words[2]]
        else:
            return {"rc": 0, "stdout": json.dumps(self.requests[words[2]])}
        return {"rc": 0, "stdout": ""}


def run(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, present: str = "", *, check: bool = False) -> Any:
    task = SimpleNamespace(
        args={"common_name": USER, "present": present},
        async_val=0,
        check_mode=check,
        diff=False,
        action="client_certificate",
    )
    connection = SimpleNamespace(transport="ssh", _shell=SimpleNamespace(tmpdir=None))
    action = ActionModule(task, connection, None, None, None, None)
    monkeypatch.setattr(action, "_execute_module", cluster.execute)
    return action.run(task_vars={})


def test_in_four_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    checked = run(monkeypatch, cluster, check=True)
    assert (checked["changed"], checked["certificate"], cluster.commands) == (True, "", [])
    made = run(monkeypatch, cluster)
    assert made["changed"]
    assert made["ca"] == cluster.ca
    assert cluster.commands == ["create", "certificate", "get", "delete"]
    name = x509.load_pem_x509_certificate(made["certificate"].encode()).subject
    assert name.rfc4514_string() == f"CN={USER}"
    for check in (True, False):
        again = run(monkeypatch, cluster, made["certificate"], check=check)
        assert (again["changed"], again["certificate"]) == (False, made["certificate"])
    assert cluster.requests == {}


@pytest.mark.parametrize("present", ["", "half a certificate"])
def test_what_is_none_is_made(monkeypatch: pytest.MonkeyPatch, present: str) -> None:
    assert run(monkeypatch, Cluster(), present)["changed"]


def test_one_that_ends_within_60_days_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(days=59)
    made = run(monkeypatch, cluster)["certificate"]
    assert run(monkeypatch, cluster, made)["changed"]
    cluster = Cluster(days=61)
    made = run(monkeypatch, cluster)["certificate"]
    assert not run(monkeypatch, cluster, made)["changed"]


def test_one_of_another_cluster_is_no_good(monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(monkeypatch, Cluster())["certificate"]
    assert run(monkeypatch, Cluster(), made)["changed"]
