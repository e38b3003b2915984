# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operating system of a running cluster is updated, and the whole rack is switched off and on again."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apt_repository import publish
from tests.e2e.conftest import NODES, Rack, is_up, wait_for
from tests.e2e.test_maintenance import KUBECTL, boots, cordoned, noted

#: Of the sort that runs, whatever this machine has.
KERNEL = f"99.{time.time():.0f}.0-" + os.uname().release.partition("-")[2]
REPOSITORY = "/srv/e2e-repository"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lq5CLZ0mP3n7m8yq0wEwTtQzZJ4h2v0r8bD0x9q1X"


@pytest.fixture
def repository(cluster: Rack, tmp_path: Path) -> Iterator[Rack]:
    """Give the nodes a repository alone, of which each has the older packages, and take it away again."""
    folder = tmp_path / "repository"
    publish(folder, "e2e-tool", "1")
    publish(folder, "e2e-kernel", "1")
    publish(folder, "e2e-held", "1")
    mine = {"pi-1": "e2e-held", "pi-2": "e2e-tool e2e-held", "pi-3": "e2e-kernel"}
    try:
        for node in NODES:
            copy(folder, cluster, node)
            cluster.shell(
                node,
                "mkdir -p /root/apt && mv /etc/apt/sources.list* /root/apt"
                f" && echo 'deb [trusted=yes] file:{REPOSITORY} ./' >/etc/apt/sources.list"
                f" && apt-get -q update && apt-get -qy install {mine[node]}",
            )
        for node in ("pi-1", "pi-2"):
            cluster.shell(node, "apt-mark hold e2e-held")
        publish(folder, "e2e-tool", "2")
        publish(folder, "e2e-held", "2")
        publish(folder, f"linux-image-{KERNEL}", "1", files={f"boot/vmlinuz-{KERNEL}": "a kernel\n"})
        publish(folder, "e2e-kernel", "2", depends=f"linux-image-{KERNEL}")
        for node in NODES:
            copy(folder, cluster, node)
        yield cluster
    finally:
        for node in NODES:
            cluster.shell(
                node,
                "apt-mark unhold e2e-held; dpkg --configure -a; apt-get -qy purge 'e2e-*' 'linux-image-99.*';"
                f" rm -rf /etc/apt/sources.list* {REPOSITORY}; mv /root/apt/* /etc/apt/ && rmdir /root/apt;"
                " apt-get -q update",
            )


def copy(folder: Path, rack: Rack, node: str) -> None:
    rack.shell(node, f"rm -rf {REPOSITORY}")
    subprocess.run(["podman", "cp", str(folder), f"{rack.container(node)}:{REPOSITORY}"], check=True)


def versions(rack: Rack) -> dict[str, str]:
    query = "dpkg-query -W -f '${Package}=${Version} ' 'e2e-*'"
    return {node: rack.shell(node, query).strip() for node in sorted(NODES)}


@pytest.mark.long
def test_an_update_reboots_only_who_needs_it(repository: Rack) -> None:
    rack = repository
    older, at_first = versions(rack), boots(rack)
    kernel = f"kernel {KERNEL} is installed and {os.uname().release} runs"

    checked = rack.playbook("playbooks/update.yml", "--check")
    assert "pi-1: nothing to update; kept back: e2e-held" in checked.output
    assert "pi-2: update 1 packages: e2e-tool; kept back: e2e-held" in checked.output
    assert f"pi-3: needs a reboot, as {kernel}" in checked.output
    assert "Package lists: fetched into a temporary folder" in checked.output
    assert (versions(rack), boots(rack), cordoned(rack), noted(rack)) == (older, at_first, frozenset(), set())

    with rack.beside(*rack.playbook_command("playbooks/update.yml")) as process:
        wait_for(lambda: cordoned(rack) == {"pi-2"}, 600, "pi-2 is worked on")
        process.kill()
    never = rack.playbook("playbooks/update.yml", "-e", "update_reboot=never")
    assert f"pi-3: is due for a reboot, as {kernel} (update_reboot is never)" in never.output
    newer = {"pi-1": "e2e-held=1", "pi-2": "e2e-held=1 e2e-tool=2", "pi-3": "e2e-kernel=2"}
    assert (versions(rack), boots(rack), cordoned(rack), noted(rack)) == (newer, at_first, frozenset(), set())
    doctor = " ".join(rack.playbook("playbooks/doctor.yml").output.split())
    assert f"WARNING pi-3 reboot {kernel}" in doctor

    done = rack.playbook("playbooks/update.yml")
    assert f"pi-3: 0 packages updated; rebooted, as {kernel}" in done.output
    assert (versions(rack), cordoned(rack), noted(rack)) == (newer, frozenset(), set())
    changed = {node for node, boot in boots(rack).items() if boot != at_first[node]}
    assert changed == {"pi-3"}

    for again in ("--check", "--diff"):
        run = rack.playbook("playbooks/update.yml", again)
        assert all(counts["changed"] == 0 for counts in run.recap().values())
    assert {node for node, boot in boots(rack).items() if boot != at_first[node]} == {"pi-3"}


class Switch(threading.Thread):
    """Stands for a board that stays off: podman would start its container again, as after a reboot."""

    def __init__(self, rack: Rack, node: str) -> None:
        super().__init__(daemon=True)
        self.container = rack.container(node)
        self.ended = threading.Event()

    def started(self) -> str:
        """Return when the container was last started."""
        command = ["podman", "inspect", "--format", "{{.State.StartedAt}}", self.container]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def run(self) -> None:
        """Wait for a shutdown that somebody else has begun, and let it be the last."""
        state = ["podman", "exec", self.container, "systemctl", "is-system-running"]
        began = self.started()
        while not self.ended.wait(0.2):
            done = subprocess.run(state, capture_output=True, text=True, check=False)
            # A short one may be over before it is seen.
            if done.stdout.strip() == "stopping" or self.started() != began:
                stop = ["podman", "stop", "--time", "60", self.container]
                subprocess.run(stop, check=False, capture_output=True)
                return


def inspect(rack: Rack, node: str, field: str) -> str:
    command = ["podman", "inspect", "--format", f"{{{{.State.{field}}}}}", rack.container(node)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def running(rack: Rack) -> set[str]:
    return {node for node in NODES if inspect(rack, node, "Running") == "true"}


@pytest.mark.long
def test_the_rack_goes_off_in_order_and_comes_back(cluster: Rack, tmp_path: Path) -> None:
    refused = cluster.playbook("playbooks/power_off.yml", "--limit", "pi-2", code=2)
    assert "pi-1, pi-3 is left out by --limit; expected all of the rack" in " ".join(refused.output.split())
    no_consent = cluster.playbook("playbooks/power_off.yml", "-e", "power_off_confirm=no", code=2)
    assert "Nothing was switched off" in no_consent.output
    checked = cluster.playbook("playbooks/power_off.yml", "--check")
    assert "No backup, as backup_recipients is empty" in checked.output
    assert "1. off: pi-2, pi-3 (workers)" in checked.output
    assert "2. off: pi-1 (control planes)" in checked.output
    assert running(cluster) == NODES

    cluster.shell("pi-1", f"{KUBECTL} create configmap kept --from-literal=when={tmp_path.name}")
    variables = {
        "power_off_confirm": "yes",
        "backup_recipients": [KEY],
        "backup_schedule": "",
        "backup_fetch_folder": str(tmp_path),
    }
    run = ("playbooks/power_off.yml", "-e", json.dumps(variables))
    switches = [Switch(cluster, node) for node in NODES]
    for switch in switches:
        switch.start()
    try:
        with cluster.beside(*cluster.playbook_command(*run)) as process:
            wait_for(lambda: running(cluster) == {"pi-1"}, 900, "the workers are off")
            process.kill()
        # Fetched, so it was made and proved before anybody was switched off.
        assert list(tmp_path.rglob("*.age")) != []
        time.sleep(1)
        if "pi-1" in running(cluster):
            done = cluster.playbook(*run)
            assert "pi-3 does not answer, and counts as off" in done.output
        wait_for(lambda: running(cluster) == set(), 60, "all are off")
        ends = {node: inspect(cluster, node, "FinishedAt") for node in NODES}
        assert max(ends, key=lambda node: ends[node]) == "pi-1"
        for node in ("pi-1", "pi-2"):
            subprocess.run(["podman", "start", cluster.container(node)], check=True, capture_output=True)
        missing = cluster.playbook("playbooks/power_on.yml", "-e", "power_on_timeout=20", code=2)
        assert "pi-3 did not answer at" in " ".join(missing.output.split())
        assert "pi-2 did not answer" not in missing.output
    finally:
        for switch in switches:
            switch.ended.set()
            switch.join()
        for node in NODES:
            subprocess.run(["podman", "start", cluster.container(node)], check=True, capture_output=True)
    cluster.playbook("playbooks/power_on.yml")
    assert is_up(cluster)
    assert cluster.kubectl("get", "configmap", "kept")["data"] == {"when": tmp_path.name}
    cluster.shell("pi-1", f"{KUBECTL} delete configmap kept")
