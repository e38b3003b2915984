# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._add_ons import plan
from ansible_collections.bramble.pi.plugins.module_utils._add_ons.plan import LABEL, Reference

NAMESPACE = Reference("v1", "Namespace", "", "web")
DEFINITION = Reference("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "widgets.example.com")
DEPLOYMENT = Reference("apps/v1", "Deployment", "web", "web")
WIDGET = Reference("example.com/v1", "Widget", "web", "first")
ALL = [WIDGET, DEPLOYMENT, DEFINITION, NAMESPACE]


def thing(reference: Reference, owner: str = "", **keys: Any) -> dict[str, Any]:
    bare = reference.bare()
    bare["metadata"].update({"labels": {LABEL: owner}} if owner else {}, **keys.pop("metadata", {}))
    return {**bare, **keys}


def test_records() -> None:
    record = plan.record("web", ALL)
    assert plan.read_records([record]) == {"web": ALL}
    assert record["metadata"]["name"] == "bramble-add-on-web"


@pytest.mark.parametrize("data", [None, {}, {"objects": "{"}, {"objects": "[[1]]"}, {"objects": "3"}])
def test_records_that_somebody_changed(data: Any) -> None:
    with pytest.raises(plan.AddOnError, match="expected the list of its add-on's objects: run kubectl"):
        plan.read_records([{**plan.record("web", []), "data": data}])


def test_a_newer_version_of_an_api_is_no_other_object() -> None:
    newer = DEPLOYMENT._replace(api_version="apps/v2")
    assert plan.gone([DEPLOYMENT, WIDGET], [newer]) == [WIDGET]
    # Which is no longer what it was, if its group is another.
    assert plan.gone([DEPLOYMENT], [DEPLOYMENT._replace(api_version="v1")]) == [DEPLOYMENT]
    assert plan.both([DEPLOYMENT, WIDGET], [newer]) == [newer, WIDGET]


def test_order() -> None:
    groups = plan.defined(ALL)
    assert groups == {"example.com"}
    parts = plan.in_order(ALL, groups, key=lambda each: each)
    assert parts == [[DEFINITION, NAMESPACE], [DEPLOYMENT], [WIDGET]]
    assert plan.removal_order(ALL) == [[WIDGET], [DEPLOYMENT], [DEFINITION], [NAMESPACE]]


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        ("web", None),
        # It is removed before.
        ("old", None),
        (
            "",
            "deployment/web in the namespace web is there and has no label bramble.pi/add-on; expected",
        ),
        ("other", "deployment/web in the namespace web is there and belongs to the add-on other; expected"),
    ],
)
def test_what_is_somebody_elses(owner: str, text: str | None) -> None:
    found = list(plan.foreign("web", [thing(DEPLOYMENT, owner)], leaving={"old": [DEPLOYMENT]}))
    assert found == [] if text is None else found[0].startswith(text)
    if found:
        assert "kubectl label --namespace web --overwrite deployment web bramble.pi/add-on=web" in found[0]


DRIVER = Reference("storage.k8s.io/v1", "CSIDriver", "", "nfs.csi.k8s.io")
CLASS = Reference("networking.k8s.io/v1", "IngressClass", "", "traefik")
VOLUME = Reference("v1", "PersistentVolume", "", "data")
INGRESS = Reference("networking.k8s.io/v1", "Ingress", "web", "page")


@pytest.mark.parametrize(
    ("going", "there", "concerned"),
    [
        (DEFINITION, thing(WIDGET), True),
        (DEFINITION, thing(WIDGET, "web"), False),
        (NAMESPACE, thing(DEPLOYMENT), True),
        (NAMESPACE, thing(DEPLOYMENT, "web"), False),
        # Made by what is made by the add-on.
        (NAMESPACE, thing(DEPLOYMENT, metadata={"ownerReferences": [{}]}), False),
        (DRIVER, thing(VOLUME, spec={"csi": {"driver": "nfs.csi.k8s.io"}}), True),
        (DRIVER, thing(VOLUME, spec={"nfs": {}}), False),
        (DRIVER, thing(VOLUME, provisioner="nfs.csi.k8s.io"), True),
        (CLASS, thing(INGRESS, spec={"ingressClassName": "traefik"}), True),
        (CLASS, thing(INGRESS, spec={"ingressClassName": "other"}), False),
    ],
)
def test_whom_a_removal_would_concern(going: Reference, there: dict[str, Any], concerned: bool) -> None:
    (question,) = plan.questions("web", [going])
    assert question.concerned(there) is concerned


def test_nothing_is_asked_of_others() -> None:
    assert list(plan.questions("web", [DEPLOYMENT, WIDGET])) == []


@pytest.mark.parametrize(("number", "more"), [(1, ""), (5, ""), (7, " and 2 more")])
def test_refusal(number: int, more: str) -> None:
    told = plan.refusal("web", [thing(WIDGET)] * number, removed=True)
    assert f"widget/first in the namespace web{more}; expected nobody's objects" in told
    assert "set add_ons_remove_objects to a list with web" in told
