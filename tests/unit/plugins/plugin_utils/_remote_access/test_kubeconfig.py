# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import copy
import datetime
import ipaddress
import re
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import kubeconfig
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = kubeconfig.Names("rpi-cluster", "rpi", "rpi-ada")
SERVER = "https://192.168.1.50:6443"
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
# As kubectl writes one, with more in it than we know of.
OTHERS = """\
apiVersion: v1
clusters:
- cluster:
    insecure-skip-tls-verify: true
    server: https://work.example.org
  name: work
contexts:
- context:
    cluster: work
    namespace: team
    user: me
  name: work
current-context: work
kind: Config
preferences:
  colors: true
users:
- name: me
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: login
"""


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Signs, as a cluster does."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("kubernetes", self.key.public_key(), 3650)
        self.ca = pem(self.certificate)

    def _sign(self, subject: str, key: Any, days: int, *names: x509.GeneralName) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("kubernetes"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(days=1))
            .not_valid_after(NOW + datetime.timedelta(days=days))
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def sign(self, csr: str, *, days: int = 365) -> str:
        request = x509.load_pem_x509_csr(csr.encode())
        assert request.is_signature_valid
        subject = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        return pem(self._sign(str(subject), request.public_key(), days))

    def server(self, *names: x509.GeneralName) -> str:
        return pem(self._sign("kube-apiserver", self.key.public_key(), 365, *names))

    def credentials(self, common_name: str = "remote:ada", *, days: int = 365) -> kubeconfig.Credentials:
        key, csr = kubeconfig.request(common_name=common_name)
        return kubeconfig.Credentials(self.sign(csr, days=days), key)


OURS = Authority()
ADA = OURS.credentials()


def merged(config: dict[str, Any], credentials: kubeconfig.Credentials = ADA) -> dict[str, Any]:
    return kubeconfig.merged(config, names=NAMES, server=SERVER, ca=OURS.ca, credentials=credentials)


def usable(config: dict[str, Any], *, ca: str = OURS.ca, common_name: str = "remote:ada") -> Any:
    until = NOW + datetime.timedelta(days=30)
    return kubeconfig.usable(config, names=NAMES, ca=ca, common_name=common_name, until=until)


def test_first_cluster_of_a_user() -> None:
    config = merged(kubeconfig.load(""))
    assert kubeconfig.load(kubeconfig.changed("", config)) == config
    assert config["current-context"] == "rpi"
    assert config["contexts"] == [{"name": "rpi", "context": {"cluster": "rpi-cluster", "user": "rpi-ada"}}]
    assert usable(config) == ADA


def test_others_are_kept_as_they_are_and_are_what_is_left() -> None:
    before = kubeconfig.load(OTHERS)
    untouched = copy.deepcopy(before)
    after = merged(before)
    assert before == untouched
    assert after["current-context"] == "work"
    assert after["clusters"][0] == before["clusters"][0]
    assert after["preferences"] == before["preferences"]
    assert merged(after) == after
    assert kubeconfig.without(after, names=NAMES) == before


def test_namespace_that_was_chosen_is_kept() -> None:
    config = merged(kubeconfig.load(OTHERS))
    config["contexts"][1]["context"]["namespace"] = "lab"
    assert merged(config)["contexts"][1]["context"]["namespace"] == "lab"


def test_what_was_put_into_our_entries_is_kept() -> None:
    config = merged(kubeconfig.load(OTHERS))
    for part, kind, own, replaced in (
        ("clusters", "cluster", "proxy-url", "insecure-skip-tls-verify"),
        ("clusters", "cluster", "tls-server-name", "certificate-authority"),
        ("users", "user", "as", "token"),
    ):
        config[part][1][kind][own] = config[part][1][kind][replaced] = "text"
    again = merged(config)
    assert [again["clusters"][1]["cluster"].get(key) for key in ("proxy-url", "tls-server-name")] == [
        "text",
        "text",
    ]
    assert again["users"][1]["user"]["as"] == "text"
    assert {"insecure-skip-tls-verify", "certificate-authority"}.isdisjoint(again["clusters"][1]["cluster"])
    assert "token" not in again["users"][1]["user"]


def test_chosen_context_that_is_taken_out_is_no_longer_chosen() -> None:
    assert kubeconfig.without(merged(kubeconfig.load("")), names=NAMES)["current-context"] == ""


@pytest.mark.parametrize(
    ("what", "credentials", "arguments"),
    [
        ("it is for somebody else", ADA, {"common_name": "remote:bob"}),
        ("it ends too soon", OURS.credentials(days=29), {}),
        ("another cluster signed it", Authority().credentials(), {}),
        ("the key is another one", kubeconfig.Credentials(ADA.certificate, OURS.credentials().key), {}),
        ("there is none", kubeconfig.Credentials("", ""), {}),
        ("it is none", kubeconfig.Credentials("certificate", "key"), {}),
    ],
)
def test_certificate_that_is_made_anew(
    what: str, credentials: kubeconfig.Credentials, arguments: dict[str, str]
) -> None:
    assert usable(merged(kubeconfig.load(OTHERS), credentials), **arguments) is None, what


def test_cluster_that_was_made_anew_at_the_same_address_replaces_itself() -> None:
    config = merged(kubeconfig.load(OTHERS))
    again = Authority()
    kubeconfig.require_room(config, names=NAMES, server=SERVER, ca=again.ca)
    assert usable(config, ca=again.ca) is None


def test_cluster_that_moved_keeps_its_name() -> None:
    config = merged(kubeconfig.load(OTHERS))
    kubeconfig.require_room(config, names=NAMES, server="https://rack.example.org:6443", ca=OURS.ca)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (NAMES._replace(cluster="work"), "another cluster named work, at https://work.example.org"),
        (NAMES._replace(context="work"), "its context work is for work as me"),
        (NAMES._replace(user="me"), "its context work uses the user me"),
    ],
)
def test_names_of_others_are_refused(names: kubeconfig.Names, words: str) -> None:
    with pytest.raises(kubeconfig.RemoteKubeconfigError, match=re.escape(words)) as caught:
        kubeconfig.require_room(kubeconfig.load(OTHERS), names=names, server=SERVER, ca=OURS.ca)
    assert "set remote_access_" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "it is not YAML"),
        ("[]", "it is not a kubeconfig"),
        ("kind: Pod", "it is not a kubeconfig"),
        ("clusters: {}\nusers: 5", "its users are no list"),
        ("users: [{name: a, user: b}]", "its users are no list of entries"),
        ("users: [{name: a}, {name: b}, {name: a}]", "its users have the name a 2 times"),
        ("contexts: [{context: {}}]", "its contexts are no list of entries with names"),
    ],
)
def test_files_that_are_no_kubeconfig(text: str, words: str) -> None:
    with pytest.raises(kubeconfig.RemoteKubeconfigError, match=words):
        kubeconfig.load(text)


def test_request_for_the_cluster() -> None:
    _key, csr = kubeconfig.request(common_name="remote:ada")
    desired = kubeconfig.signing_request(name="bramble-1", csr=csr)
    assert base64.b64decode(desired["spec"]["request"]).decode() == csr
    assert desired["spec"]["signerName"] == "kubernetes.io/kube-apiserver-client"
    assert yaml.safe_load(yaml.safe_dump(desired)) == desired


def test_names_of_a_certificate() -> None:
    address = x509.IPAddress(ipaddress.ip_address("192.168.1.50"))
    certificate = OURS.server(x509.DNSName("kubernetes"), address, x509.DNSName("pi-1"))
    assert kubeconfig.certificate_names(certificate) == ["kubernetes", "pi-1", "192.168.1.50"]
    assert kubeconfig.certificate_names(OURS.ca) == []
    with pytest.raises(kubeconfig.RemoteKubeconfigError, match="not a certificate"):
        kubeconfig.certificate_names("")
