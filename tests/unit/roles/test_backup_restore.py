# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role looks at on the controller before it restores a backup, by its own tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLE = Path(__file__).resolve().parents[3] / "roles" / "backup"
#: Those that ask no node.
TASKS = (
    "Find the newest backup on the controller",
    "Find the copies on other nodes",
    "Fetch the newest copy if none that is here is newer",
    "Fail without a backup",
    "Fail on nodes that may have a newer copy",
    "Fail on other control planes",
    "Fail if Ansible leaves its files on nodes",
)
NEWEST = "bramble-20261002T120000Z-0fffefc56e99-pi-1.tar.gz.age"
GROUPS = {"control_plane": ["pi-1", "pi-2", "pi-4"], "workers": ["pi-3"]}


def facts(host: str, state: str | None) -> dict[str, Any]:
    """Return what the role has read of another node; None for one that does not answer."""
    kubernetes = {"state": state, "ca_cert_hash": "sha256:1" if state == "worker" else None}
    return {"item": host, **({"ansible_facts": {"bramble": {"kubernetes": kubernetes}}} if state else {})}


def restore(
    folder: Path,
    *others: dict[str, Any],
    environment: dict[str, str] | None = None,
    silent: str = "",
    **variables: Any,
) -> str:
    tasks = yaml.safe_load((ROLE / "tasks" / "restore.yml").read_text())
    chosen = [task for task in tasks if task["name"] in TASKS]
    assert len(chosen) == len(TASKS)
    play = {
        "hosts": "pi-1",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
        "tasks": [*chosen, {"ansible.builtin.debug": {"msg": "chosen {{ __backup_chosen }}"}}],
    }
    given = {
        "ansible_python_interpreter": sys.executable,
        "backup_fetch_folder": str(folder),
        "__backup_others": {"results": others},
        **variables,
    }
    # Nobody listens there.
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    hosts = {
        name: {"hosts": {host: away if host == silent else None for host in hosts}}
        for name, hosts in GROUPS.items()
    }
    (folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "ansible-playbook", "-i", folder / "inventory.yml"),
            *("-c", "local", "-e", json.dumps(given), folder / "play.yml"),
        ],
        env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pi-1").mkdir()
    for name in (
        "bramble-20261001T120000Z-ffffefc56e99-pi-1.tar.gz.age",
        NEWEST,
        "photos.tar.gz.age",
        f"{NEWEST}.part",
    ):
        (tmp_path / "pi-1" / name).touch()
    return tmp_path


def test_the_newest_by_time_is_chosen_where_the_others_are_lost(folder: Path) -> None:
    others = (facts("pi-2", "absent"), facts("pi-4", None), facts("pi-3", "worker"))
    assert f"chosen {folder}/pi-1/{NEWEST}" in restore(folder, *others)


def test_other_control_planes_that_live(folder: Path) -> None:
    others = (facts("pi-2", "control_plane"), facts("pi-4", None), facts("pi-3", "worker"))
    assert "the other control planes pi-2 have the cluster; expected one that is" in restore(folder, *others)
    assert f"/{NEWEST}" in restore(folder, *others, backup_restore_replace=True)


def test_an_ansible_that_leaves_its_files(folder: Path) -> None:
    said = restore(folder, environment={"ANSIBLE_KEEP_REMOTE_FILES": "1"})
    assert "keep_remote_files is true; expected false" in said


#: One day newer, and one day older, than the newest on the controller.
NEWER, OLDER = (NEWEST.replace("20261002", day) for day in ("20261003", "20261001"))


def copies(folder: Path, *names: str) -> dict[str, Any]:
    """Have copies on other nodes, all of which are this machine here."""
    of_sender = folder / "copies" / "pi-1"
    of_sender.mkdir(parents=True)
    for name in (*names, f"{NEWER.replace('1003', '1004')}.part"):
        (of_sender / name).write_text(f"copy {name}")
    return {"backup_copy_to": ["pi-1", "pi-2", "pi-3"], "backup_copy_folder": str(folder / "copies")}


def test_a_newer_copy_is_fetched(folder: Path) -> None:
    said = restore(folder, **copies(folder, OLDER, NEWER))
    assert f"chosen {folder}/pi-1/{NEWER}" in said
    assert (folder / "pi-1" / NEWER).read_text() == f"copy {NEWER}"


def test_an_older_copy_is_not(folder: Path) -> None:
    assert f"chosen {folder}/pi-1/{NEWEST}" in restore(folder, **copies(folder, OLDER))
    assert not (folder / "pi-1" / OLDER).exists()


def test_a_node_that_may_have_a_newer_copy_and_does_not_answer(folder: Path) -> None:
    given = copies(folder, OLDER)
    said = " ".join(restore(folder, silent="pi-3", **given).split())
    assert f"pi-3 may have a newer copy than {NEWEST}, and did not tell; expected an answer" in said
    assert f"set backup_restore_file to {folder}/pi-1/{NEWEST}" in said
    assert '"msg": "chosen' not in said
    named = str(folder / "pi-1" / NEWEST)
    assert f"chosen {named}" in restore(folder, silent="pi-3", backup_restore_file=named, **given)


def test_a_copy_where_the_controller_has_none(tmp_path: Path) -> None:
    assert f"chosen {tmp_path}/pi-1/{OLDER}" in restore(tmp_path, **copies(tmp_path, OLDER))


def test_no_copy_and_no_backup(tmp_path: Path) -> None:
    said = " ".join(restore(tmp_path, **copies(tmp_path)).split())
    assert "/pi-1 has no backup, nor has pi-2, pi-3; expected one: set backup_restore_file to it" in said


def test_the_named_one_whatever_there_is(folder: Path) -> None:
    named = str(folder / "pi-1" / NEWEST)
    said = restore(folder, **copies(folder, NEWER), backup_restore_file=named)
    assert f"chosen {named}" in said


def test_a_check_does_not_go_on_with_a_cluster_that_was_not_restored() -> None:
    (*_before, last) = yaml.safe_load((ROLE.parents[1] / "playbooks" / "restore.yml").read_text())
    assert last["ansible.builtin.import_playbook"] == "site.yml"
    assert last["when"] == "not ansible_check_mode"
