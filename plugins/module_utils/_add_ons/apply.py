# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies add-ons, waits until they run, and removes what is no longer asked for.

What an add-on may have is noted before it is touched, and what it has after: a run that is killed in between
is finished by the next, which finds all of it in the note.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.module_utils._add_ons import plan, readiness
from ansible_collections.bramble.pi.plugins.module_utils._add_ons.cluster import Cluster
from ansible_collections.bramble.pi.plugins.module_utils._add_ons.plan import AddOn, AddOnError, Reference
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError

_PAUSE = 2.0
_NO_WEBHOOK = "failed calling webhook"


class AddOns:
    """The add-ons of a cluster on their way to what is asked for."""

    def __init__(
        self,
        cluster: Cluster,
        add_ons: Sequence[AddOn],
        *,
        consented: Sequence[str],
        timeout: int,
        done: dict[str, str],
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._add_ons = add_ons
        self._consented = consented
        self._timeout = timeout
        self._sleep = sleep
        self._now = now
        self._records = cluster.records()
        names = [add_on.name for add_on in add_ons]
        #: Those that are no longer asked for.
        self._leaving = {name: known for name, known in self._records.items() if name not in names}
        self._groups = plan.defined(each for add_on in add_ons for each in add_on.references())
        #: What goes, by add-on: as it was seen before anything was touched.
        self._going: dict[str, list[Reference]] = {}
        #: Somebody's objects that go along, by add-on and kind.
        self._concerned: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
        #: What was done, by add-on.
        self._done = done

    def run(self) -> None:
        """Do all of it, or say what is in the way before anything is touched."""
        problems = list(self._look())
        if problems:
            raise AddOnError("; ".join(problems))
        for name in self._leaving:
            self._remove(name)
        for add_on in self._add_ons:
            self._bring(add_on)

    def _look(self) -> Iterator[str]:
        for name, known in self._leaving.items():
            yield from self._look_at_going(name, known, removed=True)
        for add_on in self._add_ons:
            references = add_on.references()
            there = self._cluster.find(references)
            yield from plan.foreign(add_on.name, there, leaving=self._leaving)
            going = plan.gone(self._records.get(add_on.name, ()), references)
            yield from self._look_at_going(add_on.name, going, removed=False)

    def _look_at_going(self, name: str, known: Sequence[Reference], *, removed: bool) -> Iterator[str]:
        # One that has lost its label was taken over by somebody, and stays.
        going = [plan.reference(thing) for thing in self._cluster.find(known) if plan.owner(thing) == name]
        self._going[name] = going
        concerned = self._concerned.setdefault(name, {})
        for question in plan.questions(name, going):
            found = self._cluster.ask(question.resources, question.namespace)
            mine = [thing for thing in found if question.concerned(thing)]
            if mine:
                concerned.setdefault(question.resources, []).extend(mine)
        if concerned and name not in self._consented:
            yield plan.refusal(
                name, [each for found in concerned.values() for each in found], removed=removed
            )

    def _prune(self, name: str) -> None:
        going = self._going[name]
        definitions = [each.name for each in going if each.kind == plan.DEFINITION]
        for resources, found in self._concerned[name].items():
            # Their finalizers are those of what still runs. Others than these stay, and are of no more use.
            if resources in definitions:
                self._cluster.delete_all(resources, [plan.reference(thing) for thing in found])
        for part in plan.removal_order(going):
            self._cluster.delete(part)

    def _remove(self, name: str) -> None:
        self._prune(name)
        self._cluster.delete([plan.reference(plan.record(name, ()))])
        self._done[name] = "removed"

    def _note(self, name: str, references: Sequence[Reference]) -> bool:
        """Note what an add-on may have, and tell whether that is news."""
        if self._records.get(name) == list(references):
            return False
        self._cluster.apply([plan.record(name, references)])
        self._records[name] = list(references)
        return True

    def _bring(self, add_on: AddOn) -> None:
        name, references = add_on.name, add_on.references()
        changed = self._note(name, plan.both(self._records.get(name, ()), references))
        first, others, own = plan.in_order(add_on.objects, self._groups, key=plan.reference)
        changed |= self._cluster.apply(first)
        definitions = [plan.reference(each) for each in first if each["kind"] == plan.DEFINITION]
        self._wait_for_definitions(name, definitions)
        changed |= self._cluster.apply(others)
        self._wait_for_pods(add_on)
        changed |= self._apply_own(own)
        changed |= bool(self._going[name])
        self._prune(name)
        changed |= self._note(name, references)
        self._done[name] = "applied" if changed else "unchanged"

    def _apply_own(self, things: Sequence[Mapping[str, Any]]) -> bool:
        if self._cluster.check_mode and things:
            # The API server cannot try what it has no definition of yet.
            known = self._cluster.ask("customresourcedefinitions.apiextensions.k8s.io")
            groups = plan.defined(map(plan.reference, known))
            if any(plan.group_of(thing["apiVersion"]) not in groups for thing in things):
                return True
        deadline = self._now() + self._timeout
        tried = False
        while True:
            try:
                return self._cluster.apply(things) or tried
            except CommandError as error:
                # What checks them may run, and not be reached before a moment later.
                if self._cluster.check_mode or _NO_WEBHOOK not in str(error) or self._now() >= deadline:
                    raise
            tried = True
            self._sleep(_PAUSE)

    def _poll(self, left: Callable[[], list[str]]) -> list[str]:
        """Ask until nothing is left, and return what is left after the time that it may take."""
        deadline = self._now() + self._timeout
        while True:
            found = left()
            if not found or self._now() >= deadline:
                return found
            self._sleep(_PAUSE)

    def _wait_for_definitions(self, name: str, definitions: Sequence[Reference]) -> None:
        if self._cluster.check_mode or not definitions:
            return

        def left() -> list[str]:
            found = self._cluster.find(definitions)
            ready = {thing["metadata"]["name"] for thing in found if _is_established(thing)}
            return [each.name for each in definitions if each.name not in ready]

        found = self._poll(left)
        if found:
            raise AddOnError(
                f"add-on {name}: after {self._timeout} s the API server does not serve {', '.join(found)}; "
                "expected "
                f"the condition Established: kubectl describe customresourcedefinition {found[0]} says why"
            )

    def _wait_for_pods(self, add_on: AddOn) -> None:
        waited = _waited(add_on)
        if self._cluster.check_mode or not waited:
            return
        workloads: list[Mapping[str, Any]] = []

        def left() -> list[str]:
            workloads[:] = self._cluster.find(waited)
            lacking = {plan.reference(each): readiness.unready(each) for each in workloads}
            return [f"{each}: {said}" for each, said in lacking.items() if said]

        if not self._poll(left):
            return
        told = []
        for workload in workloads:
            said = readiness.unready(workload)
            if said:
                namespace = workload["metadata"]["namespace"]
                pods, events = (self._cluster.ask(kind, namespace) for kind in ("pods", "events"))
                why = "; ".join(readiness.causes(workload, pods, events))
                told.append(f"{plan.reference(workload)}: {said}: {why}")
        raise AddOnError(
            f"add-on {add_on.name} is not rolled out after {self._timeout} s: {'; '.join(told)}; expected "
            "all its "
            "pods ready: fix that and run bramble.pi.add_ons again, which goes on from here, or set "
            "add_ons_timeout to more"
        )


def _is_established(definition: Mapping[str, Any]) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def _waited(add_on: AddOn) -> list[Reference]:
    """Return what is waited for."""
    workloads = [each for each in add_on.references() if each.kind in plan.WORKLOADS]
    if add_on.wait_for is None:
        return workloads
    return [each for each in workloads if f"{each.kind.lower()}/{each.name}" in add_on.wait_for]
