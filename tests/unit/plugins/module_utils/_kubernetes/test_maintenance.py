# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node is taken out of use and given back, with a cluster that is a dictionary, killed at each request."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import drain, maintenance
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.maintenance import (
    ANNOTATION,
    Maintenance,
    MaintenanceError,
    Restart,
    started,
)

from tests.unit.plugins.module_utils._kubernetes.test_drain import (
    DAEMON,
    DEPLOYED,
    EMPTYDIR,
    NEVER,
    NOT_NOW,
    READY,
    UNREADY,
    budget,
    member,
    pod,
)

PROXY = {"metadata": {"namespace": "default", "name": "proxy"}}


class KilledError(Exception):
    """The run was killed."""


class Cluster:
    """What kubectl answers from, and a clock that its questions turn on."""

    def __init__(self, *pods: Any, **lists: Any) -> None:
        self.lists: dict[str, Any] = {
            "pods": list(pods),
            "poddisruptionbudgets": [],
            "daemonsets": [PROXY],
            "persistentvolumeclaims": [],
            "persistentvolumes": [],
            **lists,
        }
        self.node: dict[str, Any] = {"metadata": {"name": "pi-2"}, "spec": {}, "status": READY}
        self.others: list[Any] = [{"metadata": {"name": "pi-1"}, "spec": {}, "status": READY}]
        self.etcd: list[Any] = []
        self.now = 0.0
        self.minor = "20"
        self.known = True
        self.commands: list[str] = []
        #: The number of the request that no longer comes.
        self.killed_at: int | None = None
        self.drains = True
        self.alive_from = 5.0
        #: What happens while time goes by.
        self.on_sleep: Callable[[], None] = lambda: None

    def run(self, command: list[str]) -> tuple[int, str, str]:
        assert command[0] == "timeout"
        assert any(word.startswith("--request-timeout=") for word in command)
        words = command[7:]
        self.commands.append(" ".join(words))
        if self.killed_at is not None and len(self.commands) > self.killed_at:
            raise KilledError
        return self.answer(words)

    def answer(self, words: list[str]) -> tuple[int, str, str]:
        if words[0] == "patch":
            patch = json.loads(words[-1].partition("=")[2])
            for part in ("metadata", "spec"):
                merge(self.node[part], patch.get(part, {}))
            return 0, "", ""
        if words[0] == "drain":
            if not self.drains:
                return 1, "", "error when evicting pods: global timeout reached"
            self.lists["pods"] = [each for each in self.lists["pods"] if drain.belongs(each)]
            return 0, "", ""
        if words[0] == "version":
            return 0, json.dumps({"clientVersion": {"minor": self.minor}}), ""
        kind = words[2]
        if kind == "node":
            assert words[-1] == "--ignore-not-found"
            return 0, json.dumps(self.node) if self.known else "", ""
        if kind == "nodes":
            return 0, json.dumps({"items": [self.node, *self.others]}), ""
        if kind == "lease":
            renewed = self.now if self.now >= self.alive_from else 0
            return 0, json.dumps({"spec": {"renewTime": str(renewed)}}), ""
        items = self.etcd if "--selector=component=etcd,tier=control-plane" in words else self.lists[kind]
        return 0, json.dumps({"items": items}), ""

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()

    def maintenance(self, **more: Any) -> Maintenance:
        given = {"timeout": 60, "kubeconfig": "/k", "node": "pi-2", **more}
        return Maintenance(run=self.run, clock=lambda: self.now, sleep=self.sleep, **given)

    def begin(self, *, check: bool = False, **more: Any) -> bool:
        begun = self.maintenance(**more).begin(check_mode=check)
        assert begun is not None
        return begun[0]

    def end(self, **more: Any) -> bool | None:
        self.alive_from = self.now + 5
        return self.maintenance(**more).end(check_mode=False)

    def begin_and_end(self) -> None:
        self.begin()
        self.end()

    @property
    def asked_to(self) -> list[str]:
        return [words for words in self.commands if words.split()[0] in ("patch", "drain")]


def merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def as_before(cluster: Cluster) -> bool:
    return ANNOTATION not in cluster.node["metadata"].get("annotations", {}) and cluster.node["spec"] == {}


def test_there_and_back() -> None:
    cluster = Cluster(pod(DEPLOYED), pod(DAEMON))
    assert cluster.begin(check=True)
    assert cluster.asked_to == []
    assert cluster.begin()
    assert cluster.asked_to[-1] == "drain pi-2 --ignore-daemonsets --timeout=60s"
    assert cluster.node["spec"] == {"unschedulable": True}
    # Again, it finds that all is done.
    assert not cluster.begin()
    assert cluster.end()
    assert as_before(cluster)
    assert not cluster.end()


def test_a_node_that_its_user_had_cordoned_stays_cordoned() -> None:
    cluster = Cluster(pod(DEPLOYED))
    cluster.node["spec"] = {"unschedulable": True}
    assert cluster.begin()
    assert cluster.begin() is False
    assert cluster.end()
    assert cluster.node["spec"] == {"unschedulable": True}
    assert ANNOTATION not in cluster.node["metadata"]["annotations"]


@pytest.mark.parametrize("cordoned", [False, True])
def test_killed_at_each_request_and_run_again(cordoned: bool) -> None:
    whole = Cluster(pod(DEPLOYED), pod(DAEMON))
    whole.begin()
    whole.end()
    for step in range(len(whole.commands)):
        cluster = Cluster(pod(DEPLOYED), pod(DAEMON))
        cluster.node["spec"] = {"unschedulable": True} if cordoned else {}
        at_first = copy.deepcopy(cluster.node["spec"])
        cluster.killed_at = step
        with pytest.raises(KilledError):
            cluster.begin_and_end()
        cluster.killed_at = None
        cluster.begin_and_end()
        assert cluster.node["spec"] == at_first, step
        assert not cluster.node["metadata"]["annotations"], step


BLOCKING = [
    (Cluster(pod({})), "set maintenance_delete_bare_pods"),
    (Cluster(pod(DEPLOYED, volumes=EMPTYDIR)), "set maintenance_delete_emptydir_data"),
    (Cluster(pod(DEPLOYED), poddisruptionbudgets=[NEVER]), "PodDisruptionBudget default/web lets no pod"),
    (Cluster(pod(DEPLOYED), poddisruptionbudgets=[NOT_NOW]), "expected that its pods become Ready"),
]


@pytest.mark.parametrize(("cluster", "text"), BLOCKING)
def test_what_blocks_is_named_before_anything_is_done(cluster: Cluster, text: str) -> None:
    with pytest.raises(MaintenanceError, match=text):
        cluster.begin()
    assert cluster.asked_to == []
    assert as_before(cluster)


def test_what_came_to_block_after_a_run_was_killed_gives_the_node_back() -> None:
    cluster = Cluster(pod(DEPLOYED))
    cluster.begin()
    cluster.lists["pods"] = [pod({})]
    with pytest.raises(MaintenanceError, match="set maintenance_delete_bare_pods"):
        cluster.begin()
    assert cluster.node["spec"] == {}


def test_a_budget_that_allows_none_now_is_waited_for() -> None:
    cluster = Cluster(pod(DEPLOYED), poddisruptionbudgets=[NOT_NOW])
    cluster.on_sleep = lambda: cluster.lists.update(poddisruptionbudgets=[budget()])
    assert cluster.begin()
    assert 0 < cluster.now < 60


def test_etcd_keeps_its_majority() -> None:
    cluster = Cluster(pod(DEPLOYED))
    cluster.etcd = [member("pi-2"), member("pi-1"), member("pi-4", ready=False)]
    with pytest.raises(MaintenanceError, match="etcd has 3 members and needs 2 of them"):
        cluster.begin()
    assert cluster.asked_to == []
    assert cluster.now >= 60


def test_members_of_etcd_that_come_back_are_waited_for() -> None:
    cluster = Cluster(pod(DEPLOYED))
    cluster.etcd = [member("pi-2"), member("pi-1"), member("pi-4", ready=False)]
    cluster.on_sleep = lambda: cluster.etcd.__setitem__(2, member("pi-4"))
    assert cluster.begin()
    assert 0 < cluster.now < 30


def test_a_drain_that_does_not_end_gives_the_node_back() -> None:
    cluster = Cluster(pod(DEPLOYED), pod(DAEMON))
    cluster.drains = False
    with pytest.raises(MaintenanceError) as caught:
        cluster.begin()
    assert "pi-2 was not drained within 60 s, and takes pods again as before" in str(caught.value)
    assert "pod default/web-1" in str(caught.value)
    assert "proxy" not in str(caught.value)
    assert "set maintenance_timeout to more than 60 s" in str(caught.value)
    assert as_before(cluster)


def test_a_node_that_is_not_ready_is_not_drained() -> None:
    cluster = Cluster(pod(DEPLOYED), pod({}))
    cluster.node["status"] = UNREADY
    assert cluster.begin()
    assert [words.split()[0] for words in cluster.asked_to] == ["patch"]
    assert not cluster.begin()
    cluster.node["status"] = READY
    assert cluster.end()
    assert as_before(cluster)


@pytest.mark.parametrize(
    ("minor", "flag"), [("19", "local"), ("19+", "local"), ("20", "emptydir"), ("36", "emptydir")]
)
def test_flags_by_version(minor: str, flag: str) -> None:
    cluster = Cluster(pod(DEPLOYED, volumes=EMPTYDIR))
    cluster.minor = minor
    assert cluster.begin(consent=drain.Consent(bare_pods=True, emptydir_data=True))
    drained = "drain pi-2 --ignore-daemonsets --timeout=60s --force"
    assert cluster.asked_to[-1] == f"{drained} --delete-{flag}-data"


def test_a_node_is_believed_once_its_kubelet_was_heard_of_again() -> None:
    cluster = Cluster(pod(DAEMON))
    cluster.begin()
    cluster.end()
    assert cluster.now >= 5


GONE = [
    (lambda cluster: cluster.node.update(status=UNREADY), "stays cordoned: it is not Ready"),
    (
        lambda cluster: cluster.lists.update(pods=[pod(DAEMON, status=UNREADY)]),
        "stays cordoned: not Ready: DaemonSet default/proxy",
    ),
]


@pytest.mark.parametrize(("breaks", "text"), GONE)
def test_a_node_that_does_not_come_back_stays_cordoned(breaks: Callable[[Cluster], None], text: str) -> None:
    cluster = Cluster(pod(DAEMON))
    cluster.begin()
    breaks(cluster)
    with pytest.raises(MaintenanceError, match=text):
        cluster.end()
    assert cluster.node["spec"] == {"unschedulable": True}
    # Once it is back, the next run ends it.
    cluster.node["status"] = READY
    cluster.lists["pods"] = []
    assert cluster.end()
    assert as_before(cluster)


def test_a_kubelet_that_stays_away_is_told() -> None:
    cluster = Cluster()
    cluster.begin()
    cluster.alive_from = 1e9
    with pytest.raises(MaintenanceError, match="its kubelet has not been heard of"):
        cluster.maintenance().end(check_mode=False)


def test_the_only_node_is_not_drained() -> None:
    cluster = Cluster(pod({}), pod(DEPLOYED, volumes=EMPTYDIR), poddisruptionbudgets=[NEVER])
    cluster.others = []
    assert cluster.begin()
    assert [words.split()[0] for words in cluster.asked_to] == ["patch"]
    assert cluster.end()
    assert as_before(cluster)


@pytest.mark.parametrize(("ready", "refused"), [(True, True), (False, False)])
def test_no_node_is_touched_while_another_is_not_back(ready: bool, refused: bool) -> None:
    """One that was broken before, as its mate in a batch of two, is no reason."""
    cluster = Cluster(pod(DEPLOYED))
    note = {ANNOTATION: json.dumps({"cordoned": False, "ready": ready, "unready": []})}
    metadata = {"name": "pi-3", "annotations": note}
    cluster.others = [{"metadata": metadata, "spec": {}, "status": UNREADY}]
    if refused:
        with pytest.raises(MaintenanceError, match="as pi-3, which was Ready before it was drained, is"):
            cluster.begin()
        assert cluster.asked_to == []
        # What may bring it back, or is broken itself, takes nothing away.
        cluster.node["status"] = UNREADY
    assert cluster.begin()


def test_a_node_that_was_noted_on_its_disk_alone_is_not_waited_for() -> None:
    """A run was killed before it cordoned the node, or no API server answered it."""
    cluster = Cluster(pod(DAEMON, status=UNREADY))
    cluster.node["status"] = UNREADY
    assert not cluster.end()
    assert cluster.asked_to == []


def test_an_api_server_that_is_away_is_waited_for() -> None:
    cluster = Cluster()
    cluster.begin()
    answer = cluster.answer

    def silent(words: list[str]) -> tuple[int, str, str]:
        return answer(words) if cluster.now > 20 else (1, "", "connection refused")

    cluster.answer = silent  # type: ignore[method-assign]
    assert cluster.end()
    assert cluster.now > 20


def test_what_was_broken_before_is_not_waited_for() -> None:
    cluster = Cluster(pod(DAEMON, status=UNREADY))
    cluster.begin()
    assert cluster.end()


def test_a_note_that_somebody_has_changed_ends_as_if_it_were_ours() -> None:
    cluster = Cluster()
    cluster.node["metadata"]["annotations"] = {ANNOTATION: "[broken"}
    cluster.node["spec"] = {"unschedulable": True}
    assert cluster.maintenance().end(check_mode=True)
    assert cluster.end()
    assert as_before(cluster)
    assert maintenance.ANNOTATION.startswith("bramble.pi/")


def test_a_node_that_was_not_ready_before_only_has_to_be_heard_of() -> None:
    """As in a cluster that has no pod network yet, which comes after the reboot."""
    cluster = Cluster()
    cluster.node["status"] = UNREADY
    cluster.begin_and_end()
    assert not cluster.node["spec"].get("unschedulable")
    assert ANNOTATION not in cluster.node["metadata"]["annotations"]


@pytest.mark.parametrize("check", [False, True])
def test_a_node_that_the_cluster_does_not_know_is_left_as_it_is(check: bool) -> None:
    cluster = Cluster(pod(DEPLOYED))
    cluster.known = False
    assert cluster.maintenance().begin(check_mode=check) is None
    assert cluster.maintenance().end(check_mode=check) is False
    assert cluster.asked_to == []
    assert cluster.now == 0


def test_a_node_that_is_deleted_while_it_is_waited_for_is_not_waited_for() -> None:
    cluster = Cluster()
    cluster.begin()
    cluster.alive_from = 1e9
    cluster.on_sleep = lambda: setattr(cluster, "known", False)
    assert cluster.maintenance().end(check_mode=False) is False


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("ExecMainStartTimestamp=Mon 2026-11-30 06:41:06 UTC", "2026-11-30T06:41:06"),
        ("ExecMainStartTimestamp=Mon 2026-11-30 06:41:06.123456 UTC\n", "2026-11-30T06:41:06"),
        # Of another zone, which tells nothing; of a unit that never ran; without systemd.
        ("ExecMainStartTimestamp=Mon 2026-11-30 07:41:06 CET", ""),
        ("ExecMainStartTimestamp=", ""),
        ("", ""),
    ],
)
def test_when_a_unit_was_started(text: str, time: str) -> None:
    assert started(text) == time


def status(boot: str, heartbeat: str, *, ready: bool = True) -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(ready), "lastHeartbeatTime": f"2026-11-30T{heartbeat}Z"}
    return {"conditions": [condition], "nodeInfo": {"bootID": boot}}


def running(container: str, *, ready: bool = True) -> dict[str, Any]:
    return {**(READY if ready else UNREADY), "containerStatuses": [{"containerID": container}]}


#: What a node that was booted, or whose kubelet was started, at 12:00:10 is told to be; what is missing.
TOLD = {
    "nothing new": ("1", "12:00:05", "1", "c1", {}, "its kubelet has not reported since it was started"),
    "nothing new, booted": ("1", "12:00:05", "2", "c1", {}, "has not reported since it was booted"),
    "not Ready": ("2", "12:00:12", "2", "c2", {"ready": False}, "it is not Ready"),
    "its last words of a pod": ("2", "12:00:12", "2", "c1", {}, "not Ready: DaemonSet default/proxy"),
    "a pod that does not run yet": ("2", "12:00:12", "2", "c2", {"runs": False}, "DaemonSet default/proxy"),
    "all well, booted": ("2", "12:00:12", "2", "c2", {}, ""),
    # No container is another one then.
    "all well, the kubelet alone": ("1", "12:00:10", "1", "c1", {}, ""),
}


@pytest.mark.parametrize("case", TOLD)
def test_what_was_told_before_the_restart_does_not_count(case: str) -> None:
    boot, heartbeat, actual, container, more, text = TOLD[case]
    cluster = Cluster(pod(DAEMON, status=running("c1")))
    cluster.node["status"] = status("1", "11:58:00")
    cluster.begin()
    cluster.node["status"] = status(boot, heartbeat, ready=more.get("ready", True))
    cluster.lists["pods"] = [pod(DAEMON, status=running(container, ready=more.get("runs", True)))]
    # Heard of all the time.
    cluster.alive_from = 0
    began = cluster.now
    given = cluster.maintenance(restart=Restart(boot_id=actual, kubelet_started="2026-11-30T12:00:10"))
    if text:
        with pytest.raises(MaintenanceError, match=text):
            given.end(check_mode=False)
    else:
        assert given.end(check_mode=False)
        assert cluster.now - began < 60


def test_a_clock_that_went_back_keeps_no_node_away() -> None:
    cluster = Cluster()
    cluster.node["status"] = status("1", "12:00:00")
    cluster.begin()
    cluster.node["status"] = status("2", "11:00:00")
    cluster.on_sleep = lambda: cluster.node.update(status=status("2", "11:00:10"))
    assert cluster.end(restart=Restart(boot_id="2", kubelet_started="2026-11-30T12:00:10"))


def test_a_kubelet_that_was_heard_of_since_it_was_started_is_not_waited_for() -> None:
    cluster = Cluster()
    cluster.node["status"] = status("1", "12:00:12")
    cluster.begin()
    heard = json.dumps({"spec": {"renewTime": "2026-11-30T12:00:10.123456Z"}})
    answer = cluster.answer
    cluster.answer = (  # type: ignore[method-assign]
        lambda words: (0, heard, "") if words[2] == "lease" else answer(words)
    )
    assert cluster.end(restart=Restart(boot_id="1", kubelet_started="2026-11-30T12:00:10"))
    assert cluster.now == 3


def test_a_run_that_was_killed_after_the_reboot_notes_what_runs_now() -> None:
    cluster = Cluster(pod(DAEMON, status=running("c1")))
    cluster.node["status"] = status("1", "12:00:00")
    cluster.begin()
    cluster.node["status"] = status("2", "12:00:12")
    cluster.lists["pods"] = [pod(DAEMON, status=running("c2"))]
    # Cordoned and drained it is already.
    assert not cluster.begin()
    note = json.loads(cluster.node["metadata"]["annotations"][ANNOTATION])
    assert (note["boot"], note["containers"], note["cordoned"]) == ("2", ["c2"], False)


def test_a_kubelet_alone_is_restarted_and_its_pods_are_waited_for() -> None:
    """They stay, whatever they are; those that were not Ready, and those that leave, are not waited for."""
    bare, broken, leaves = (f"default/{name}" for name in ("bare", "broken", "leaves"))
    pods = {
        bare: pod({"name": "bare"}),
        broken: pod({"name": "broken"}, status=UNREADY),
        leaves: pod({"name": "leaves"}),
    }
    cluster = Cluster(*pods.values(), poddisruptionbudgets=[NEVER])
    cluster.etcd = [member("pi-2"), member("pi-1"), member("pi-4", ready=False)]
    assert cluster.begin(drains=False)
    assert [words.split()[0] for words in cluster.asked_to] == ["patch"]
    assert cluster.node["spec"] == {}
    assert not cluster.begin(drains=False)
    pods[bare]["status"] = UNREADY
    pods[leaves].update(status=UNREADY)
    pods[leaves]["metadata"]["deletionTimestamp"] = "2026-11-30T12:00:00Z"
    with pytest.raises(MaintenanceError, match=f"stays as it is: not Ready: pod {bare};"):
        cluster.end(drains=False)
    pods[bare]["status"] = READY
    assert cluster.end(drains=False)
    assert as_before(cluster)


def test_a_node_is_restarted_by_both_ways_one_after_the_other() -> None:
    """A run that only restarts the kubelet gives back what one that was killed had cordoned."""
    cluster = Cluster(pod(DEPLOYED))
    cluster.begin()
    assert not cluster.begin(drains=False)
    assert cluster.end(drains=False)
    assert as_before(cluster)
    assert cluster.begin(drains=False)
    cluster.lists["pods"] = [pod(DEPLOYED)]
    assert cluster.begin()
    assert cluster.node["spec"] == {"unschedulable": True}
    assert cluster.end()
    assert as_before(cluster)


@pytest.mark.parametrize(
    ("killed", "ways", "spec"),
    [
        # Whether each run drains, the last of which gives it back; what the user has set is kept.
        (False, [False], {"unschedulable": True}),
        (True, [False, False], {"unschedulable": True}),
        (True, [False, True], {"unschedulable": True}),
        # Ours it was already, so that nobody can tell.
        (True, [True, False], {}),
    ],
)
def test_a_cordon_that_the_user_sets_meanwhile_is_kept(
    killed: bool, ways: list[bool], spec: dict[str, Any]
) -> None:
    cluster = Cluster(pod(DEPLOYED))
    cluster.begin(drains=ways[0])
    cluster.node["spec"] = {"unschedulable": True}
    if killed:
        cluster.begin(drains=ways[1])
    assert cluster.end(drains=ways[-1])
    assert cluster.node["spec"] == spec
    assert ANNOTATION not in cluster.node["metadata"]["annotations"]


def test_what_another_role_has_broken_and_not_mended_yet_is_left_to_it() -> None:
    """As where containerd is half replaced: os_prep, which comes before docker, is not to end the run."""
    cluster = Cluster(pod(DAEMON))
    cluster.begin(work="docker")
    # Killed there, with a runtime that serves no kubelet.
    cluster.node["status"] = UNREADY
    begun = cluster.now
    assert cluster.end(work="os_prep", timeout=300) is None
    assert cluster.now - begun <= 40
    assert cluster.node["spec"] == {"unschedulable": True}
    # Nor where that one has a reboot to do.
    cluster.begin(work="os_prep")
    assert cluster.end(work="os_prep") is None
    # Who has begun it waits, and tells.
    with pytest.raises(MaintenanceError, match="it is not Ready"):
        cluster.end(work="docker")
    cluster.begin(work="docker")
    cluster.node["status"] = READY
    assert cluster.end(work="docker")
    assert as_before(cluster)


def test_what_is_back_is_given_back_by_whoever_comes_first() -> None:
    cluster = Cluster(pod(DAEMON))
    cluster.begin(work="docker")
    assert cluster.end(work="os_prep")
    assert as_before(cluster)
