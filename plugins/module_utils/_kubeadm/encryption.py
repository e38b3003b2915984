# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By which keys the API servers encrypt secrets in etcd, and the next step towards what is asked for.

An API server has *providers*, a key each or ``identity``, which is plain text. It writes by the first and
reads by all. Each step changes some API servers, one after the other, and leaves all able to read what any
of them writes, so that a run may be killed anywhere: the next one finds its step by what is on the nodes.

=============================  ==================================================================
providers of all               step, with a target that is a key or identity
=============================  ==================================================================
some run with older ones       restart these
no key, one is asked for       make one, as the last of one node
some lack the target           add it as the last
the target is not first        have it first; kubeadm is to know of the keys before
the target is first            rewrite all secrets, and have the target alone; without a key
                               kubeadm is to know of none before
the target alone               nothing
=============================  ==================================================================

https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import extra_args

FLAG = "encryption-provider-config"
IDENTITY = "identity"
#: What secretbox takes, XSalsa20 and Poly1305.
KEY_BYTES = 32
_NAME = re.compile(r"key-(\d+)-([0-9a-f]{8})")
_MARK = "bramble.pi/encryption"
_MARKED = re.compile(rf"^    {re.escape(_MARK)}: .*\n", re.MULTILINE)
_EXPECTED = "expected what bramble.pi.encryption writes there, keys of secretbox for secrets alone"


class EncryptionError(BrambleError):
    """API servers that cannot be brought to what is asked for; no message has a key."""


@dataclass(frozen=True)
class Node:
    """A control plane as it was found."""

    #: The first writes.
    providers: tuple[str, ...] = (IDENTITY,)
    #: By name, as base64.
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Whether its API server was started with just these.
    current: bool = True


class Step(NamedTuple):
    """What to do next: first the secrets are rewritten, then kubeadm is told, then nodes are configured."""

    done: bool = False
    #: The number of the key that is to be made; 0 for none.
    new_key: int = 0
    rewrite: bool = False
    #: Whether kubeadm is to tell API servers of keys; None if that stays as it is.
    remember: bool | None = None
    #: The providers of those nodes that are to be changed.
    providers: Mapping[str, tuple[str, ...]] = {}


# The file


def name_of(secret: bytes, *, number: int) -> str:
    """Return the name of a key, which stands before each value in etcd and tells nothing of the key."""
    return f"key-{number}-{hashlib.sha256(secret).hexdigest()[:8]}"


def number_of(name: str) -> int:
    """Return which key of the cluster it is."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else 0


def with_key(node: Node, *, number: int, secret: bytes) -> Node:
    """Return a node that can read by a further key."""
    name = name_of(secret, number=number)
    keys = {**node.keys, name: base64.b64encode(secret).decode()}
    return Node(_extended(node.providers, [name]), keys, current=False)


def dumped(*, providers: Sequence[str], keys: Mapping[str, str]) -> str:
    """Return the file of an API server, as JSON, which is YAML too; nothing for one without keys."""
    if list(providers) == [IDENTITY]:
        return ""
    secretbox = {
        "secretbox": {"keys": [{"name": name, "secret": keys[name]} for name in providers if name in keys]}
    }
    identity: list[dict[str, Any]] = [{IDENTITY: {}}] if IDENTITY in providers else []
    ordered = [*identity, secretbox] if providers[0] == IDENTITY else [secretbox, *identity]
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": ordered}],
    }
    return json.dumps(document, indent=2) + "\n"


def parse(text: str) -> Node:
    """Read the file of an API server."""
    try:
        (resources,) = json.loads(text)["resources"]
        if resources["resources"] != ["secrets"]:
            raise EncryptionError(f"{state.ENCRYPTION} is for other resources; {_EXPECTED}")
        providers: list[str] = []
        keys: dict[str, str] = {}
        for provider in resources["providers"]:
            if set(provider) == {IDENTITY}:
                providers.append(IDENTITY)
            else:
                found = {str(key["name"]): str(key["secret"]) for key in provider["secretbox"]["keys"]}
                keys.update(found)
                providers.extend(found)
        for name, secret in keys.items():
            _check_key(name, secret)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, EncryptionError):
            raise
        # Nothing of it is shown: a fragment may be a key.
        raise EncryptionError(
            f"{state.ENCRYPTION} cannot be read ({type(error).__name__}); {_EXPECTED}"
        ) from None
    return Node(tuple(providers), keys)


def _check_key(name: str, secret: str) -> None:
    try:
        data = base64.b64decode(secret, validate=True)
    except binascii.Error:
        data = b""
    if len(data) != KEY_BYTES:
        raise EncryptionError(
            f"{name} in {state.ENCRYPTION} is not {KEY_BYTES} bytes as base64; expected the key of the other"
            " control planes, or of a backup: put that file there"
        )
    match = _NAME.fullmatch(name)
    if match and name_of(data, number=int(match[1])) != name:
        raise EncryptionError(
            f"{name} in {state.ENCRYPTION} is another key than its name says; expected the key of the other"
            " control planes, or of a backup: put that file there"
        )


# The manifest


def with_mark(manifest: str, *, text: str) -> str:
    """Return an API server's manifest with the checksum of the file that it is started with.

    The kubelet replaces a static pod whose manifest has changed at once. A program that merely ends it starts
    again later each time, up to five minutes, if that was often in the last ten. Without annotations, which
    kubeadm writes, it stays as it is.
    """
    unmarked = _MARKED.sub("", manifest)
    if not text:
        return unmarked
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return re.sub(r"^  annotations:\n", rf'\g<0>    {_MARK}: "{digest}"\n', unmarked, count=1, flags=re.M)


# What to do


def next_step(nodes: Mapping[str, Node], *, encrypt: bool, rotate: bool = False) -> Step:
    """Return the next step towards secrets that are encrypted by one key alone, or by none.

    ``rotate`` asks for a new key; what another run has begun is finished instead.
    """
    if not nodes:
        return Step(done=True)
    outdated = {host: node.providers for host, node in nodes.items() if not node.current}
    if outdated:
        return Step(providers=outdated)
    known = sorted(
        {name for node in nodes.values() for name in node.keys}, key=lambda name: (number_of(name), name)
    )
    target = known[-1] if encrypt and known else IDENTITY
    finished = all(node.providers == (target,) for node in nodes.values())
    if encrypt and (not known or (rotate and finished)):
        return Step(new_key=number_of(target) + 1)
    if finished:
        return Step(done=True)
    needed = [*dict.fromkeys(node.providers[0] for node in nodes.values()), target]
    lacking = {
        host: _extended(node.providers, needed)
        for host, node in nodes.items()
        if not set(needed) <= set(node.providers)
    }
    if lacking:
        return Step(providers=lacking)
    second = {
        host: _extended((target,), node.providers)
        for host, node in nodes.items()
        if node.providers[0] != target
    }
    encrypted = target != IDENTITY
    if second:
        return Step(remember=True if encrypted else None, providers=second)
    alone = {host: (target,) for host, node in nodes.items() if node.providers != (target,)}
    return Step(rewrite=True, remember=encrypted, providers=alone)


def _extended(providers: Sequence[str], further: Collection[str]) -> tuple[str, ...]:
    """Return providers with further ones behind the first; plain text is the last of those."""
    first, *others = dict.fromkeys([*providers, *further])
    return (first, *sorted(others, key=lambda name: (name == IDENTITY, name)))


def rack_keys(nodes: Mapping[str, Node]) -> dict[str, str]:
    """Return the keys of all nodes."""
    keys: dict[str, str] = {}
    for host, node in nodes.items():
        for name, secret in node.keys.items():
            if keys.setdefault(name, secret) != secret:
                raise EncryptionError(
                    f"{host} has another key {name} in {state.ENCRYPTION} than the control planes before it;"
                    " expected the same file on each: put that of a control plane whose API server answers"
                    f" on {host}"
                )
    return keys


# What kubeadm remembers


def in_cluster_configuration(document: Mapping[str, Any], *, encrypted: bool) -> dict[str, Any]:
    """Return a ClusterConfiguration whose API servers are told of keys, or not; all else as it was."""
    return extra_args.with_flags(document, {"apiServer": {FLAG: state.ENCRYPTION if encrypted else None}})
