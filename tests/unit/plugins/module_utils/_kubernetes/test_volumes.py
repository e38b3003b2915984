# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which volumes of the cluster go, and which may not."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.filter.storage import storage_objects
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import volumes
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.volumes import Claim, Plan, VolumeError

HOSTS = {
    "nas": {"os_prep_address": "10.0.0.1", "storage_server_shares": [{"name": "ssd", "folder": "/mnt/ssd"}]}
}
GROUPS = {"storage_server": ["nas"]}
LABELS = {"app.kubernetes.io/managed-by": "bramble-storage"}


def objects(*names: str, **more: Any) -> list[dict[str, Any]]:
    listed = [{"name": name, "size": "1Gi", "share": "ssd", **more} for name in names]
    return storage_objects(HOSTS, GROUPS, listed)


def seen(*names: str, phase: str = "Bound", **more: Any) -> dict[str, list[dict[str, Any]]]:
    """Return what the cluster has of volumes after they were applied."""
    things = [{**thing, "status": {"phase": phase}} for thing in objects(*names, **more)]
    return {"volumes": things[::2], "claims": things[1::2], "pods": []}


def pod(claim: str, *, phase: str = "Running", namespace: str = "default") -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"volumes": [{"emptyDir": {}}, {"persistentVolumeClaim": {"claimName": claim}}]},
        "status": {"phase": phase},
    }


def test_a_volume_and_a_claim_that_is_bound_to_it() -> None:
    volume, claim = objects("photos", namespace="home", access="ReadWriteOnce")
    assert volume["spec"] == {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "nfs": {"server": "10.0.0.1", "path": "/mnt/ssd/photos"},
        "mountOptions": ["nfsvers=4.1", "hard", "proto=tcp", "timeo=600", "noatime"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": "home",
            "name": "photos",
        },
    }
    assert claim["metadata"] == {"name": "photos", "namespace": "home", "labels": LABELS}
    assert (claim["spec"]["volumeName"], claim["spec"]["storageClassName"]) == ("photos", "")


NOTHING = Plan([], [], [])
OTHERS = {"name": "photos", "namespace": "default"}


@pytest.mark.parametrize(
    ("desired", "there", "expected"),
    [
        ([], {"volumes": [], "claims": [], "pods": []}, NOTHING),
        (["photos"], {"volumes": [], "claims": [], "pods": []}, NOTHING),
        (["photos"], {**seen("photos"), "pods": [pod("photos")]}, NOTHING),
        (["photos"], seen("photos", "music"), Plan([Claim("default", "music")], ["music"], [])),
        # What a run that was killed has left.
        ([], {**seen("music"), "claims": []}, Plan([], ["music"], [])),
        (
            [],
            {**seen("music"), "pods": [pod("music", phase="Succeeded")]},
            Plan([Claim("default", "music")], ["music"], []),
        ),
        (
            [],
            {**seen("music"), "pods": [pod("music", namespace="home")]},
            Plan([Claim("default", "music")], ["music"], []),
        ),
        # Somebody has deleted the claim.
        (["photos"], {**seen("photos", phase="Released"), "claims": []}, Plan([], [], ["photos"])),
        # What others have made is left alone.
        (
            [],
            {**seen("photos"), "claims": [], "volumes": [{"metadata": {"name": "theirs"}, "spec": {}}]},
            NOTHING,
        ),
    ],
)
def test_what_goes(desired: list[str], there: dict[str, Any], expected: Plan) -> None:
    assert volumes.plan(desired=objects(*desired), **there) == expected


@pytest.mark.parametrize(
    ("desired", "there", "text"),
    [
        (
            [],
            {**seen("music"), "pods": [pod("music")]},
            "music is not in storage_volumes any more, and its claim default/music is in use by the pods web;"
            " expected none",
        ),
        (
            [],
            {**seen("music"), "claims": [{"metadata": {"name": "music", "namespace": "default"}}]},
            "music is not in storage_volumes any more, and the claim default/music is bound to it; expected"
            " none: kubectl --namespace default delete pvc music",
        ),
        (
            ["photos"],
            {
                **seen(),
                "volumes": [{"metadata": {"name": "photos"}, "spec": {"nfs": {"server": "a", "path": "/b"}}}],
            },
            "the volume photos is there and has no label app.kubernetes.io/managed-by=bramble-storage",
        ),
        (
            ["photos"],
            {**seen(), "claims": [{"metadata": OTHERS}]},
            "the claim default/photos is there and has no",
        ),
    ],
)
def test_what_may_not_go(desired: list[str], there: dict[str, Any], text: str) -> None:
    with pytest.raises(VolumeError) as caught:
        volumes.plan(desired=objects(*desired), **there)
    assert text in str(caught.value)


def test_a_volume_that_would_have_to_move() -> None:
    there = seen("photos")
    there["volumes"][0]["spec"]["nfs"] = {"server": "10.0.0.9", "path": "/mnt/ssd/photos"}
    with pytest.raises(VolumeError) as caught:
        volumes.plan(desired=objects("photos"), **there)
    assert str(caught.value).startswith(
        "the volume photos is 10.0.0.9:/mnt/ssd/photos in the cluster, and 10.0.0.1:/mnt/ssd/photos in the"
    )


def test_claims_that_are_waited_for() -> None:
    there = seen("photos", "music")
    there["claims"][1]["status"] = {"phase": "Pending"}
    assert volumes.unbound(desired=objects("photos", "music"), claims=there["claims"]) == [
        Claim("default", "music")
    ]
