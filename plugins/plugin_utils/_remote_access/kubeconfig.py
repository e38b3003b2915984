# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's place in the kubeconfig of a person, beside the others that are there."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.plugin_utils._remote_access import kubeconfig_text

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    # The oldest in which a certificate says when it ends without a warning.
    HAS_CRYPTOGRAPHY = hasattr(x509.Certificate, "not_valid_after_utc")
except ImportError:
    HAS_CRYPTOGRAPHY = False


# What kubectl would take beside, or in place of, what is entered here.
_OTHER_TRUST = frozenset(("certificate-authority", "insecure-skip-tls-verify"))
_OTHER_LOGINS = frozenset(
    (
        "client-certificate",
        "client-key",
        "token",
        "tokenFile",
        "username",
        "password",
        "auth-provider",
        "exec",
    )
)


class RemoteKubeconfigError(BrambleError):
    """The kubeconfig cannot take the cluster in."""


class Names(NamedTuple):
    """What the cluster is called in the kubeconfig."""

    cluster: str
    context: str
    user: str


class Credentials(NamedTuple):
    """A client certificate and its key, as PEM."""

    certificate: str
    key: str


def require_library() -> None:
    """Refuse to go without what reads certificates."""
    if not HAS_CRYPTOGRAPHY:
        raise RemoteKubeconfigError(
            "the Python library cryptography is missing on the controller, or older than 42: run "
            "pip install -r requirements.txt"
        )


def load(text: str) -> dict[str, Any]:
    """Read a kubeconfig, its scalars as the text that they are; an empty one is as kubectl makes it."""
    try:
        config = kubeconfig_text.load(text)
    except kubeconfig_text.KubeconfigTextError as error:
        raise RemoteKubeconfigError(str(error)) from error
    if config is None:
        config = {"apiVersion": "v1", "kind": "Config"}
    if not isinstance(config, dict) or (config.get("kind") or "Config") != "Config":
        raise RemoteKubeconfigError("it is not a kubeconfig, which is a mapping with the kind Config")
    for part in ("clusters", "contexts", "users"):
        entries = config.get(part) or []
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict)
            and isinstance(entry.get("name"), str)
            and isinstance(entry.get(part[:-1]) or {}, dict)
            for entry in entries
        ):
            raise RemoteKubeconfigError(f"its {part} are no list of entries with names")
        names = [entry["name"] for entry in entries]
        for name in names:
            # kubectl refuses the whole file then.
            if names.count(name) > 1:
                raise RemoteKubeconfigError(
                    f"its {part} have the name {name} {names.count(name)} times; expected each name once: "
                    "remove all but one"
                )
    return config


def changed(text: str, config: Mapping[str, Any]) -> str:
    """Return the text of a kubeconfig, changed to what ``config`` says and nowhere else."""
    return kubeconfig_text.changed(text, config)


def _entry(config: Mapping[str, Any], part: str, name: str) -> dict[str, Any]:
    """Return what an entry holds, without its name; empty if there is none."""
    kind = part.rstrip("s")
    for entry in config.get(part) or []:
        if entry["name"] == name:
            return dict(entry.get(kind) or {})
    return {}


def _encoded(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()


def _decoded(data: Any) -> str:
    try:
        return base64.b64decode(str(data or ""), validate=True).decode()
    except ValueError:
        return ""


def require_room(config: Mapping[str, Any], *, names: Names, server: str, ca: str) -> None:
    """Refuse names under which something else is there, or which other contexts use."""
    cluster = _entry(config, "clusters", names.cluster)
    if (
        cluster
        and cluster.get("server") != server
        and cluster.get("certificate-authority-data") != _encoded(ca)
    ):
        raise RemoteKubeconfigError(
            f"it has another cluster named {names.cluster}, at {cluster.get('server')}; expected a name "
            "that is free: set remote_access_cluster_name, remote_access_context_name and "
            f"remote_access_user_name, or remove it: kubectl config delete-cluster {names.cluster}"
        )
    context = _entry(config, "contexts", names.context)
    if context and (context.get("cluster"), context.get("user")) != (names.cluster, names.user):
        raise RemoteKubeconfigError(
            f"its context {names.context} is for {context.get('cluster')} as {context.get('user')}; expected "
            "a name that is free: set remote_access_context_name"
        )
    for entry in config.get("contexts") or []:
        uses = dict(entry.get("context") or {})
        if entry["name"] != names.context and uses.get("user") == names.user:
            raise RemoteKubeconfigError(
                f"its context {entry['name']} uses the user {names.user}; expected a name that is free: set "
                "remote_access_user_name"
            )


def _others(entry: Mapping[str, Any], replaced: frozenset[str]) -> dict[str, Any]:
    """Return what its user has put into an entry of ours, such as a proxy, without what ours replaces."""
    return {key: value for key, value in entry.items() if key not in replaced}


def merged(
    config: Mapping[str, Any], *, names: Names, server: str, ca: str, credentials: Credentials
) -> dict[str, Any]:
    """Return the kubeconfig with the cluster in it; all else stays, in its order."""
    ours = {
        "clusters": (
            names.cluster,
            {
                "cluster": {
                    **_others(_entry(config, "clusters", names.cluster), _OTHER_TRUST),
                    "certificate-authority-data": _encoded(ca),
                    "server": server,
                }
            },
        ),
        "contexts": (
            names.context,
            {
                "context": {
                    # A namespace that its user has chosen is kept.
                    **_entry(config, "contexts", names.context),
                    "cluster": names.cluster,
                    "user": names.user,
                }
            },
        ),
        "users": (
            names.user,
            {
                "user": {
                    **_others(_entry(config, "users", names.user), _OTHER_LOGINS),
                    "client-certificate-data": _encoded(credentials.certificate),
                    "client-key-data": _encoded(credentials.key),
                }
            },
        ),
    }
    result = dict(config)
    for part, (name, content) in ours.items():
        entries = list(config.get(part) or [])
        new = {"name": name, **content}
        places = [number for number, entry in enumerate(entries) if entry["name"] == name]
        if places:
            entries[places[0]] = {**entries[places[0]], **new}
        else:
            entries.append(new)
        result[part] = entries
    # Which cluster its user speaks to is not changed.
    if not result.get("current-context"):
        result["current-context"] = names.context
    return result


def without(config: Mapping[str, Any], *, names: Names) -> dict[str, Any]:
    """Return the kubeconfig without the cluster."""
    result = dict(config)
    for part, name in zip(("clusters", "contexts", "users"), (names.cluster, names.context, names.user)):
        if part in config:
            result[part] = [entry for entry in config[part] or [] if entry["name"] != name]
    if result.get("current-context") == names.context:
        result["current-context"] = ""
    return result


def usable(
    config: Mapping[str, Any], *, names: Names, ca: str, common_name: str, until: datetime.datetime
) -> Credentials | None:
    """Return the certificate and key that are there, if the cluster takes them until then."""
    user = _entry(config, "users", names.user)
    found = Credentials(_decoded(user.get("client-certificate-data")), _decoded(user.get("client-key-data")))
    return found if is_usable(found, ca=ca, common_name=common_name, until=until) else None


def is_usable(found: Credentials, *, ca: str, common_name: str, until: datetime.datetime) -> bool:
    """Tell whether the cluster takes a certificate and its key until then."""
    try:
        certificate = x509.load_pem_x509_certificate(found.certificate.encode())
        key = serialization.load_pem_private_key(found.key.encode(), password=None)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.encode()))
    except (ValueError, TypeError, InvalidSignature):
        return False
    name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return (
        [attribute.value for attribute in name] == [common_name]
        and certificate.public_key() == key.public_key()
        and certificate.not_valid_after_utc >= until
    )


def request(*, common_name: str) -> tuple[str, str]:
    """Make a key, and the request for its certificate; both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode(), csr.public_bytes(serialization.Encoding.PEM).decode()


def signing_request(*, name: str, csr: str) -> dict[str, Any]:
    """Return the object that asks the cluster to sign."""
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": _encoded(csr),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    }


def certificate_names(pem: str) -> list[str]:
    """Return the names and addresses that a server's certificate is for."""
    require_library()
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise RemoteKubeconfigError(f"this is not a certificate: {error}") from error
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    ]
