# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes of the cluster that the inventory has or had: what has to go, and what may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.kubectl import MANAGED_BY

#: The label of what the inventory's volumes are made of.
OWNER = "bramble-storage"
#: Pods that are over use nothing any more.
_OVER = ("Succeeded", "Failed")

Thing = Mapping[str, Any]


class VolumeError(BrambleError):
    """The cluster's volumes cannot be as the inventory has them; the message says why, and what fixes it."""


class Claim(NamedTuple):
    """A claim, by where it is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Plan(NamedTuple):
    """What is done before the objects are applied."""

    claims: list[Claim]
    volumes: list[str]
    #: Volumes whose claim was deleted, and that take another one of the same name.
    released: list[str]


def claim_of(volume: Thing) -> Claim | None:
    """Return the claim that a volume is for, if it is for one."""
    reference = volume["spec"].get("claimRef")
    return Claim(reference["namespace"], reference["name"]) if reference else None


def _claim(thing: Thing) -> Claim:
    return Claim(thing["metadata"]["namespace"], thing["metadata"]["name"])


def _is_ours(thing: Thing) -> bool:
    return bool(thing["metadata"].get("labels", {}).get(MANAGED_BY) == OWNER)


def users(pods: Sequence[Thing]) -> dict[Claim, list[str]]:
    """Return the names of the pods that use each claim."""
    found: dict[Claim, list[str]] = {}
    for pod in pods:
        if pod.get("status", {}).get("phase") in _OVER:
            continue
        for volume in pod["spec"].get("volumes") or ():
            used = volume.get("persistentVolumeClaim")
            if used:
                claim = Claim(pod["metadata"]["namespace"], used["claimName"])
                found.setdefault(claim, []).append(pod["metadata"]["name"])
    return found


def plan(
    *, desired: Sequence[Thing], volumes: Sequence[Thing], claims: Sequence[Thing], pods: Sequence[Thing]
) -> Plan:
    """Decide what goes; VolumeError if anything of it is in use, or belongs to somebody else."""
    desired_volumes = {
        each["metadata"]["name"]: each for each in desired if each["kind"] == "PersistentVolume"
    }
    desired_claims = {_claim(each) for each in desired if each["kind"] == "PersistentVolumeClaim"}
    gone = [each for each in volumes if _is_ours(each) and each["metadata"]["name"] not in desired_volumes]
    gone_claims = [each for each in claims if _is_ours(each) and _claim(each) not in desired_claims]
    there = {each["metadata"]["name"]: each for each in volumes}
    problems = [
        *_foreign(desired_volumes, desired_claims, there, claims),
        *_moved(desired_volumes, there),
        *_used(gone_claims, users(pods)),
        *_bound(gone, claims),
    ]
    if problems:
        raise VolumeError("; ".join(problems))
    return Plan(
        claims=[_claim(each) for each in gone_claims],
        volumes=[each["metadata"]["name"] for each in gone],
        released=[
            name
            for name in desired_volumes
            if name in there and there[name].get("status", {}).get("phase") == "Released"
        ],
    )


def _foreign(
    desired_volumes: Mapping[str, Thing],
    desired_claims: set[Claim],
    there: Mapping[str, Thing],
    claims: Sequence[Thing],
) -> Iterator[str]:
    found = [f"the volume {name}" for name in desired_volumes if name in there and not _is_ours(there[name])]
    found += [
        f"the claim {_claim(each)}"
        for each in claims
        if _claim(each) in desired_claims and not _is_ours(each)
    ]
    for what in found:
        yield (
            f"{what} is there and has no label {MANAGED_BY}={OWNER}, so that it is somebody else's and stays;"
            " expected a name that is free: set another one in storage_volumes"
        )


def _moved(desired: Mapping[str, Thing], there: Mapping[str, Thing]) -> Iterator[str]:
    for name, volume in desired.items():
        seen = there.get(name, volume)["spec"].get("nfs")
        expected = volume["spec"]["nfs"]
        if seen and (seen["server"], seen["path"]) != (expected["server"], expected["path"]):
            yield (
                f"the volume {name} is {seen['server']}:{seen['path']} in the cluster, and"
                f" {expected['server']}:{expected['path']} in the inventory; expected the same, as Kubernetes"
                " moves no volume: take it out of storage_volumes, run this, and put it in again, or set its"
                " share as it was"
            )


def _used(gone: Sequence[Thing], used: Mapping[Claim, Sequence[str]]) -> Iterator[str]:
    for each in gone:
        claim = _claim(each)
        if used.get(claim):
            yield (
                f"{claim.name} is not in storage_volumes any more, and its claim {claim} is in use by the"
                f" pods {', '.join(used[claim])}; expected none: remove what they belong to, or put the"
                " volume into storage_volumes again"
            )


def _bound(gone: Sequence[Thing], claims: Sequence[Thing]) -> Iterator[str]:
    """Name the volumes that go and that somebody else's claim has."""
    others = {_claim(each) for each in claims if not _is_ours(each)}
    for volume in gone:
        claim = claim_of(volume)
        if claim in others and volume.get("status", {}).get("phase") == "Bound":
            yield (
                f"{volume['metadata']['name']} is not in storage_volumes any more, and the claim {claim} is"
                f" bound to it; expected none: kubectl --namespace {claim.namespace} delete pvc {claim.name},"
                " or put the volume into storage_volumes again"
            )


def unbound(*, desired: Sequence[Thing], claims: Sequence[Thing]) -> list[Claim]:
    """Return the claims that are not bound (yet)."""
    bound = {_claim(each) for each in claims if each.get("status", {}).get("phase") == "Bound"}
    return [
        _claim(each)
        for each in desired
        if each["kind"] == "PersistentVolumeClaim" and _claim(each) not in bound
    ]
