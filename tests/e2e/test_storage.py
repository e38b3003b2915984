# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes of the inventory in a real cluster: bound by name, kept while in use, gone without their data.

The kernel of the machine that the rack is on may have no NFS: no pod mounts a volume here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Rack, Run

pytestmark = pytest.mark.long

PLAYBOOK = "playbooks/storage.yml"
#: On a node, and not on the file system of its root.
FOLDER = "/var/lib/containerd/cluster"
PHOTOS: dict[str, Any] = {"name": "photos", "size": "1Gi", "share": "ssd"}
MUSIC: dict[str, Any] = {**PHOTOS, "name": "music", "access": "ReadWriteOnce"}
#: A pod that is never placed, and uses a claim all the same.
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "listener", "namespace": "default"},
    "spec": {
        "nodeSelector": {"nowhere": "yes"},
        "containers": [{"name": "main", "image": "localhost/hello:1"}],
        "volumes": [{"name": "music", "persistentVolumeClaim": {"claimName": "music"}}],
    },
}


class Storage:
    """A rack one of whose nodes shares a folder."""

    def __init__(self, rack: Rack, folder: Path) -> None:
        self.rack = rack
        self._inventory = folder / "storage.yml"
        shares = [{"name": "ssd", "folder": FOLDER}]
        group = {"hosts": {"pi-3": {"storage_server_shares": shares}}}
        self._inventory.write_text(json.dumps({"storage_server": group}))

    def run(self, *volumes: dict[str, Any], check: bool = False, code: int = 0, **more: Any) -> Run:
        variables = json.dumps({"storage_volumes": list(volumes), **more})
        words = ["-i", str(self._inventory), "-e", variables, *(["--check"] if check else [])]
        return self.rack.playbook(PLAYBOOK, *words, code=code)

    def changed(self, *volumes: dict[str, Any], check: bool = False, **more: Any) -> int:
        recap = self.run(*volumes, check=check, **more).recap()
        return sum(counts["changed"] for counts in recap.values())

    def phases(self, kind: str) -> dict[str, str]:
        items = self.rack.kubectl("get", kind)["items"]
        return {item["metadata"]["name"]: item["status"]["phase"] for item in items}

    def kubectl(self, words: str) -> str:
        return self.rack.shell("pi-1", f"kubectl --kubeconfig /etc/kubernetes/admin.conf {words}")


@pytest.fixture(scope="module")
def storage(cluster: Rack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """Give the running cluster two volumes in four steps, and none at the end, in four steps too."""
    found = Storage(cluster, tmp_path_factory.mktemp("storage"))
    packages = cluster.shell("pi-2", "dpkg-query -W -f '${Package}\\n'")
    assert found.changed(PHOTOS, MUSIC, check=True) > 0
    assert found.phases("pv") == {}
    assert found.changed(PHOTOS, MUSIC) > 0
    assert found.changed(PHOTOS, MUSIC, check=True) == 0
    assert found.changed(PHOTOS, MUSIC) == 0
    yield found
    absent: dict[str, Any] = {"storage_server_state": "absent"}
    found.kubectl("delete pod listener --ignore-not-found --now")
    assert found.changed(check=True, **absent) > 0
    assert found.changed(**absent) > 0
    assert found.changed(check=True, **absent) == 0
    assert found.changed(**absent) == 0
    assert found.phases("pv") == found.phases("pvc") == {}
    assert cluster.shell("pi-2", "dpkg-query -W -f '${Package}\\n'") == packages
    # What is in a volume stays.
    assert cluster.shell("pi-3", f"cat {FOLDER}/photos/note; rm -r {FOLDER}") == "kept\n"


def test_each_claim_is_bound_to_its_volume(storage: Storage) -> None:
    storage.rack.shell("pi-3", f"echo kept >{FOLDER}/photos/note")
    for kind in ("pv", "pvc"):
        assert storage.phases(kind) == {"photos": "Bound", "music": "Bound"}
    claims = storage.rack.kubectl("get", "pvc")["items"]
    assert {claim["metadata"]["name"]: claim["spec"]["volumeName"] for claim in claims} == {
        "photos": "photos",
        "music": "music",
    }


def test_a_volume_grows(storage: Storage) -> None:
    assert storage.changed({**PHOTOS, "size": "2Gi"}, MUSIC) > 0
    volume = storage.rack.kubectl("get", "pv", "photos")
    assert volume["spec"]["capacity"]["storage"] == "2Gi"
    assert storage.changed(PHOTOS, MUSIC) > 0


def test_what_a_pod_uses_stays(storage: Storage) -> None:
    path = "/root/pod.json"
    storage.rack.shell("pi-1", f"echo '{json.dumps(POD)}' >{path}")
    storage.kubectl(f"apply -f {path}")
    output = " ".join(storage.run(PHOTOS, code=2).output.split())
    assert "its claim default/music is in use by the pods listener; expected none" in output
    assert storage.phases("pv") == {"photos": "Bound", "music": "Bound"}
    storage.kubectl("delete pod listener --now")
    storage.rack.shell("pi-1", f"rm {path}")
    assert storage.changed(PHOTOS) > 0
    assert storage.phases("pv") == {"photos": "Bound"}
    assert storage.changed(PHOTOS, MUSIC) > 0


def test_a_claim_that_somebody_has_deleted_is_bound_again(storage: Storage) -> None:
    storage.kubectl("delete pvc photos")
    assert storage.changed(PHOTOS, MUSIC) > 0
    assert storage.phases("pvc") == {"photos": "Bound", "music": "Bound"}
    assert storage.changed(PHOTOS, MUSIC) == 0


def test_a_volume_moves_to_no_other_share(storage: Storage) -> None:
    shares = [{"name": "ssd", "folder": f"{FOLDER}/other"}]
    output = " ".join(storage.run(PHOTOS, MUSIC, code=2, storage_server_shares=shares).output.split())
    assert f":{FOLDER}/photos in the cluster, and" in output
    assert storage.changed(PHOTOS, MUSIC) > 0
    storage.rack.shell("pi-3", f"rmdir {FOLDER}/other/photos {FOLDER}/other/music {FOLDER}/other")
