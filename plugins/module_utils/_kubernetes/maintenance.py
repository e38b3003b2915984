# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a node of a running cluster out of use, and gives it back; ``drain`` decides about its pods.

What was found is written on the Node itself, by the request that cordons it, so that whoever goes on after
a run that was killed knows whether the cordon is ours.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError, Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import drain, kubectl

#: On a Node that is worked on: JSON, what of it was so before.
ANNOTATION = "bramble.pi/maintenance"
#: How long one question may take, in seconds.
_QUESTION = 30
#: How often is looked, and how many looks in a row have to find all in order: what a kubelet told of pods
#: before it was restarted is believed for a moment.
_INTERVAL = 3
_LOOKS = 2
#: How long a node is looked at whose work another role has begun, in seconds: a kubelet reports every ten.
_GLANCE = 30
#: How long members of etcd are waited for, in seconds: that they are Ready again is told late where API
#: servers were restarted just now, as in an upgrade.
_MEMBERS = 60
#: From this minor on the flag has its present name.
_EMPTYDIR_SINCE = 20


class MaintenanceError(BrambleError):
    """A node that cannot be taken out of use, and is in use as before; or one that does not come back."""


@dataclass(frozen=True)
class Restart:
    """What the node itself says of its boot and its kubelet; nothing told before that counts any more."""

    boot_id: str = ""
    #: As the API writes times, without parts of a second and zone; of the node's own clock, as what its
    #: kubelet tells.
    kubelet_started: str = ""


def started(text: str) -> str:
    """Read what ``systemctl show --property=ExecMainStartTimestamp`` prints in UTC, if a unit was started."""
    found = re.search(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.\d+)? UTC", text)
    return f"{found[1]}T{found[2]}" if found else ""


@dataclass(frozen=True)
class Maintenance:
    """One node, and how it is worked on."""

    run: Runner
    node: str
    kubeconfig: str
    timeout: int
    consent: drain.Consent = field(default_factory=drain.Consent)
    #: Whether its pods are to go; those that stay are waited for afterwards.
    drains: bool = True
    #: What is due there, such as a role; what another one has begun may be what brings the node back.
    work: str = ""
    restart: Restart = field(default_factory=Restart)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def _kubectl(self, *words: str, seconds: int = _QUESTION) -> str:
        command = [*kubectl.limited(self.kubeconfig, seconds=seconds), *words]
        code, output, errors = self.run(command)
        if code != 0:
            raise kubectl.failure(command, code, errors)
        return output

    def _get(self, *words: str) -> Any:
        return json.loads(self._kubectl("get", "--output=json", *words))

    def _list(self, kind: str, *words: str) -> Sequence[Any]:
        found: Sequence[Any] = self._get(kind, "--all-namespaces", *words)["items"]
        return found

    def _find(self) -> Any:
        """Return the Node; None if the cluster does not know it, as somebody has deleted it."""
        output = self._kubectl("get", "--output=json", "node", self.node, "--ignore-not-found")
        return json.loads(output) if output.strip() else None

    def _pods(self) -> Sequence[Any]:
        return self._list("pods", f"--field-selector=spec.nodeName={self.node}")

    def verdicts(self) -> list[drain.Verdict]:
        """Say what becomes of each pod of the node."""
        cluster = drain.Cluster(
            budgets=self._list("poddisruptionbudgets"),
            daemon_sets=self._list("daemonsets"),
            claims=self._list("persistentvolumeclaims"),
            volumes=self._list("persistentvolumes"),
        )
        return drain.verdicts(pods=self._pods(), cluster=cluster, consent=self.consent)

    def _refuse(self, verdicts: Sequence[drain.Verdict], *actions: drain.Action) -> None:
        blocking = [str(each) for each in verdicts if each.action in actions]
        if blocking:
            raise MaintenanceError(
                f"{self.node} cannot be drained, and nothing was done to it: {'. '.join(blocking)}"
            )

    def begin(self, *, check_mode: bool) -> tuple[bool, list[drain.Verdict]] | None:
        """Cordon and drain the node; tell whether there was something to do, and what became of its pods.

        None if the cluster does not know the node: nothing runs there by its leave.
        """
        node = self._find()
        if node is None:
            return None
        nodes = self._get("nodes")["items"]
        others = [each for each in nodes if each["metadata"]["name"] != self.node]
        try:
            if self.drains:
                self._keep_majority(wait=not check_mode)
            if drain.is_ready(node):
                self._keep_others(others)
            # Nobody would end the pods of a node that is not Ready. Those of the only node can go nowhere:
            # its kubelet starts them again, with all that they had.
            drains = self.drains and drain.is_ready(node) and bool(others)
            verdicts = self._decide(wait=not check_mode) if drains else []
        except MaintenanceError:
            # Nothing is left incomplete, not even by a run that was killed.
            if _before(node) is not None and not check_mode:
                self._release(node)
            raise
        moving = any(each.action != drain.Action.STAYS for each in verdicts)
        changed = moving or _before(node) is None or (self.drains and not _is_cordoned(node))
        if not check_mode:
            note = self._note(node)
            if changed or note != _before(node):
                spec = {"spec": {"unschedulable": True}} if self.drains else {}
                annotations = {ANNOTATION: json.dumps(note, sort_keys=True)}
                self._patch({"metadata": {"annotations": annotations}, **spec})
            if changed and drains:
                self._drain()
        return changed, verdicts

    def _keep_majority(self, *, wait: bool) -> None:
        deadline = self.clock() + min(self.timeout, _MEMBERS)
        while True:
            members = self._list("pods", "--selector=component=etcd,tier=control-plane")
            problem = drain.etcd_problem(node=self.node, members=members)
            if not problem:
                return
            if not wait or self.clock() >= deadline:
                raise MaintenanceError(problem)
            self.sleep(_INTERVAL)

    def _keep_others(self, others: Sequence[Any]) -> None:
        away = [each["metadata"]["name"] for each in others if _is_away(each)]
        if away:
            raise MaintenanceError(
                f"{self.node} was not touched, as {', '.join(away)}, which was Ready before it was drained, "
                "is not back; expected it back first: see bramble.pi.doctor. If it is lost for good, take it "
                f"out of the cluster: kubectl delete node {' '.join(away)}"
            )

    def _decide(self, *, wait: bool) -> list[drain.Verdict]:
        """Return what becomes of the pods, once no budget has to be waited for; refuse what cannot be."""
        deadline = self.clock() + self.timeout
        while True:
            verdicts = self.verdicts()
            self._refuse(verdicts, drain.Action.BLOCKS)
            if not wait or drain.Action.WAITS not in {each.action for each in verdicts}:
                return verdicts
            if self.clock() >= deadline:
                self._refuse(verdicts, drain.Action.WAITS)
            self.sleep(_INTERVAL)

    def _note(self, node: Any) -> dict[str, Any]:
        """Return what is to be known of the node afterwards; of a run that was killed, what it found."""
        pods = self._pods()
        before = _before(node) or {}
        ours = _has_our_cordon(node)
        note = {
            # As in a cluster that has no pod network yet.
            "ready": drain.is_ready(node),
            "unready": sorted(drain.unready(pods)),
            **before,
            # A cordon that is not ours its user has set, also meanwhile.
            "cordoned": bool(before.get("cordoned")) if ours else _is_cordoned(node),
            "cordons": self.drains or ours,
            "work": self._work(node),
            # That run may have booted it already.
            "boot": _boot_id(node),
            "containers": sorted(drain.containers(pods)),
        }
        if not self.drains:
            note.setdefault("serving", sorted(drain.serving(pods)))
        return note

    def _work(self, node: Any) -> str:
        """Return whose work is to bring the node back: of a run that was killed, while it is not Ready."""
        before = _before(node) or {}
        return self.work if drain.is_ready(node) else str(before.get("work", self.work))

    def _is_of_another(self, node: Any) -> bool:
        return node is not None and (_before(node) or {}).get("work", self.work) != self.work

    def _patch(self, patch: Any) -> None:
        self._kubectl("patch", "node", self.node, "--type=merge", f"--patch={json.dumps(patch)}")

    def _drain(self) -> None:
        words = ["drain", self.node, "--ignore-daemonsets", f"--timeout={self.timeout}s"]
        if self.consent.bare_pods:
            words.append("--force")
        if self.consent.emptydir_data:
            named = "emptydir" if self._minor() >= _EMPTYDIR_SINCE else "local"
            words.append(f"--delete-{named}-data")
        try:
            self._kubectl(*words, seconds=self.timeout + _QUESTION)
        except CommandError as error:
            left = [each for each in self.verdicts() if each.action != drain.Action.STAYS]
            node = self._find()
            if node is not None:
                self._release(node)
            names = ". ".join(str(each) for each in left)
            raise MaintenanceError(
                f"{self.node} was not drained within {self.timeout} s, and takes pods again as before. "
                f"Left were: {names or error}; expected all gone: see why they stay, or set "
                f"maintenance_timeout to more than {self.timeout} s"
            ) from error

    def _minor(self) -> int:
        version = json.loads(self._kubectl("version", "--client", "--output=json"))["clientVersion"]
        return int("".join(filter(str.isdigit, version["minor"])))

    def _release(self, node: Any) -> None:
        before = _before(node) or {}
        patch: dict[str, Any] = {"metadata": {"annotations": {ANNOTATION: None}}}
        if _has_our_cordon(node) and not before.get("cordoned"):
            patch["spec"] = {"unschedulable": None}
        self._patch(patch)

    def end(self, *, check_mode: bool) -> bool | None:
        """Wait until the node is as before, and give it back; tell whether there was something to do.

        None if it is not back, and that is left to the work which another role has begun there.
        """
        if check_mode:
            there = self._find()
            return there is not None and _before(there) is not None
        deadline = self.clock() + self.timeout
        first: tuple[str, str] | None = None
        node: Any = None
        found = 0
        while True:
            problem: str | None
            try:
                node = self._find()
                if node is None:
                    return False
                heard = self._lease(), _heartbeat(node)
                first = first or heard
                problem = self._shortcoming(node, heard=heard, first=first)
            except CommandError as error:
                # The API server may be on this very node.
                problem = str(error)
            found = 0 if problem else found + 1
            if found == _LOOKS:
                break
            if self._is_of_another(node) and self.clock() >= deadline - max(self.timeout - _GLANCE, 0):
                return None
            if self.clock() >= deadline:
                raise MaintenanceError(
                    f"{self.node} is not back after {self.timeout} s, and stays {self._state()}: {problem}; "
                    "expected it Ready with the pods that belong there: see bramble.pi.doctor, then run this "
                    f"again, or set maintenance_timeout to more than {self.timeout} s"
                )
            self.sleep(_INTERVAL)
        node = self._find()
        if node is None or _before(node) is None:
            return False
        self._release(node)
        return True

    def _state(self) -> str:
        return "cordoned" if self.drains else "as it is"

    def _lease(self) -> str:
        lease = self._get("lease", self.node, "--namespace=kube-node-lease")
        return str(lease["spec"].get("renewTime", ""))

    def _shortcoming(self, node: Any, *, heard: tuple[str, str], first: tuple[str, str]) -> str | None:
        """Say what is missing until the node is as it was."""
        before = _before(node)
        if before is None:
            # Noted on its disk alone, as by a run that was killed before it cordoned the node.
            return None
        # What was told before it was restarted tells nothing: its last words were that all was well.
        since = self.restart.kubelet_started
        fresh = [now != then or (since and now >= since) for now, then in zip(heard, first)]
        if not fresh[0]:
            return "its kubelet has not been heard of"
        if self.restart.boot_id and _boot_id(node) != self.restart.boot_id:
            return "its kubelet has not reported since it was booted"
        if since and not fresh[1]:
            return "its kubelet has not reported since it was started"
        if before.get("ready", True) and not drain.is_ready(node):
            return "it is not Ready"
        pods = self._pods()
        # After a boot each container is another one; kubelets tell so up to ten seconds later.
        booted = bool(self.restart.boot_id) and before.get("boot") not in (None, self.restart.boot_id)
        gone = before.get("containers", ()) if booted else ()
        missing = set(drain.unready(pods, gone=gone)) - set(before.get("unready", ()))
        missing |= set(drain.unserving(pods, before=before.get("serving", ())))
        return f"not Ready: {', '.join(sorted(missing))}" if missing else None


def _boot_id(node: Any) -> str:
    return str(node.get("status", {}).get("nodeInfo", {}).get("bootID", ""))


def _heartbeat(node: Any) -> str:
    """Return when the kubelet last told whether it is Ready."""
    conditions = node.get("status", {}).get("conditions") or ()
    told = (str(each.get("lastHeartbeatTime", "")) for each in conditions if each["type"] == "Ready")
    return next(told, "")


def _annotations(node: Any) -> dict[str, str]:
    return node["metadata"].get("annotations") or {}


def _is_cordoned(node: Any) -> bool:
    return bool(node["spec"].get("unschedulable"))


def _has_our_cordon(node: Any) -> bool:
    """Tell whether a run that has not come to its end has cordoned the node, as one that drains does."""
    before = _before(node)
    return before is not None and bool(before.get("cordons", True))


def _is_away(node: Any) -> bool:
    """Tell whether a node has not come back from a run; one of this run is Ready until all are drained."""
    before = _before(node)
    return before is not None and before.get("ready", True) and not drain.is_ready(node)


def _before(node: Any) -> dict[str, Any] | None:
    """Return what was so before a run that has not come to its end; None without such a run."""
    text = _annotations(node).get(ANNOTATION)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}
