# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._add_ons.plan import LABEL
from ansible_collections.bramble.pi.plugins.plugin_utils._add_ons import entries, objects

URL = "file:///web.yml"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec: {replicas: "${replicas}", greeting: "hello ${who}, ${HOME}"}
"""
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec: {group: example.com, names: {kind: Widget}, scope: SCOPE}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: first}
"""


def entry(**keys: Any) -> entries.Entry:
    (read,) = entries.read([{"name": "web", "manifest": "/web.yml", **keys}])
    return read


def made(text: str, **keys: Any) -> list[dict[str, Any]]:
    return objects.objects(entry(**keys), {URL: text})


def test_values_keep_their_types_and_others_places_stay() -> None:
    (thing,) = made(DEPLOYMENT, values={"replicas": 3, "who": "a: {b}\n- c"})
    assert thing["spec"] == {"replicas": 3, "greeting": "hello a: {b}\n- c, ${HOME}"}
    assert thing["metadata"]["labels"] == {"app": "web", LABEL: "web"}


@pytest.mark.parametrize("value", ["true", True])
def test_a_boolean_within_a_text(value: object) -> None:
    (thing,) = made(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: '--flag=${on}'}}",
        values={"on": value},
    )
    assert thing["data"] == {"x": "--flag=true"}


def test_dates_are_text() -> None:
    (thing,) = made("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {day: 2026-11-30}}")
    assert thing["data"] == {"day": "2026-11-30"}


def test_a_list_is_its_items() -> None:
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in "ab"]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    assert [thing["metadata"]["name"] for thing in made(text)] == ["a", "b"]


@pytest.mark.parametrize(("scope", "namespace"), [("Namespaced", "tools"), ("Cluster", None)])
def test_namespace(scope: str, namespace: str | None) -> None:
    text = DEFINITION.replace("SCOPE", scope) + "---" + DEPLOYMENT.replace("${replicas}", "")
    things = {thing["kind"]: thing["metadata"].get("namespace") for thing in made(text, namespace="tools")}
    assert things == {
        "Namespace": None,
        "CustomResourceDefinition": None,
        "Widget": namespace,
        "Deployment": "tools",
    }


def test_the_clusters_own_namespace_is_not_made() -> None:
    (thing,) = made(DEPLOYMENT, namespace="kube-system")
    assert thing["metadata"]["namespace"] == "kube-system"


@pytest.mark.parametrize(
    ("text", "keys", "problem"),
    [
        ("a: [", {}, "is not YAML"),
        ("", {}, "the manifest of the add-on web has no objects; expected some"),
        ("a: 1", {}, "file:///web.yml of the add-on web has \"{'a': 1}\"; expected objects with apiVersion"),
        ("[1]", {}, "has '[1]'; expected objects with apiVersion"),
        (
            "{apiVersion: batch/v1, kind: Job, metadata: {generateName: a-}}",
            {},
            "expected objects with apiVersion, kind and metadata.name",
        ),
        (
            "{apiVersion: v1, kind: Namespace, metadata: {name: kube-system}}",
            {},
            "has the namespace kube-system",
        ),
        (
            DEPLOYMENT,
            {"values": {"other": 1}},
            "values of web in add_ons has other, for which its manifest has no",
        ),
        (DEPLOYMENT, {"sha256": "0" * 64}, "the SHA-256 of file:///web.yml is "),
        (
            DEPLOYMENT,
            {"wait_for": ["deployment/wb"]},
            "'deployment/wb', which its manifest has not; expected some",
        ),
    ],
)
def test_refusals(text: str, keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(objects.ObjectsError) as error:
        made(text, **keys)
    assert problem in str(error.value)


def test_one_object_in_two_add_ons() -> None:
    two = entries.read([{"name": name, "manifest": "/web.yml"} for name in ("one", "two")])
    with pytest.raises(
        objects.ObjectsError, match="deployment/web is in the manifests of the add-ons one and two;"
    ):
        objects.definitions(two, {URL: DEPLOYMENT})
    twice = entries.read([{"name": "one", "manifest": "/web.yml"}])
    with pytest.raises(objects.ObjectsError, match="of the add-ons one and one;"):
        objects.definitions(twice, {URL: f"{DEPLOYMENT}---{DEPLOYMENT}"})


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ({"name": "metrics-server"}, {"Deployment": 1, "APIService": 1}),
        ({"name": "traefik", "values": {"replicas": 2}}, {"Deployment": 1, "IngressClass": 1}),
    ],
)
def test_our_own_manifests(given: dict[str, Any], kinds: dict[str, int]) -> None:
    asked = entries.read([given])
    texts = {url: Path(str(entries.path_of(url))).read_text() for url in entries.urls(asked)}
    text = objects.definitions(asked, texts)
    found = [thing["kind"] for add_on in json.loads(text) for thing in add_on["objects"]]
    assert {kind: found.count(kind) for kind in kinds} == kinds
    # Each place has got its value.
    assert "${" not in text
    (deployment,) = (thing for thing in json.loads(text)[0]["objects"] if thing["kind"] == "Deployment")
    assert deployment["spec"].get("replicas", 1) == given.get("values", {}).get("replicas", 1)


def test_the_checksum_is_that_of_the_file() -> None:
    sha256 = hashlib.sha256(DEPLOYMENT.encode()).hexdigest()
    assert len(made(DEPLOYMENT, sha256=sha256)) == 1
