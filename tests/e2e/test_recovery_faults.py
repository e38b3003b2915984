# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup that is made while the cluster is written to, and what may go wrong as it is made or put back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.conftest import BIN, NODES, Rack, is_up, wait_for
from tests.e2e.test_recovery import KUBECTL, STATUS, containers, objects

ON_NODE = Path(__file__).parent / "on_node"
RATE = 200
NOTES = "/dev/shm/written"
KEY = "/root/backup.key"
FOLDER = "/var/lib/bramble/backups"
HALF = f"[ -s {FOLDER}/*.part ] && echo yes; true"
RUNNING = "docker ps --no-trunc --format 'Running {{.ID}}' --filter name=k8s_etcd_ --filter name=k8s_kube-api"
PROGRAM, SETTINGS = "/usr/local/lib/bramble/backup.pyz", "/etc/bramble/backup.json"
MEMORY = "/run/bramble-backup"
MARKER = "/var/lib/bramble/restore.json"
KUBERNETES = "/etc/kubernetes"
FIRST, LAST = (f"{KUBERNETES}/manifests/{name}.yaml" for name in ("etcd", "kube-scheduler"))
ETCD = "/var/lib/etcd"
SNAPSHOT = f"{MEMORY}/backup/etcd/snapshot.db"
#: Has nothing of these tests be left.
CLEAN = (
    f"{KUBECTL} delete configmaps --selector=app=written; {KUBECTL} delete deployment kept after;"
    f" rm -f {KEY} {NOTES} {STATUS}"
)
#: Whether the control plane was lost before, what is there when the restore is killed, and what is not yet
#: (with a minus). On one that lives the backup replaces what is there.
MOMENTS: dict[str, tuple[bool, list[str]]] = {
    "the backup is decrypted": (True, [SNAPSHOT, f"-{MARKER}"]),
    "what runs there is stopped": (False, [SNAPSHOT, f"-{FIRST}", f"-{MARKER}"]),
    "etcd is restored beside": (True, [f"{ETCD}/bramble-restored", f"-{ETCD}/member"]),
    "etcd's data is exchanged": (False, [f"{ETCD}/bramble-replaced", f"-{FIRST}"]),
    "the files are written": (True, [f"{KUBERNETES}/pki/ca.crt", f"-{FIRST}"]),
    "the static pods are written": (True, [FIRST, f"-{LAST}"]),
    "the cluster starts": (True, [LAST, MARKER, STATUS]),
    "the cluster answers": (True, [LAST, MARKER, f"-{STATUS}"]),
}


class Made(NamedTuple):
    """A cluster, and a backup of it that was made while it was written to."""

    rack: Rack
    recipient: str
    identity: Path
    #: On the controller.
    file: Path
    objects: set[str]
    #: Of the pods of a deployment, by their names.
    containers: dict[str, str]
    #: The last number of each object that the API server had taken before the backup began.
    numbers: dict[str, int]

    def backup(self) -> list[str]:
        """Return the command that makes another one."""
        command = [str(BIN / "ansible"), "-i", str(self.rack.inventory), "pi-1", "-m"]
        return [*command, "bramble.pi.cluster_backup", "-a", json.dumps({"recipients": [self.recipient]})]

    def restore(self, *options: str, file: Path | None = None, replace: bool = False) -> list[str]:
        """Return the command that restores it, or another one."""
        values = {
            "backup_restore_file": str(file or self.file),
            "backup_identity_file": str(self.identity),
            "backup_restore_replace": replace,
        }
        return self.rack.playbook_command("playbooks/restore.yml", "-e", json.dumps(values), *options)

    def lose(self) -> None:
        """Lose the control plane."""
        self.rack.shell("pi-1", f"find {KUBERNETES} {ETCD} -mindepth 1 -delete")

    def backups(self) -> list[str]:
        """Return the files in the folder of the backups."""
        return sorted(self.rack.shell("pi-1", f"mkdir -p {FOLDER}; ls {FOLDER}").split())


def on_node(rack: Rack, script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start one of the scripts for nodes on the control plane."""
    command = ["podman", "exec", "-i", rack.container("pi-1"), "timeout", "300", "python3", "-", *arguments]
    with (ON_NODE / script).open() as source:
        return subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, text=True)


def written(rack: Rack) -> list[tuple[float, str, int]]:
    """Return what the API server has taken: when, which object, and its number."""
    notes = (line.split() for line in rack.shell("pi-1", f"cat {NOTES}").splitlines())
    return [(float(when), name, int(number)) for when, name, number in notes]


@pytest.fixture(scope="module")
def made(cluster: Rack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("recovery")
    # The package of age is on the nodes, and need not be on this machine.
    cluster.shell("pi-1", f"apt-get install --yes --quiet age; {CLEAN}; age-keygen -o {KEY}")
    identity = cluster.shell("pi-1", f"cat {KEY}")
    (folder / "backup.key").write_text(identity)
    (recipient,) = (line.split()[-1] for line in identity.splitlines() if "public key" in line)
    new = Made(cluster, recipient, folder / "backup.key", folder / "backup.tar.gz.age", set(), {}, {})
    # They would be among the objects now, and not afterwards.
    wait_for(lambda: not ending(cluster), 120, "pods of other tests are gone")
    deploy(cluster, "kept", 4)
    with on_node(cluster, "write.py", str(RATE), NOTES) as writer:
        wait_for(lambda: len(written(cluster)) > RATE, 60, "the cluster is written to")
        began = time.time()
        try:
            cluster.run(*new.backup())
        finally:
            ended = time.time()
            cluster.shell("pi-1", f"pkill -f '^python3 - {RATE} '")
            writer.communicate()
    status = json.loads(cluster.shell("pi-1", f"cat {STATUS}"))
    subprocess.run(["podman", "cp", f"{cluster.container('pi-1')}:{status['file']}", new.file], check=True)
    notes = written(cluster)
    rate = sum(began <= when <= ended for when, _name, _number in notes) / (ended - began)
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"in {ended - began:.0f} s of the backup {rate:.0f} objects were written a second; load {load:.1f}")
    # What else runs on this machine, as in a run with every change, may take the time that it needs.
    assert rate >= RATE / 10
    numbers = {name: number for when, name, number in notes if when < began}
    yield new._replace(objects=objects(cluster), containers=containers(cluster, "kept"), numbers=numbers)
    cluster.shell("pi-1", f"{CLEAN}; true")


def ending(rack: Rack) -> list[str]:
    """Return the pods that are being deleted."""
    pods = [pod["metadata"] for pod in rack.kubectl("get", "pods", "--all-namespaces")["items"]]
    return [pod["name"] for pod in pods if "deletionTimestamp" in pod]


def deploy(rack: Rack, name: str, replicas: int) -> None:
    """Have pods on the workers."""
    wait_for(lambda: not containers(rack, name), 120, "those of an earlier run end")
    command = f"create deployment {name} --image=localhost/hello:1 --replicas={replicas}"
    rack.shell("pi-1", f"{KUBECTL} {command}")
    wait_for(lambda: len(containers(rack, name)) == replicas, 120, "the pods run")


def assert_as_it_was(made: Made) -> None:
    """Fail unless the cluster is what the backup has, and nothing of a restore is left."""
    rack = made.rack
    wait_for(lambda: is_up(rack), 180, "all nodes are Ready")
    # kube-proxy's restart is what the restore itself does.
    assert {each for each in made.objects ^ objects(rack) if " kube-proxy-" not in each} == set()
    assert containers(rack, "kept") == made.containers
    items = rack.kubectl("get", "configmaps", "--selector=app=written")["items"]
    numbers = {item["metadata"]["name"]: int(item["data"]["number"]) for item in items}
    assert numbers.keys() == made.numbers.keys()
    assert [name for name, number in made.numbers.items() if numbers[name] < number] == []
    left = rack.shell(
        "pi-1",
        f"ls -d {MARKER} {ETCD}/bramble-* {MEMORY} /var/tmp/bramble-* 2>/dev/null;"
        " docker ps -a | grep bramble-etcd; true",
    )
    assert left == ""


@pytest.mark.some(1)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_restore_is_finished_by_the_next(made: Made, moment: str) -> None:
    lost, paths = MOMENTS[moment]
    made.rack.shell("pi-1", f"touch {STATUS}")
    if lost:
        made.lose()
    command = made.restore("--tags", "restore", replace=not lost)
    with on_node(made.rack, "kill.py", *paths) as killer, made.rack.beside(*command) as first:
        killed = killer.communicate()[0]
        first.kill()
    there = [path for path in paths if not path.startswith("-")]
    assert killed.split() == there, "what was there when it was killed"
    done = made.rack.run(*command)
    assert "What changed in it since then is lost" in done.output
    assert_as_it_was(made)
    deploy(made.rack, "after", 2)
    made.rack.shell("pi-1", f"{KUBECTL} delete deployment after")


def sums(rack: Rack) -> str:
    """Return the checksums of what a restore replaces, and the containers of the control plane."""
    return rack.shell(
        "pi-1",
        f"find {KUBERNETES} {ETCD} /var/lib/kubelet/config.yaml ! -path '{ETCD}/member/*' |"
        " LC_ALL=C sort | xargs -d '\\n' ls -ld --time-style=full-iso;"
        f" find {KUBERNETES} /var/lib/kubelet/config.yaml -type f -exec md5sum {{}} + | sort;"
        f" {RUNNING}",
    )


@pytest.mark.long
def test_the_backup_of_another_cluster_is_refused(made: Made, tmp_path: Path) -> None:
    before, copy = sums(made.rack), "/root/backup.age"
    node = made.rack.container("pi-1")
    subprocess.run(["podman", "cp", str(made.file), f"{node}:{copy}"], check=True)
    arguments = (copy, KEY, made.recipient, f"{copy}.other")
    with on_node(made.rack, "other_cluster.py", *arguments) as maker:
        other = maker.communicate()[0].strip()
    subprocess.run(["podman", "cp", f"{node}:{copy}.other", str(tmp_path / "other.age")], check=True)
    made.rack.shell("pi-1", f"rm {copy} {copy}.other")
    command = made.restore("--tags", "restore", file=tmp_path / "other.age", replace=True)
    refused = made.rack.run(*command, code=2).output
    assert f"the backup is of the cluster with the CA {other}; expected sha256:" in refused
    assert "Nothing was changed" in refused
    assert sums(made.rack) == before


@pytest.mark.long
def test_a_full_disk_leaves_no_half_backup(made: Made) -> None:
    rack = made.rack
    before = sums(rack)
    kept = made.backups()
    rack.shell("pi-1", f"mount -t tmpfs -o size=400m bramble-test {FOLDER}")
    try:
        made.rack.run(*made.backup())
        older = made.backups()
        assert len(older) == 1
        # It has room when it begins.
        with rack.start(*made.backup()) as process:
            rack.shell("pi-1", f"until mountpoint -q {MEMORY}; do sleep 0.05; done")
            rack.shell("pi-1", f"dd if=/dev/zero of={FOLDER}/filler bs=64k 2>/dev/null; true")
            output = process.communicate()[0]
        print(output)
        assert process.returncode == 2
        assert "no space left on device" in output
        assert "free some there (see df -h)" in output
        assert made.backups() == [*older, "filler"]
        # And none when it begins.
        assert "MiB free; expected" in rack.run(*made.backup(), code=2).output
        assert made.backups() == [*older, "filler"]
        status = json.loads(rack.shell("pi-1", f"cat {STATUS}"))
        assert "MiB free; expected" in status["error"]
        assert status["file"] == f"{FOLDER}/{older[0]}"
        assert rack.shell("pi-1", f"ls -d {MEMORY} 2>/dev/null; docker ps -a | grep bramble-etcd; true") == ""
        rack.shell("pi-1", f"rm {FOLDER}/filler")
        rack.run(*made.backup())
        assert len(made.backups()) == 2
        assert older[0] in made.backups()
    finally:
        rack.shell("pi-1", f"umount {FOLDER}; rm -f {STATUS}")
    assert made.backups() == kept
    assert sums(rack) == before


@pytest.mark.long
def test_a_power_cut_while_it_is_written_leaves_no_backup(made: Made) -> None:
    rack, container = made.rack, made.rack.container("pi-1")
    kept = made.backups()
    settings = ["-m", "bramble.pi.backup_program", "-a", json.dumps({"recipients": [made.recipient]})]
    rack.run(str(BIN / "ansible"), "-i", str(rack.inventory), "pi-1", *settings)
    try:
        # Half of it, and then nothing more, as by a card that is slow.
        slow = '#!/bin/sh\n(head -c 200000; sleep 300) | age.whole "$@"\n'
        rack.shell(
            "pi-1",
            f"mv /usr/bin/age /usr/bin/age.whole; printf '{slow}' >/usr/bin/age; chmod 755 /usr/bin/age",
        )
        # As the timer does.
        subprocess.run(["podman", "exec", "--detach", container, "python3", "-I", PROGRAM], check=True)
        wait_for(lambda: "yes" in rack.shell("pi-1", HALF), 120, "half of it is written")
        # The whole container ends with its init, and is started again.
        os.kill(init(container), signal.SIGKILL)
        wait_for(lambda: is_up(rack), 180, "all nodes are Ready")
    finally:
        rack.shell("pi-1", f"mv /usr/bin/age.whole /usr/bin/age; rm {PROGRAM} {SETTINGS}")
    (part,) = set(made.backups()) - set(kept)
    assert part.endswith(".part")
    rack.run(*made.backup())
    (new,) = set(made.backups()) - set(kept)
    assert new.endswith(".age")
    rack.shell("pi-1", f"rm {FOLDER}/{new} {STATUS}")
    assert_as_it_was(made)


def init(container: str) -> int:
    """Return the process by which a container ends."""
    ask = ["podman", "inspect", "--format", "{{.State.Pid}}", container]
    return int(subprocess.check_output(ask, text=True))


@pytest.mark.long
@pytest.mark.parametrize("lost", [True, False])
def test_check_mode_says_what_it_would_do_and_touches_nothing(made: Made, *, lost: bool) -> None:
    rack = made.rack
    if lost:
        made.lose()
        wait_for(lambda: "Running" not in rack.shell("pi-1", RUNNING), 120, "the kubelet ends the containers")
    before = sums(rack)
    done = rack.run(*made.restore("--check", replace=not lost))
    assert "The cluster would be as it was at" in done.output
    changed = {host: counts["changed"] for host, counts in done.recap().items()}
    # The restore, and nothing that it would have made.
    assert changed == {**dict.fromkeys(NODES, 0), "pi-1": 1}
    assert sums(rack) == before
    if lost:
        rack.run(*made.restore("--tags", "restore"))
    assert_as_it_was(made)
