# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings of the node's part in its cluster: membership and certificates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._backup.status import time_of
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.encryption import IDENTITY
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.state import (
    IN_CLUSTER,
    MONITORING_CERTIFICATE,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.vip import UNIT
from ansible_collections.bramble.pi.plugins.module_utils._node.findings import (
    ERROR,
    INFO,
    KINDS,
    WARNING,
    Expected,
    Finding,
    finding,
    parse_time,
)


def check_member(node: Mapping[str, Any], expected: Expected) -> Iterator[Finding]:
    """Say whether the node is part of its cluster, and how that sees it."""
    state, member = node["kubernetes"]["state"], node["member"]
    if state not in IN_CLUSTER:
        seen = "kubeadm was interrupted here" if state == "partial" else "not part of a cluster"
        yield finding("not_in_cluster", INFO, evidence=seen, expected="part of it", host=expected.host)
    elif member and member["state"] == "missing":
        seen = f"the cluster does not know it: {member['message']}"
        yield finding("not_in_cluster", INFO, evidence=seen, expected="part of it", host=expected.host)
    elif member and member["state"] == "silent":
        evidence = f"{node['kubernetes']['server']}: {member['message']}"
        yield finding("api", ERROR, evidence=evidence, expected="an answer")
    elif member and member["state"] == "not ready":
        evidence = f"not Ready: {member['message']}"
        yield finding(
            "node_not_ready", ERROR, evidence=evidence, expected="Ready", node=node["hostname"].lower()
        )


def check_components(silent: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Say which programs of the control plane do not answer."""
    for component in silent:
        evidence = f"{component['name']} does not answer at {component['url']}"
        if component["words"]:
            evidence = f"{evidence}: {component['words']}"
        yield finding("control_plane_pod", ERROR, evidence=evidence, expected="an answer")


def check_vip(vip: Mapping[str, Any] | None, expected: Expected) -> Iterator[Finding]:
    """Say whether a control plane that is to hold the address could not."""
    if vip and not vip["active"]:
        yield finding(
            "vip",
            ERROR,
            evidence=f"{UNIT}, for {vip['address']}, does not run",
            expected="active (running)",
            host=expected.host,
        )


def _certificate_remedy(path: str) -> str:
    name = path.rpartition("/")[2]
    if name == "kubelet-client-current.pem":
        return (
            "the kubelet renews it: sudo systemctl restart kubelet; if it has expired:"
            " ansible-playbook -i INVENTORY bramble.pi.certificates"
        )
    if path == MONITORING_CERTIFICATE:
        return "ansible-playbook -i INVENTORY bramble.pi.monitoring"
    if name.endswith("ca.crt"):
        return "kubeadm does not renew CAs: https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/"
    return KINDS["certificate"].remedy


def check_certificates(
    certificates: Sequence[Mapping[str, Any]], *, now: datetime, days: int
) -> Iterator[Finding]:
    """Say which certificates have expired, or will within so many days."""
    for certificate in certificates:
        path = certificate["path"]
        if certificate.get("error"):
            yield finding(
                "certificate",
                WARNING,
                evidence=f"{path}: {certificate['error']}",
                expected="a certificate in PEM form",
                remedy=_certificate_remedy(path),
                path=path,
            )
            continue
        left = parse_time(certificate["expires"]) - now
        if left < timedelta(days=days):
            expired = left < timedelta(0)
            number = abs(left) // timedelta(days=1)
            span = f"{number} day{'' if number == 1 else 's'}"
            evidence = f"{path} has expired {span} ago" if expired else f"{path} expires in {span}"
            yield finding(
                "certificate",
                ERROR if expired else WARNING,
                evidence=f"{evidence}, at {certificate['expires']}",
                expected=f"{days} days or more",
                remedy=_certificate_remedy(path),
                path=path,
            )


def check_renewal(renewal: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Say why the last renewal of certificates failed."""
    if renewal and renewal.get("error"):
        yield finding(
            "certificate_renewal",
            WARNING,
            evidence=f"the renewal of certificates at {renewal.get('tried')} failed: {renewal['error']}",
            expected="one that comes to its end",
        )


def check_encryption(encryption: Mapping[str, Any] | None, expected: Expected) -> Iterator[Finding]:
    """Say whether secrets are not encrypted as asked for, or only by half."""
    if not encryption:
        return
    evidence, providers = str(encryption["error"]), encryption["providers"]
    if not evidence and len(providers) > 1:
        evidence = (
            f"the API server writes secrets by {providers[0]}, and reads by {', '.join(providers[1:])} too"
        )
    elif not evidence and not encryption["current"]:
        evidence = "the API server runs by other keys than those that were written for it"
    elif not evidence and expected.encrypt_secrets and IDENTITY in providers:
        evidence = "secrets are stored as plain text, and control_plane_encrypt_secrets is true"
    if evidence:
        yield finding("encryption", WARNING, evidence=evidence, expected="one key alone, or none")


def check_backup(backup: Mapping[str, Any] | None, *, now: datetime, days: int) -> Iterator[Finding]:
    """Say how long ago the last backup was proved, if that is too long, and why the last run failed."""
    proved = time_of(backup, "proved")
    expected = f"a proved one, at most {days} days old"
    if proved is None and not (backup or {}).get("error"):
        yield finding(
            "backup", INFO, evidence="there is no backup of the cluster on this node", expected=expected
        )
        return
    seen = []
    if proved is None:
        seen.append("no backup was ever proved")
    elif now - proved > timedelta(days=days):
        age = (now - proved) // timedelta(days=1)
        seen.append(f"the last proved backup is {age} days old, of {proved:%Y-%m-%dT%H:%M:%SZ}")
    if backup and backup.get("missing"):
        seen.append(f"its file {backup.get('file')} is not there any more")
    if backup and backup.get("error"):
        seen.append(f"the run at {backup.get('tried')} failed: {backup['error']}")
    if seen:
        yield finding("backup", WARNING, evidence="; ".join(seen), expected=expected)
    yield from _check_copies((backup or {}).get("copies") or {}, now=now, days=days)


def _check_copies(copies: Mapping[str, Any], *, now: datetime, days: int) -> Iterator[Finding]:
    for name, copy in copies.items():
        seen = []
        copied = time_of(copy, "copied")
        if copied is None:
            seen.append(f"no copy ever came to {name}")
        elif now - copied > timedelta(days=days):
            age = (now - copied) // timedelta(days=1)
            seen.append(f"the last copy came to {name} {age} days ago, at {copied:%Y-%m-%dT%H:%M:%SZ}")
        if copy.get("error"):
            seen.append(str(copy["error"]))
        if seen:
            expected = f"one that came at most {days} days ago"
            yield finding("backup_copy", WARNING, evidence="; ".join(seen), expected=expected, to=name)
