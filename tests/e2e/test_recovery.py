# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of a real cluster, by the playbook and by the timer, and a lost control plane restored."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.conftest import ALL_READY, BIN, Rack, Run, is_up, wait_for

STATUS = "/var/lib/bramble/backup-status.json"
COPIES = "/var/lib/bramble-backup-copies/pi-1"
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
# Every kind that can be listed, but for what the cluster itself writes all the time.
OBJECTS = f"""
for kind in $({KUBECTL} api-resources --verbs=list --output=name |
        grep -vE '^(events|leases|endpoints|endpointslices|componentstatuses)([.]|$)' | sort); do
    {KUBECTL} get "$kind" --all-namespaces --no-headers \\
        --output=custom-columns=N:.metadata.namespace,M:.metadata.name,U:.metadata.uid | sed "s/^/$kind /"
done
"""


class Backups(NamedTuple):
    """A cluster with a backup on the controller."""

    rack: Rack
    arguments: list[str]
    fetched: Path
    checked: Run
    made: Run

    def status(self) -> dict[str, Any]:
        """Return what the last run of a backup has written down."""
        found: dict[str, Any] = json.loads(self.rack.shell("pi-1", f"cat {STATUS}"))
        return found


@pytest.fixture(scope="module")
def backups(cluster: Rack, tmp_path_factory: pytest.TempPathFactory) -> Backups:
    folder = tmp_path_factory.mktemp("backups")
    # The package of age is on the nodes, and need not be on this machine.
    cluster.shell("pi-1", "apt-get install --yes --quiet age && age-keygen -o /root/backup.key")
    identity = cluster.shell("pi-1", "cat /root/backup.key && rm /root/backup.key")
    (folder / "backup.key").write_text(identity)
    (recipient,) = (line.split()[-1] for line in identity.splitlines() if "public key" in line)
    values = {
        "backup_recipients": [recipient],
        "backup_fetch_folder": str(folder / "fetched"),
        "backup_copy_to": ["pi-2"],
    }
    arguments = ["-e", json.dumps(values)]
    checked = cluster.playbook("playbooks/backup.yml", *arguments, "--check")
    assert cluster.shell("pi-2", f"ls -d {COPIES} 2>/dev/null; id bramble-backup 2>/dev/null || true") == ""
    made = cluster.playbook("playbooks/backup.yml", *arguments)
    return Backups(cluster, arguments, folder / "fetched" / "pi-1", checked, made)


def test_a_backup_is_proved_and_fetched(backups: Backups) -> None:
    status = backups.status()
    assert status["error"] is None
    assert status["proved"] >= status["created"]
    # A cluster with two workers has more than that.
    assert status["keys"] > 100
    assert f"{status['keys']} keys at revision {status['revision']}" in backups.made.output
    (fetched,) = backups.fetched.iterdir()
    assert fetched.name == Path(status["file"]).name
    assert fetched.read_bytes().startswith(b"age-encryption.org/v1")


def test_another_node_lets_it_add_copies(backups: Backups) -> None:
    """Check, apply, check; the last test of backups applies once more, without it."""
    assert backups.checked.recap()["pi-1"]["failed"] == 0
    again = backups.rack.playbook("playbooks/backup.yml", *backups.arguments, "--check")
    # That a backup would be made.
    assert again.recap()["pi-1"]["changed"] == 1
    newest = Path(backups.status()["file"]).name
    assert f"Copied to {COPIES} on pi-2" in backups.made.output
    assert newest in copies(backups)


def copies(backups: Backups) -> set[str]:
    """Return the copies on the other node that are what the control plane has."""
    script = "cd {} && sha256sum bramble-*"
    own = backups.rack.shell("pi-1", script.format("/var/lib/bramble/backups")).splitlines()
    there = backups.rack.shell("pi-2", script.format(COPIES)).splitlines()
    return {line.split()[1] for line in set(own) & set(there)}


def test_nothing_is_left_in_memory_or_in_the_runtime(backups: Backups) -> None:
    left = backups.rack.shell("pi-1", "mount | grep bramble-backup; docker ps -a | grep bramble-etcd; true")
    assert left == ""


def test_the_service_of_the_timer_makes_one_without_a_controller(backups: Backups) -> None:
    before = backups.status()
    backups.rack.shell("pi-1", "systemctl start bramble-backup.service")
    after = backups.status()
    assert after["error"] is None
    assert after["revision"] > before["revision"]
    assert Path(after["file"]).name in copies(backups)
    assert backups.rack.shell("pi-1", "systemctl is-active bramble-backup.timer").strip() == "active"


def objects(rack: Rack) -> set[str]:
    """Return the objects of the cluster by kind, name and uid, but for those that come and go."""
    found = rack.shell("pi-1", OBJECTS).splitlines()
    # Tokens of joins expire.
    return {each for each in found if " bootstrap-token-" not in each}


def containers(rack: Rack, deployment: str = "before") -> dict[str, str]:
    """Return the container of each pod of the deployment, {pod: id}."""
    pods = rack.kubectl("get", "pods", f"--selector=app={deployment}")["items"]
    return {
        pod["metadata"]["name"]: status["containerID"]
        for pod in pods
        for status in pod["status"].get("containerStatuses", [])
        if "running" in status["state"]
    }


@pytest.fixture(scope="module")
def deployed(backups: Backups) -> Iterator[Backups]:
    """Have pods on the workers, and a backup that has them."""
    rack = backups.rack
    rack.shell("pi-1", f"{KUBECTL} create deployment before --image=localhost/hello:1 --replicas=4")
    wait_for(lambda: len(containers(rack)) == 4, 120, "the pods run")
    rack.shell("pi-1", "systemctl start bramble-backup.service")
    newest = Path(backups.status()["file"])
    source = f"{rack.container('pi-1')}:{newest}"
    subprocess.run(["podman", "cp", source, str(backups.fetched / newest.name)], check=True)
    yield backups
    rack.shell("pi-1", f"{KUBECTL} delete deployment before")


def restore(backups: Backups, file: Path | None, *, code: int) -> Run:
    identity = backups.fetched.parents[1] / "backup.key"
    values = {"backup_restore_file": str(file or ""), "backup_identity_file": str(identity)}
    arguments = [*backups.arguments, "-e", json.dumps(values), "--tags", "restore"]
    return backups.rack.playbook("playbooks/restore.yml", *arguments, code=code)


def test_what_is_not_restored_touches_nothing(deployed: Backups, tmp_path: Path) -> None:
    before = containers(deployed.rack)
    whole = max(deployed.fetched.iterdir())
    assert "the cluster answers; expected" in restore(deployed, whole, code=2).output
    data = bytearray(whole.read_bytes())
    (tmp_path / "truncated").write_bytes(data[: len(data) - 40])
    data[len(data) // 2] ^= 1
    (tmp_path / "changed").write_bytes(data)
    identity = (deployed.fetched.parents[1] / "backup.key").read_text()
    for name in ("truncated", "changed"):
        on_node = f"/var/tmp/{name}.tar.gz.age"
        node = f"{deployed.rack.container('pi-1')}:{on_node}"
        subprocess.run(["podman", "cp", str(tmp_path / name), node], check=True)
        options = json.dumps({"src": on_node, "identity": identity, "replace": True})
        command = ["-i", str(deployed.rack.inventory), "pi-1", "-m", "bramble.pi.cluster_restore"]
        refused = deployed.rack.run(str(BIN / "ansible"), *command, "-a", options, code=2)
        assert "was changed or cut off" in refused.output
        deployed.rack.shell("pi-1", f"rm {on_node}")
    assert containers(deployed.rack) == before


# With every change a restore that is killed once proves the same, in test_recovery_faults.py.
@pytest.mark.long
def test_a_lost_control_plane_comes_back_with_everything(deployed: Backups) -> None:
    rack = deployed.rack
    before, running = objects(rack), containers(rack)
    rack.shell("pi-1", f"{KUBECTL} create configmap since-the-backup")
    rack.shell("pi-1", "find /etc/kubernetes /var/lib/etcd -mindepth 1 -delete")
    # The newest one is on the card that is lost, and on the node that has a copy.
    newest = max(deployed.fetched.iterdir())
    newest.unlink()
    done = restore(deployed, None, code=0)
    assert newest.exists()
    assert "What changed in it since then is lost" in done.output
    wait_for(lambda: rack.ready() == ALL_READY, 180, "all nodes are Ready")
    after = objects(rack)
    # Its restart is what the restore itself does.
    changed = {each for each in before ^ after if " kube-proxy-" not in each}
    assert changed == set()
    assert containers(rack) == running
    rack.shell("pi-1", f"{KUBECTL} scale deployment before --replicas=6")
    wait_for(lambda: len(containers(rack)) == 6, 180, "new pods run")
    assert running.items() <= containers(rack).items()


def test_the_doctor_tells_of_a_run_that_failed_and_the_timer_can_be_removed(backups: Backups) -> None:
    rack = backups.rack
    # A restore has removed what was written down of backups before it.
    rack.shell("pi-1", "systemctl start bramble-backup.service")
    proved = backups.status()["proved"]
    kept = len(copies(backups))
    rack.shell("pi-1", "mv /usr/bin/age /usr/bin/age.away")
    try:
        values = json.dumps({"backup_schedule": "", "backup_copy_to": []})
        failed = rack.playbook("playbooks/backup.yml", *backups.arguments, "-e", values, code=2)
    finally:
        rack.shell("pi-1", "mv /usr/bin/age.away /usr/bin/age")
    assert "age is not installed on this node" in failed.output
    assert f"pi-2 lets pi-1 in no more. Its copies stay, {kept} in {COPIES}" in failed.output
    assert int(rack.shell("pi-2", f"ls {COPIES} | wc -l")) == kept
    assert (
        rack.shell("pi-2", "id bramble-backup 2>/dev/null || ls /var/lib/bramble-backup 2>/dev/null; true")
        == ""
    )
    assert rack.shell("pi-1", "ls /etc/bramble/backup-copy 2>/dev/null; true") == ""
    assert rack.shell("pi-1", "ls /etc/systemd/system | grep bramble-backup; true") == ""
    assert backups.status()["proved"] == proved
    assert "age is not installed on this node" in rack.playbook("playbooks/doctor.yml").output
    # Whatever comes after finds no failed run.
    rack.shell("pi-1", f"rm {STATUS}")
    rack.shell("pi-2", f"rm -r {COPIES}")


@pytest.mark.long
def test_a_dead_worker_is_replaced_and_a_living_one_is_not(cluster: Rack) -> None:
    assert (
        "Remove the node that it was"
        not in cluster.playbook("playbooks/replace.yml", "--limit", "pi-3", "--tags", "replace").output
    )
    before = cluster.kubectl("get", "node", "pi-3")["metadata"]["uid"]
    # As a card that was flashed again: packages are there, and nothing of a cluster.
    cluster.shell("pi-3", "kubeadm reset --force && systemctl stop kubelet")
    refused = cluster.playbook("playbooks/replace.yml", "--limit", "pi-3", code=2)
    assert "that is Ready; expected one that is lost" in refused.output.replace("\n", " ")
    wait_for(lambda: cluster.ready()["pi-3"] != "True", 180, "the cluster notices that it is lost")
    cluster.playbook("playbooks/replace.yml", "--limit", "pi-3")
    wait_for(lambda: is_up(cluster), 180, "all nodes are Ready")
    assert cluster.kubectl("get", "node", "pi-3")["metadata"]["uid"] != before
