# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a backup is not restored onto a node, decided before anything of the node is touched."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import Manifest

_OPTION = re.compile(r"--(?P<name>name|initial-advertise-peer-urls)=(?P<value>[^\s\"']+)")


class Node(NamedTuple):
    """What a node is before a backup is restored onto it."""

    name: str
    addresses: Collection[str]
    #: Of the installed kubelet, such as 1.36.1.
    kubelet: str
    #: absent, partial, worker or control_plane.
    state: str
    #: Whether the API server of the cluster that the backup is of answers.
    answers: bool


class Member(NamedTuple):
    """The member of etcd that a node is, by its manifest."""

    name: str
    peer: str

    @property
    def host(self) -> str:
        """Its address as a URL has it."""
        return self.peer.partition("//")[2].rpartition(":")[0]

    @property
    def address(self) -> str:
        """Its address, by which it listens."""
        return self.host.strip("[]")


def member(*, etcd_manifest: str) -> Member | None:
    """Read the member in the manifest of etcd."""
    found = {match["name"]: match["value"] for match in _OPTION.finditer(etcd_manifest)}
    if len(found) < 2:
        return None
    return Member(found["name"], found["initial-advertise-peer-urls"].partition(",")[0])


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def refusals(
    *,
    manifest: Manifest,
    member: Member | None,
    node: Node,
    expected: Collection[str],
    replace: bool,
    resumed: bool,
) -> Iterator[str]:
    """Say why a backup cannot be restored; ``expected`` are the hashes of CAs that other nodes have.

    ``resumed`` is for a restore of the same backup that was begun here: what it has left is its own.
    """
    others = sorted(set(expected) - {manifest.ca_cert_hash})
    if others:
        yield (
            f"the backup is of the cluster with the CA {manifest.ca_cert_hash}; expected"
            f" {', '.join(others)}, which the other nodes belong to: set backup_restore_file to a"
            " backup of theirs, or, if they are to leave that cluster, run bramble.pi.reset on them"
        )
    if member is None:
        yield "the backup has no manifest of etcd with its member; expected one that kubeadm wrote"
    elif member.address not in node.addresses:
        yield (
            f"the backup is of a node with the address {member.address}; this one has"
            f" {', '.join(node.addresses) or 'none'}: give it that address (role node_network), as"
            " the certificates and the other nodes know it by that"
        )
    if manifest.node.lower() != node.name.lower():
        yield (
            f"the backup is of {manifest.node}, and the host name of this node is {node.name}; expected"
            f" the same: set os_prep_hostname to {manifest.node}"
        )
    if not node.kubelet:
        yield "kubelet is not installed; expected that of the backup: run the role kube_packages before"
    elif manifest.kubernetes and _minor(node.kubelet) != _minor(manifest.kubernetes):
        yield (
            f"the installed kubelet is {node.kubelet}, and the backup is of Kubernetes"
            f" {manifest.kubernetes}; expected the same minor version: set"
            f' kube_packages_version to "{_minor(manifest.kubernetes)}"'
        )
    if resumed or replace:
        return
    if node.answers:
        yield (
            "the cluster answers; expected one that is lost, as everything since the backup"
            f" ({manifest.created}) would be: set backup_restore_replace to true if that is meant"
        )
    elif node.state != "absent":
        yield (
            f"there is a Kubernetes on this node already ({node.state}); expected a node without: set"
            " backup_restore_replace to true to put the backup in its place"
        )


# A restore that was begun


@dataclass(frozen=True)
class Begun:
    """What is written down on the node while a backup is restored, once its control plane is stopped."""

    #: Of the backup: that it may be put there holds for no other one.
    sha256: str
    #: Whether all is in place but the manifests of the control plane, which are written next.
    placed: bool = False

    def dumped(self) -> str:
        """Return it as the text of its file."""
        return json.dumps(asdict(self)) + "\n"


def parse_begun(text: str | None) -> Begun | None:
    """Read it; what cannot be read says nothing."""
    try:
        content = json.loads(text or "")
        return Begun(str(content["sha256"]), bool(content["placed"]))
    except (ValueError, KeyError, TypeError):
        return None


def resumes(
    *, begun: Begun | None, now: Begun, ca_cert_hash: str | None, expected: str, control_plane: bool
) -> bool:
    """Tell whether a restore of the same backup was begun here, and what is here now is what it has left.

    A control plane that is there without its having written one, and another cluster's CA, are not its own.
    """
    return (
        begun is not None
        and begun.sha256 == now.sha256
        and ca_cert_hash in (None, expected)
        and (begun.placed or not control_plane)
    )


def identity_problem(text: str) -> str | None:
    """Say why a text is no identity that age can use without asking."""
    if "AGE-SECRET-KEY-" in text or "PRIVATE KEY-----" in text:
        return None
    if "BEGIN AGE ENCRYPTED FILE" in text or text.startswith("age-encryption.org/"):
        return (
            "the identity is itself encrypted; expected one that is not: decrypt it"
            " ('age --decrypt --output identity.txt FILE'), set backup_identity_file to that, and remove it"
            " afterwards"
        )
    return (
        "the identity is not one of age; expected a line with AGE-SECRET-KEY-, or an SSH private key: set"
        " backup_identity_file to the file that age-keygen has written"
    )
