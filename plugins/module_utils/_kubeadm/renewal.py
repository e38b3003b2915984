# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates of a control plane are renewed, and what has to be restarted then.

kubeadm renews each by a name, and by the authority that has signed it. A program of the control plane knows
a new one for certain only when it was started after that was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: What kubeadm signs with, below /etc/kubernetes; these it does not renew.
AUTHORITIES = ("pki/ca", "pki/etcd/ca", "pki/front-proxy-ca")
#: What the program of the timer is told.
TIMER_SETTINGS = "/etc/bramble/certificates.json"
#: The most days before its end that a certificate can be renewed: a third of the year that kubeadm gives
#: one, so that a new one is never due.
MOST_DAYS = 120
#: A certificate that lives for less than three times the days is renewed in the last third of its life.
_PARTS = 3


#: The options of modules that say what is asked of renewals.
OPTIONS: dict[str, dict[str, Any]] = {
    "renew_before": {"type": "int", "default": 60},
    "timeout": {"type": "int", "default": 300},
    "node_name": {"type": "str"},
    "others": {"type": "bool", "default": False},
    "kubeconfigs": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"dest": {"type": "str", "required": True}, "owner": {"type": "str"}},
    },
}


class RenewalError(BrambleError):
    """Certificates cannot be renewed; the message says which, why, and what helps."""


class Signed(NamedTuple):
    """What kubeadm renews."""

    #: What kubeadm calls it.
    name: str
    #: Below /etc/kubernetes; a certificate has .crt and .key.
    path: str
    authority: str
    #: The program that has it open.
    program: str | None

    @property
    def files(self) -> tuple[str, ...]:
        """The files below /etc/kubernetes that kubeadm writes again, the one with the certificate first."""
        if self.path.endswith(".conf"):
            return (self.path,)
        return (f"{self.path}.crt", f"{self.path}.key")


#: In the order in which programs are restarted, each before those that ask it.
SIGNED = (
    Signed("etcd-server", "pki/etcd/server", "pki/etcd/ca", "etcd"),
    Signed("etcd-peer", "pki/etcd/peer", "pki/etcd/ca", "etcd"),
    Signed("apiserver", "pki/apiserver", "pki/ca", "kube-apiserver"),
    Signed("apiserver-etcd-client", "pki/apiserver-etcd-client", "pki/etcd/ca", "kube-apiserver"),
    Signed("apiserver-kubelet-client", "pki/apiserver-kubelet-client", "pki/ca", "kube-apiserver"),
    Signed("front-proxy-client", "pki/front-proxy-client", "pki/front-proxy-ca", "kube-apiserver"),
    Signed("controller-manager.conf", "controller-manager.conf", "pki/ca", "kube-controller-manager"),
    Signed("scheduler.conf", "scheduler.conf", "pki/ca", "kube-scheduler"),
    # Read again each time.
    Signed("etcd-healthcheck-client", "pki/etcd/healthcheck-client", "pki/etcd/ca", None),
    Signed("super-admin.conf", "super-admin.conf", "pki/ca", None),
    Signed("admin.conf", "admin.conf", "pki/ca", None),
)


class Certificate(NamedTuple):
    """A certificate that is there."""

    path: str
    begins: datetime | None = None
    expires: datetime | None = None
    #: Why it cannot be read.
    error: str = ""

    def has_expired(self, *, now: datetime) -> bool:
        """Tell whether it is over; what cannot be read is another matter."""
        return self.expires is not None and self.expires <= now


class Copy(NamedTuple):
    """A user's copy of the administrator's kubeconfig."""

    dest: str
    owner: str | None


@dataclass(frozen=True)
class Wishes:
    """What is asked of renewals."""

    #: Days before its end that a certificate is renewed.
    renew_before: int
    #: Seconds to wait for each program, and for the others' renewals.
    timeout: int
    node_name: str
    #: Whether there are further control planes, so that one waits for the other.
    others: bool = False
    copies: tuple[Copy, ...] = ()
    #: Whether all are renewed, however long they live.
    everything: bool = False

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Wishes:
        """Take them from a module's options, or from the settings of the timer."""
        wishes = cls(
            renew_before=int(parameters["renew_before"]),
            timeout=int(parameters["timeout"]),
            node_name=str(parameters["node_name"]),
            others=bool(parameters["others"]),
            copies=tuple(Copy(str(each["dest"]), each.get("owner")) for each in parameters["kubeconfigs"]),
            everything=parameters.get("renew") == "all",
        )
        check_renew_before(wishes.renew_before)
        return wishes

    def settings(self) -> str:
        """Return them as the text of the timer's settings."""
        content = {
            "renew_before": self.renew_before,
            "timeout": self.timeout,
            "node_name": self.node_name,
            "others": self.others,
            "kubeconfigs": [each._asdict() for each in self.copies],
        }
        return json.dumps(content, indent=2) + "\n"


def check_renew_before(value: Any) -> int:
    """Refuse days in which a new certificate would be due again, or none would ever be."""
    try:
        days = int(value)
    except (TypeError, ValueError):
        days = 0
    if not 1 <= days <= MOST_DAYS:
        raise RenewalError(
            f"certificates_renew_before is {value}; expected 1 to {MOST_DAYS} days, as a new certificate of"
            " kubeadm lives for a year: set certificates_renew_before in your inventory"
        )
    return days


def is_due(certificate: Certificate, *, authority: Certificate | None, now: datetime, days: int) -> bool:
    """Tell whether a certificate is to be renewed.

    One that ends with its authority would not live longer if it were renewed.
    """
    if certificate.begins is None or certificate.expires is None:
        return False
    if authority is not None and authority.expires is not None and certificate.expires >= authority.expires:
        return False
    most = min(timedelta(days=days), (certificate.expires - certificate.begins) / _PARTS)
    return certificate.expires - now < most


def authority_notes(
    authorities: Sequence[Certificate], *, now: datetime, longest: timedelta = timedelta(days=365)
) -> list[str]:
    """Say which authorities end before what they sign now would."""
    notes = []
    for each in authorities:
        if each.expires is not None and each.expires - now < longest:
            notes.append(
                f"{each.path} ends at {each.expires:%Y-%m-%d}, in {(each.expires - now).days} days; expected"
                f" {longest.days} or more, as what it signs ends with it: kubeadm does not renew authorities,"
                " https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/"
            )
    return notes


def refusals(
    *,
    due: Sequence[Signed],
    keys: Mapping[str, bool],
    found: Mapping[str, Certificate],
    now: datetime,
) -> list[str]:
    """Say why certificates cannot be renewed on this node; nothing is touched then.

    ``keys`` says of which authorities the key is there, and ``found`` has the certificates by their paths.
    """
    problems = []
    for each in found.values():
        if each.begins is not None and each.begins > now and each.path.endswith("ca.crt"):
            problems.append(
                f"the clock of this node stands at {now:%Y-%m-%d %H:%M} UTC, and {each.path} begins at"
                f" {each.begins:%Y-%m-%d %H:%M}; expected the time of day, as certificates would begin and"
                " end with the clock: see 'timedatectl', and run this again"
            )
    for authority in dict.fromkeys(each.authority for each in due if not keys[each.authority]):
        names = ", ".join(each.name for each in due if each.authority == authority)
        problems.append(
            f"/etc/kubernetes/{authority}.key is not there, so that {names} cannot be renewed here; expected"
            " the key of the authority: renew them where it is kept (kubeadm certs generate-csr), put them in"
            " their places, and run this again, which restarts what has them open"
        )
    for path, certificate in found.items():
        name = next((each.name for each in SIGNED if path.endswith(f"/{each.files[0]}")), None)
        if name is not None and certificate.error:
            kind = "kubeconfig" if name.endswith(".conf") else "certs"
            problems.append(
                f"{path}: {certificate.error}; expected a certificate that can be read: put it there from a"
                f" backup, or remove it and have kubeadm make it: see 'kubeadm init phase {kind} --help'"
            )
    return problems


# The note of a renewal that has begun


def dumped_renewal(*, name: str, files: Mapping[str, str]) -> str:
    """Return the note that a certificate is being renewed, with the files as they were."""
    return json.dumps({"name": name, "files": dict(files)}) + "\n"


def parse_renewal(text: str | None) -> dict[str, str]:
    """Return the files as they were before the renewal that was interrupted; none without one."""
    if text is None:
        return {}
    try:
        return {str(path): str(content) for path, content in json.loads(text)["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        # It is written in one step, before anything else is.
        return {}
