# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""APIs that are removed: in the metrics of an API server, and in objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._upgrade import removed_apis

#: Lines of what the API server of a cluster at 1.20.2 said at /metrics, once kubectl had applied an Ingress.
METRICS = (Path(__file__).parents[3] / "fixtures/upgrade/metrics-1.20.txt").read_text(encoding="utf-8")


def test_reads_what_the_api_server_was_asked_for() -> None:
    assert removed_apis.requested(METRICS) == [
        {"api": "extensions/v1beta1", "resource": "ingresses", "release": "1.22", "watched": 1},
        {"api": "networking.k8s.io/v1beta1", "resource": "ingresses", "release": "1.22", "watched": 0},
    ]
    assert removed_apis.requested("") == []


@pytest.mark.parametrize(
    ("text", "release"), [("1.22", (1, 22)), ("1.5", (1, 5)), ("", None), ("next", None), ("1.22.1", None)]
)
def test_reads_a_release(text: str, release: tuple[int, int] | None) -> None:
    assert removed_apis.release_of(text) == release


@pytest.mark.parametrize(
    ("before", "target", "apis"),
    [
        ((1, 20), (1, 21), set()),
        ((1, 22), (1, 24), set()),
        ((1, 26), (1, 28), {"storage.k8s.io/v1beta1"}),
        ((1, 25), (1, 26), {"autoscaling/v2beta2", "flowcontrol.apiserver.k8s.io/v1beta1"}),
        ((1, 32), (1, 37), set()),
    ],
)
def test_what_goes_on_the_way(before: tuple[int, int], target: tuple[int, int], apis: set[str]) -> None:
    assert {each.api for each in removed_apis.removed_between(before, target)} == apis


def test_reads_objects_by_the_api_that_stays() -> None:
    removals = removed_apis.removed_between((1, 20), (1, 25))
    served = {
        "extensions/v1beta1",
        "networking.k8s.io/v1",
        "networking.k8s.io/v1beta1",
        "batch/v1",
        "batch/v1beta1",
        "policy/v1beta1",
    }
    assert removed_apis.to_read(removals, served) == [
        "ingresses.v1.networking.k8s.io",
        "ingressclasses.v1.networking.k8s.io",
        "cronjobs.v1.batch",
        "poddisruptionbudgets.v1beta1.policy",
        "podsecuritypolicies.v1beta1.policy",
    ]


def thing(kind: str = "Ingress", *, applied: str = "", managed: Any = (), **metadata: Any) -> dict[str, Any]:
    annotations = {}
    if applied:
        manifest = json.dumps({"apiVersion": applied, "kind": kind})
        annotations = {"kubectl.kubernetes.io/last-applied-configuration": manifest}
    return {
        "kind": kind,
        "metadata": {"name": "web", "annotations": annotations, "managedFields": list(managed), **metadata},
    }


def written(
    api: str, manager: str = "kubectl-create", time: str = "2026-11-01T10:00:00Z", fields: str = "f:spec"
) -> dict[str, Any]:
    return {"manager": manager, "apiVersion": api, "time": time, "fieldsV1": {fields: {}}}


OLD, NEW = "networking.k8s.io/v1beta1", "networking.k8s.io/v1"


@pytest.mark.parametrize(
    ("ingress", "api"),
    [
        pytest.param(thing(), None, id="says-nothing"),
        pytest.param(thing(applied=OLD), OLD, id="applied"),
        pytest.param(
            thing(applied=NEW, managed=[written(OLD, "kubectl-client-side-apply")]), NEW, id="applied-again"
        ),
        pytest.param(thing(managed=[written(OLD)]), OLD, id="created"),
        pytest.param(
            thing(managed=[written(OLD), written(NEW, "kubectl-edit", "2026-11-02T10:00:00Z")]),
            NEW,
            id="edited-later",
        ),
        pytest.param(
            thing(managed=[written(NEW), written(OLD, "traefik", "2026-11-02T10:00:00Z", "f:status")]),
            NEW,
            id="a-controller-writes-its-status",
        ),
        pytest.param(thing(managed=[written(OLD, "kube-controller-manager")]), None, id="kubernetes-itself"),
        pytest.param(
            {"kind": "Ingress", "metadata": {"name": "web", "annotations": None}}, None, id="no-metadata"
        ),
    ],
)
def test_which_api_an_object_was_written_with(ingress: dict[str, Any], api: str | None) -> None:
    assert removed_apis.written_with(ingress) == api


def test_names_objects_whose_api_goes() -> None:
    objects = [
        thing(applied=OLD, namespace="shop"),
        thing(applied="extensions/v1beta1", name="old", namespace="shop"),
        thing(applied=NEW, name="new", namespace="shop"),
        thing("PodSecurityPolicy", name="psp.flannel.unprivileged"),
        thing("CronJob", applied="batch/v1beta1", name="backup", namespace="kube-system"),
    ]
    found = removed_apis.found(objects, removed_apis.removed_between((1, 20), (1, 25)))
    assert [(each["kind"], each["namespace"], each["name"], each["api"]) for each in found] == [
        ("Ingress", "shop", "web", OLD),
        ("Ingress", "shop", "old", "extensions/v1beta1"),
        ("PodSecurityPolicy", "", "psp.flannel.unprivileged", "policy/v1beta1"),
        ("CronJob", "kube-system", "backup", "batch/v1beta1"),
    ]
    assert found[0] == {
        "kind": "Ingress",
        "namespace": "shop",
        "name": "web",
        "api": OLD,
        "release": [1, 22],
        "successor": NEW,
        "since": [1, 19],
    }
    assert removed_apis.found(objects, removed_apis.removed_between((1, 20), (1, 21))) == []
