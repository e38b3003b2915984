# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of what is asked of the API server, and runs that are killed at each of its answers.

What answers here has objects, and no controllers: tests/e2e/test_add_ons.py does the same with a real one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.bramble.pi.plugins.module_utils._add_ons import plan
from ansible_collections.bramble.pi.plugins.module_utils._add_ons.apply import AddOns
from ansible_collections.bramble.pi.plugins.module_utils._add_ons.cluster import Cluster
from ansible_collections.bramble.pi.plugins.module_utils._add_ons.plan import (
    LABEL,
    AddOn,
    AddOnError,
    Reference,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError

RESOURCES = {
    "configmaps": "ConfigMap",
    "widgets.example.com": "Widget",
    "customresourcedefinitions.apiextensions.k8s.io": plan.DEFINITION,
}


class Killed(BaseException):
    """The end of a process."""


class Api:
    """Has objects, and answers as kubectl does; the process ends after so many answers."""

    def __init__(self, folder: Path) -> None:
        self.kubeconfig = folder / "admin.conf"
        self.kubeconfig.touch()
        self.objects: dict[Reference, dict[str, Any]] = {}
        self.left: int | None = None
        self.done: list[str] = []
        self.ready = True
        #: How often what checks widgets is yet to be asked in vain.
        self.webhook_fails = 0

    def kubectl(self, command: Sequence[str], text: str) -> tuple[int, str, str]:
        """Do what a command says, and be killed before or after it."""
        if self.left == 0:
            raise Killed
        verb, *words = command[command.index("kubectl") + 4 :]
        things = [each for each in yaml.safe_load_all(text) if each]
        answer: tuple[int, str, str] = getattr(self, verb)(words, things)
        if self.left is not None:
            self.left -= 1
        return answer

    def _defined(self, thing: dict[str, Any]) -> bool:
        groups = plan.defined(self.objects)
        return plan.group_of(thing["apiVersion"]) != "example.com" or "example.com" in groups

    def _unknown(self, things: list[dict[str, Any]]) -> tuple[int, str, str] | None:
        for thing in things:
            if not self._defined(thing):
                kind, version = thing["kind"], thing["apiVersion"]
                return 1, "", f'error: no matches for kind "{kind}" in version "{version}"'
        return None

    def get(self, words: list[str], things: list[dict[str, Any]]) -> tuple[int, str, str]:
        if "--filename=-" in words:
            unknown = self._unknown(things)
            found = [self.objects[key] for key in map(plan.reference, things) if key in self.objects]
        else:
            unknown = None
            kinds = [RESOURCES.get(word) for word in words[0].split(",")]
            selected = not any(word.startswith("--selector") for word in words)
            found = [
                each
                for each in self.objects.values()
                if each["kind"] in kinds and (selected or plan.MANAGED_BY in each["metadata"]["labels"])
            ]
        # Where kubectl looks unless it is told otherwise.
        shown = [{**each, "metadata": {"namespace": "default", **each["metadata"]}} for each in found]
        return unknown or (0, json.dumps({"kind": "List", "items": shown}) if found else "", "")

    def apply(self, words: list[str], things: list[dict[str, Any]]) -> tuple[int, str, str]:
        unknown = self._unknown(things)
        if unknown:
            return unknown
        if self.webhook_fails and any(thing["kind"] == "Widget" for thing in things):
            self.webhook_fails -= 1
            return 1, "", 'Internal error occurred: failed calling webhook "widgets.example.com": no route'
        lines = []
        for thing in things:
            key = plan.reference(thing)
            before = self.objects.get(key)
            after = {**thing, "status": self._status(thing)}
            same = before is not None and {**before, "status": 0} == {**after, "status": 0}
            verb = "unchanged" if same else "configured" if before else "created"
            lines.append(f"{key.kind.lower()}/{key.name} {verb}")
            if "--dry-run=server" not in words:
                self.objects[key] = after
                if not same:
                    self.done.append(f"{verb} {key.kind}/{key.name}")
        return 0, "\n".join(lines), ""

    def _status(self, thing: dict[str, Any]) -> dict[str, Any]:
        if thing["kind"] == plan.DEFINITION:
            return {"conditions": [{"type": "Established", "status": "True"}]}
        ready = 1 if self.ready else 0
        return {"observedGeneration": 1, "updatedReplicas": 1, "replicas": 1, "availableReplicas": ready}

    def delete(self, words: list[str], things: list[dict[str, Any]]) -> tuple[int, str, str]:
        unknown = self._unknown(things)
        if unknown:
            return unknown
        keys = [plan.reference(thing) for thing in things]
        keys = [key._replace(namespace="") if key.namespace == "default" else key for key in keys]
        if "--all" in words:
            keys = [key for key in self.objects if key.kind == RESOURCES[words[0]]]
        for key in keys:
            if self.objects.pop(key, None):
                self.done.append(f"deleted {key.kind}/{key.name}")
        return 0, "", ""

    def run(self, *add_ons: AddOn, consented: Sequence[str] = (), check: bool = False) -> dict[str, str]:
        """Have these add-ons, and say what was done."""
        clock = itertools.count()
        done: dict[str, str] = {}
        cluster = Cluster(run=self.kubectl, kubeconfig=str(self.kubeconfig), check_mode=check)
        AddOns(
            cluster,
            add_ons,
            consented=consented,
            timeout=5,
            done=done,
            sleep=lambda _seconds: None,
            now=lambda: float(next(clock)),
        ).run()
        return done


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(tmp_path)


def thing(api_version: str, kind: str, name: str, owner: str = "web", **keys: Any) -> dict[str, Any]:
    bare = Reference(api_version, kind, "", name).bare()
    return {**bare, "metadata": {**bare["metadata"], "labels": {LABEL: owner}}, **keys}


def web(*, version: int = 1, settings: str = "a") -> AddOn:
    selector = {"matchLabels": {"app": "web"}}
    return AddOn(
        "web",
        [
            thing("example.com/v1", "Widget", "own"),
            thing("apps/v1", "Deployment", "web", spec={"version": version, "selector": selector}),
            thing("v1", "ConfigMap", settings),
            thing("apiextensions.k8s.io/v1", plan.DEFINITION, "widgets.example.com"),
            thing("v1", "Namespace", "web"),
        ],
    )


def test_the_order_of_a_life(api: Api) -> None:
    assert api.run(web(), check=True) == {"web": "applied"}
    assert api.objects == {}
    assert api.run(web()) == {"web": "applied"}
    assert [line.split()[1] for line in api.done] == [
        "ConfigMap/bramble-add-on-web",
        f"{plan.DEFINITION}/widgets.example.com",
        "Namespace/web",
        "Deployment/web",
        "ConfigMap/a",
        "Widget/own",
    ]
    for check in (True, False):
        assert api.run(web(), check=check) == {"web": "unchanged"}
    api.done.clear()
    assert api.run(web(settings="b"), check=True) == {"web": "applied"}
    assert api.run(web(settings="b")) == {"web": "applied"}
    note = "configured ConfigMap/bramble-add-on-web"
    assert api.done == [note, "created ConfigMap/b", "deleted ConfigMap/a", note]
    api.done.clear()
    assert api.run(check=True) == {"web": "removed"}
    assert api.done == []
    assert api.run() == {"web": "removed"}
    assert api.objects == {}
    assert [line.split()[1] for line in api.done] == [
        "Widget/own",
        "Deployment/web",
        "ConfigMap/b",
        f"{plan.DEFINITION}/widgets.example.com",
        "Namespace/web",
        "ConfigMap/bramble-add-on-web",
    ]
    assert api.run() == {}


@pytest.mark.parametrize("then", [(), (web(version=3, settings="c"),)], ids=["removed", "upgraded"])
@pytest.mark.parametrize("answers", range(24))
def test_killed_after_each_answer(api: Api, answers: int, then: tuple[AddOn, ...]) -> None:
    """What comes after ends as if nothing had been, also if it asks for something else."""
    api.run(web())
    api.left = answers
    try:
        api.run(web(version=2, settings="b"))
    except Killed:
        pass
    else:
        assert answers > 8
    api.left = None
    api.run(*then)
    expected = {plan.reference(each) for add_on in then for each in add_on.objects}
    assert {key for key in api.objects if not key.name.startswith("bramble-add-on")} == expected


@pytest.mark.parametrize("answers", range(12))
def test_killed_while_it_is_removed(api: Api, answers: int) -> None:
    api.run(web())
    api.left = answers
    try:
        api.run()
    except Killed:
        pass
    else:
        assert answers > 6
    api.left = None
    api.run()
    assert api.objects == {}


@pytest.mark.parametrize("check", [True, False])
def test_objects_of_somebody_keep_it(api: Api, check: bool) -> None:
    api.run(web())
    mine = thing("example.com/v1", "Widget", "mine", owner="")
    api.objects[plan.reference(mine)] = mine
    before = dict(api.objects)
    with pytest.raises(
        AddOnError,
        match="the add-on web is needed by widget/mine in the namespace default; expected nobody's objects",
    ):
        api.run(check=check)
    without = AddOn("web", [each for each in web().objects if each["kind"] != plan.DEFINITION][1:])
    with pytest.raises(AddOnError, match="what the add-on web has no more in its new version is needed by"):
        api.run(without, check=check)
    assert api.objects == before
    assert api.run(consented=["web"], check=check) == {"web": "removed"}
    assert api.objects == (before if check else {})


@pytest.mark.parametrize("check", [True, False])
def test_what_is_somebody_elses_is_left(api: Api, check: bool) -> None:
    theirs = thing("v1", "ConfigMap", "a", owner="")
    api.objects[plan.reference(theirs)] = theirs
    with pytest.raises(
        AddOnError,
        match=r"configmap/a in the namespace default is there and has no label bramble\.pi/add-on; expected",
    ):
        api.run(web(), check=check)
    assert list(api.objects.values()) == [theirs]


def test_what_lost_its_label_stays(api: Api) -> None:
    api.run(web())
    kept = Reference("v1", "ConfigMap", "", "a")
    api.objects[kept]["metadata"]["labels"] = {}
    assert api.run() == {"web": "removed"}
    assert list(api.objects) == [kept]


@pytest.mark.parametrize(("fails", "comes"), [(2, True), (9, False)])
def test_what_checks_its_kinds_is_waited_for(api: Api, fails: int, comes: bool) -> None:
    api.webhook_fails = fails
    if comes:
        assert api.run(web()) == {"web": "applied"}
    else:
        with pytest.raises(CommandError, match="failed calling webhook"):
            api.run(web())
    assert any(key.kind == "Widget" for key in api.objects) is comes


def test_one_that_is_not_rolled_out(api: Api) -> None:
    api.ready = False
    with pytest.raises(
        AddOnError,
        match="add-on web is not rolled out after 5 s: deployment/web in the namespace default: 0 of",
    ):
        api.run(web())
    # What is of its kind waits for what serves it.
    assert not [key for key in api.objects if key.kind == "Widget"]
    api.ready = True
    api.objects[Reference("apps/v1", "Deployment", "", "web")]["status"]["availableReplicas"] = 1
    assert api.run(web()) == {"web": "applied"}
