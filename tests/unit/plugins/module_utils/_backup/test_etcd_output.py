# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup import etcd_output
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError

# As etcdctl 3.4 and 3.5 print them.
ENDPOINT_STATUS = (
    '[{"Endpoint":"https://127.0.0.1:2379","Status":{"header":{"cluster_id":14841639068965178418,'
    '"member_id":10276657743932975437,"revision":2161,"raft_term":2},"version":"3.4.23","dbSize":2879488,'
    '"leader":10276657743932975437,"raftIndex":2535,"raftTerm":2,"raftAppliedIndex":2535}}]\n'
)
HASHKV = (
    '[{"Endpoint":"https://127.0.0.1:2379","HashKV":{"header":{"revision":2170},"hash":3401278812,'
    '"compact_revision":1894}}]\n'
)
NEVER_COMPACTED = '[{"Endpoint":"x","HashKV":{"header":{"revision":3},"hash":12}}]'
LOG = "2026-10-01 12:00:00.1 I | clientv3: opened snapshot stream; downloading\n"
MANIFEST = """\
spec:
  containers:
  - command:
    - etcd
    - --data-dir=/var/lib/etcd
    image: registry.k8s.io/etcd:3.6.5-0
    imagePullPolicy: IfNotPresent
"""


def test_answers() -> None:
    assert etcd_output.version(output=ENDPOINT_STATUS) == "3.4.23"
    assert etcd_output.hash_and_compaction(output=HASHKV) == (3401278812, 1894)
    assert etcd_output.hash_and_compaction(output=NEVER_COMPACTED) == (12, 0)
    assert etcd_output.snapshot_revision(output=LOG + '{"hash":1,"revision":2161,"totalKey":9}') == 2161
    assert etcd_output.count(output='{"header":{"revision":9},"count":312}') == 312
    # Of an empty store there is no number.
    assert etcd_output.count(output='{"header":{"revision":1}}') == 0


def test_a_member_that_has_not_started_has_no_name() -> None:
    answer = '{"header":{},"members":[{"ID":7,"name":"pi-2","peerURLs":[]},{"ID":9,"peerURLs":[]}]}'
    assert etcd_output.members(output=answer) == ("9", "pi-2")


@pytest.mark.parametrize("output", ["", "Error: context deadline exceeded", "{cut off"])
def test_no_answer(output: str) -> None:
    with pytest.raises(BackupError, match="expected JSON"):
        etcd_output.count(output=output)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("registry.k8s.io/etcd:3.6.5-0", "3.6.5-0"),
        ("k8s.gcr.io/kube-apiserver:v1.20.2", "1.20.2"),
        ("localhost:5000/kube-apiserver", ""),
        (None, ""),
    ],
)
def test_version_of_an_image(image: str | None, version: str) -> None:
    assert etcd_output.version_of(image=image) == version


def test_image() -> None:
    assert etcd_output.image(manifest=MANIFEST) == "registry.k8s.io/etcd:3.6.5-0"
    assert etcd_output.image(manifest="") is None


def test_watchers_notice_where_the_tool_can_do_so() -> None:
    help_text = "--bump-revision uint64  How much\n--mark-compacted  Mark\n"
    assert etcd_output.restore_options(help_text=help_text) == [
        "--bump-revision=1000000000",
        "--mark-compacted",
    ]
    assert etcd_output.restore_options(help_text="--data-dir string") == []


def test_ports_that_are_free() -> None:
    assert etcd_output.free_ports(taken={23790, 23792}, number=2) == [23791, 23793]


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Error: could not write /run/bramble-backup/s.db.part: no space left on device", "more memory"),
        ("docker: write /var/lib/docker/overlay2/x: No space left on device.", "a disk with room"),
        ("Error: context deadline exceeded (/run/bramble-backup)", ""),
    ],
)
def test_what_has_no_room_says_where(said: str, advice: str) -> None:
    found = etcd_output.room_advice(said=said, memory="/run/bramble-backup")
    assert (advice in found) if advice else (found == "")
