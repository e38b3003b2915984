# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of a real cluster, by the playbook and by the timer's service, and how the doctor sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.conftest import Rack, Run

STATUS = "/var/lib/bramble/backup-status.json"


class Backups(NamedTuple):
    """A cluster with a backup on the controller."""

    rack: Rack
    arguments: list[str]
    fetched: Path
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
    }
    arguments = ["-e", json.dumps(values)]
    made = cluster.playbook("playbooks/backup.yml", *arguments)
    return Backups(cluster, arguments, folder / "fetched" / "pi-1", made)


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


def test_nothing_is_left_in_memory_or_in_the_runtime(backups: Backups) -> None:
    left = backups.rack.shell("pi-1", "mount | grep bramble-backup; docker ps -a | grep bramble-etcd; true")
    assert left == ""


def test_the_service_of_the_timer_makes_one_without_a_controller(backups: Backups) -> None:
    before = backups.status()
    backups.rack.shell("pi-1", "systemctl start bramble-backup.service")
    after = backups.status()
    assert after["error"] is None
    assert after["revision"] > before["revision"]
    assert backups.rack.shell("pi-1", "systemctl is-active bramble-backup.timer").strip() == "active"


def test_the_doctor_tells_of_a_run_that_failed_and_the_timer_can_be_removed(backups: Backups) -> None:
    rack, proved = backups.rack, backups.status()["proved"]
    rack.shell("pi-1", "mv /usr/bin/age /usr/bin/age.away")
    try:
        failed = rack.playbook("playbooks/backup.yml", *backups.arguments, "-e", "backup_schedule=", code=2)
    finally:
        rack.shell("pi-1", "mv /usr/bin/age.away /usr/bin/age")
    assert "age is not installed on this node" in failed.output
    assert rack.shell("pi-1", "ls /etc/systemd/system | grep bramble-backup; true") == ""
    assert backups.status()["proved"] == proved
    assert "age is not installed on this node" in rack.playbook("playbooks/doctor.yml").output
    # Whatever comes after finds no failed run.
    rack.shell("pi-1", f"rm {STATUS}")
