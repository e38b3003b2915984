# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup import make, manifest
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state

from tests.unit.kubeadm_node import CA_HASH
from tests.unit.plugins.module_utils._backup.control_plane import (
    AGE_KEY,
    NOW,
    SECRET,
    ControlPlane,
    control_plane,
)

NAME = "bramble-20261001T120000Z-0fffefc56e99-pi-1.tar.gz.age"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    return control_plane(tmp_path, monkeypatch)


def test_a_backup_has_the_snapshot_the_files_and_a_manifest(node: ControlPlane) -> None:
    made = node.backup()
    assert made == node.status()
    assert made["file"] == str(node.folder / NAME)
    assert (made["keys"], made["revision"], made["ca_cert_hash"], made["error"]) == (312, 100, CA_HASH, None)
    assert os.stat(made["file"]).st_mode & 0o777 == 0o600
    content = node.content(made["file"])
    names = [name.replace(str(node.root).lstrip("/"), "") for name in content]
    # The manifest comes first, so that it can be read before the rest.
    assert names[0] == "manifest.json"
    assert {
        "etcd/snapshot.db",
        "/etc/kubernetes/pki/ca.key",
        "/etc/kubernetes/admin.conf",
        "/etc/kubernetes/manifests/etcd.yaml",
        "/var/lib/kubelet/config.yaml",
        "/var/lib/kubelet/pki/kubelet-client-current.pem",
    } <= set(names)
    assert "/etc/kubernetes/tmp/old.yaml" not in names
    read = manifest.parse(content["manifest.json"].decode())
    assert (read.kubernetes, read.etcd, read.members) == ("1.36.1", "3.6.5", ("pi-1",))
    assert set(read.files) == set(content) - {"manifest.json"}
    assert os.listdir(node.folder) == [NAME]


def test_the_keys_of_its_secrets_are_in_it(node: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """And are those of the snapshot: a rotation may come to its end after that was taken."""
    node.node.write("/etc/kubernetes/pki/encryption.json", "first\n")
    content = node.content(node.backup()["file"])
    assert [text for name, text in content.items() if name.endswith("encryption.json")] == [b"first\n"]
    run = node.run

    def rotated(command: list[str]) -> tuple[int, str, str]:
        if "snapshot" in command and "save" in command:
            node.node.write("/etc/kubernetes/pki/encryption.json", "second\n")
        return run(command)

    monkeypatch.setattr(node, "run", rotated)
    with pytest.raises(BackupError, match=r"encryption.json has changed since the snapshot was taken"):
        node.backup()
    assert os.listdir(node.folder) == [NAME]


def test_the_copy_is_asked_with_certificates_and_its_container_goes(node: ControlPlane) -> None:
    node.backup()
    (started,) = (each for each in node.commands if "--detach" in each)
    assert "--client-cert-auth" in started
    assert not [word for word in started if "0.0.0.0" in word]
    assert ["ctr", "--namespace", "k8s.io", "tasks", "rm", "--force", "bramble-etcd-copy"] in node.commands
    # The keys of etcd are only read.
    assert all(
        "options=rbind:ro" in word for each in node.commands for word in each if "pki/etcd,dst" in word
    )


def test_the_copy_of_a_killed_run_goes_before_memory_is_looked_at(node: ControlPlane) -> None:
    node.backup()
    before = node.commands[: node.commands.index(["a folder in memory"])]
    assert ["ctr", "--namespace", "k8s.io", "tasks", "rm", "--force", "bramble-etcd-copy"] in before


@pytest.mark.parametrize(
    "name", ["pki/ca.crt", "pki/sa.key", "pki/etcd/ca.crt", "admin.conf", "manifests/etcd.yaml"]
)
def test_what_a_link_leads_to_is_missed(node: ControlPlane, name: str) -> None:
    path = node.root / "etc/kubernetes" / name
    (node.root / "elsewhere").mkdir()
    path.rename(node.root / "elsewhere/file")
    path.symlink_to(node.root / "elsewhere/file")
    with pytest.raises(BackupError, match=f"etc/kubernetes/{name} would not be in the backup; expected"):
        node.backup()
    assert os.listdir(node.folder) == []


def test_a_folder_that_is_a_link_is_missed(node: ControlPlane) -> None:
    folder = node.root / "etc/kubernetes/pki"
    folder.rename(node.root / "elsewhere")
    folder.symlink_to(node.root / "elsewhere")
    with pytest.raises(BackupError, match=r"pki/ca\.crt, .*pki/sa\.key would not be in the backup"):
        node.backup()


def test_a_disk_without_modes(node: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    assert node.backup()["error"] is None


def test_no_secret_is_on_a_command_line(node: ControlPlane) -> None:
    node.backup()
    assert not [word for each in node.commands for word in each if SECRET in word]


@pytest.mark.parametrize("etcdutl", [True, False])
def test_an_image_may_have_either_tool(node: ControlPlane, etcdutl: bool) -> None:
    node.etcdutl = etcdutl
    node.backup()
    restored_by = [
        each[each.index("bramble-etcd-tool") + 1]
        for each in node.commands
        if "restore" in each and "bramble-etcd-tool" in each
    ]
    assert restored_by[-1] == ("etcdutl" if etcdutl else "etcdctl")


def test_history_that_was_removed_meanwhile_is_no_difference(node: ControlPlane) -> None:
    node.compacted = {"live": 95, "copy": 90}
    node.hashes["copy"] = 12
    assert node.backup()["error"] is None


@pytest.mark.parametrize("changed", [{"hashes": {"live": 11, "copy": 12}}, {"keys": {"live": 9, "copy": 8}}])
def test_what_is_not_proved_is_not_kept(node: ControlPlane, changed: dict[str, Any]) -> None:
    before = node.backup()
    os.rename(before["file"], str(node.folder / "bramble-20260930T120000Z-0fffefc56e99-pi-1.tar.gz.age"))
    for name, value in changed.items():
        setattr(node, name, value)
    with pytest.raises(BackupError, match="is not what the cluster's etcd holds"):
        node.backup()
    assert os.listdir(node.folder) == ["bramble-20260930T120000Z-0fffefc56e99-pi-1.tar.gz.age"]
    # What was proved before still is.
    assert node.status()["proved"] == before["proved"]
    assert "is not what the cluster's etcd holds" in node.status()["error"]


def test_an_etcd_that_began_again_with_nothing_does_not_become_the_newest(node: ControlPlane) -> None:
    node.revision = 48211
    before = node.backup()
    node.revision = 120
    # The second time, too: a failure does not forget what was proved.
    for _time in range(2):
        with pytest.raises(BackupError, match="etcd's revision is 120; expected 48211 or more"):
            node.backup()
    assert os.listdir(node.folder) == [NAME]
    assert node.status()["revision"] == before["revision"]
    # Another cluster begins with a small revision, and is no loss.
    status = {**node.status(), "ca_cert_hash": "sha256:" + "1" * 64}
    Path(state.BACKUP_STATUS).write_text(json.dumps(status))
    assert node.backup()["revision"] == 120


def test_a_backup_ends_a_restore_that_was_begun_before_it(node: ControlPlane) -> None:
    marker = Path(state.RESTORE_BEGUN)
    marker.parent.mkdir(parents=True)
    marker.write_text("{}")
    node.hashes["copy"] = 12
    with pytest.raises(BackupError):
        node.backup()
    assert marker.exists()
    node.hashes["copy"] = 11
    node.backup()
    assert not marker.exists()


def test_age_that_fails_leaves_nothing(node: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    age = node.node.programs / "age"
    said = "age: error: no space left on device\nage: report unexpected or unhelpful errors"
    age.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    # What it says is told on a disk that takes nothing any more, too.
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    with pytest.raises(
        BackupError,
        match=r"age ended with 1 .*no space left on device; expected .*: free some there \(see df",
    ):
        node.backup()
    assert os.listdir(node.folder) == []


def test_age_that_is_killed_leaves_nothing_and_what_a_power_cut_left_goes(node: ControlPlane) -> None:
    node.folder.mkdir()
    (node.folder / f"{NAME}.part").write_text("half")
    # Another node is just writing it.
    other = NAME.replace("pi-1", "pi-2") + ".part"
    (node.folder / other).write_text("half")
    age = node.node.programs / "age"
    age.write_text('#!/bin/sh\nwhile [ "$1" != --output ]; do shift; done\necho half >"$2"\nkill -9 $$\n')
    with pytest.raises(BackupError, match="age ended with -9"):
        node.backup()
    assert os.listdir(node.folder) == [other]


def test_without_age(node: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BackupError, match="apt-get install age"):
        node.backup()


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"recipients": []}, "backup_recipients is empty"),
        ({"keep": 0}, "backup_keep is 0; expected 1 or more"),
        ({"keep_days": -1}, "backup_keep_days is -1; expected 1 or more"),
    ],
)
def test_what_is_refused_before_anything_is_asked(
    node: ControlPlane, wishes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BackupError, match=message):
        node.backup(**wishes)
    assert node.commands == []
    assert not node.folder.exists()


def test_a_worker_has_no_etcd(node: ControlPlane) -> None:
    (node.root / "etc/kubernetes/manifests/etcd.yaml").unlink()
    with pytest.raises(BackupError, match="expected one that kubeadm made"):
        node.backup()


def test_old_ones_go_once_there_is_a_new_one(node: ControlPlane) -> None:
    node.folder.mkdir()
    for day in (27, 28, 29, 30):
        (node.folder / f"bramble-202609{day}T120000Z-0fffefc56e99-pi-1.tar.gz.age").write_text("")
    node.backup(recipients=[AGE_KEY], keep=2)
    assert sorted(os.listdir(node.folder)) == ["bramble-20260930T120000Z-0fffefc56e99-pi-1.tar.gz.age", NAME]


TO = {"name": "pi-2", "address": "10.0.0.2", "port": 2222}
OTHER = {"name": "pi-3", "address": "10.0.0.3", "port": 22}
#: Takes what comes to pi-2, and says so; the other one does not answer.
SSH = """\
#!/bin/sh
for word; do last=$word; done
case $* in
*10.0.0.3*) echo "ssh: connect to host 10.0.0.3 port 22: No route to host" >&2; exit 255 ;;
*refused*) echo "/copies/pi-1 has 3 MiB free; expected 9 MiB or more" >&2; exit 1 ;;
esac
name=${last#add }
[ ! -e "$FOLDER/${name%% *}" ] || { echo "${name%% *} is there"; exit; }
cat >"$FOLDER/${name%% *}"
echo "$last" >>"$FOLDER/asked"
"""


@pytest.fixture
def receiver(node: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (node.programs / "ssh").write_text(SSH)
    (node.programs / "ssh").chmod(0o755)
    folder = tmp_path / "copies"
    folder.mkdir()
    monkeypatch.setenv("FOLDER", str(folder))
    return folder


def test_a_backup_is_sent_once_it_is_proved(node: ControlPlane, receiver: Path) -> None:
    made = node.backup(copies=[TO])
    assert made == node.status()
    assert made["copies"]["pi-2"] == {
        "copied": "2026-10-01T12:00:00Z",
        "error": None,
        "file": NAME,
        "names": [NAME],
    }
    assert (receiver / NAME).read_bytes() == (node.folder / NAME).read_bytes()
    assert (receiver / "asked").read_text() == f"add {NAME} {made['size']} {made['sha256']}\n"
    # What has come there is not sent again.
    node.backup(copies=[TO])
    assert len((receiver / "asked").read_text().splitlines()) == 1


def test_a_receiver_that_was_flashed_again_gets_all_of_them(node: ControlPlane, receiver: Path) -> None:
    node.backup(copies=[TO])
    older = NAME.replace("20261001", "20260930")
    (node.folder / older).write_text("older")
    node.backup(copies=[TO])
    for path in receiver.iterdir():
        path.unlink()
    made = node.backup(copies=[TO])
    assert made["copies"]["pi-2"]["names"] == [older, NAME]
    assert sorted(path.name for path in receiver.iterdir()) == ["asked", older, NAME]


def test_one_that_does_not_answer_fails_no_backup(node: ControlPlane, receiver: Path) -> None:
    made = node.backup(copies=[OTHER, TO])
    assert (made["error"], made["copies"]["pi-2"]["error"]) == (None, None)
    assert made["copies"]["pi-3"] == {
        "copied": None,
        "error": f"pi-3 did not take {NAME}: ssh: connect to host 10.0.0.3 port 22: No route to host;"
        " expected an answer of 10.0.0.3, port 22: see that pi-3 is switched on, and run 'ansible-playbook"
        " bramble.pi.backup', which sets both sides up",
        "file": None,
        "names": [],
    }
    assert node.status() == made
    # It gets what it lacks with the next one, the newest first.
    older = NAME.replace("20261001", "20260930")
    (node.folder / older).write_text("older")
    again = node.backup(copies=[{**OTHER, "address": "10.0.0.4"}])
    assert again["copies"]["pi-3"]["names"] == [older, NAME]
    assert "pi-2" not in again["copies"]
    asked = [line.split()[1] for line in (receiver / "asked").read_text().splitlines()]
    assert asked[-2:] == [NAME, older]


def test_what_a_receiver_says_is_in_the_status(node: ControlPlane, receiver: Path) -> None:
    made = node.backup(copies=[{**TO, "address": "refused"}])
    said = f"pi-2 did not take {NAME}: /copies/pi-1 has 3 MiB free; expected 9 MiB or more"
    assert made["copies"]["pi-2"]["error"] == said


def test_a_failed_run_keeps_what_was_copied_before(node: ControlPlane, receiver: Path) -> None:
    before = node.backup(copies=[TO])["copies"]
    node.hashes["copy"] = 12
    with pytest.raises(BackupError):
        node.backup(copies=[TO])
    assert node.status()["copies"] == before


def test_a_node_without_ssh(node: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make.send.copies, "ssh_command", lambda *_given: ["/nowhere/ssh"])
    error = node.backup(copies=[TO])["copies"]["pi-2"]["error"]
    assert error.startswith("ssh is not installed on this node; expected Debian's package: run 'apt-get")


def test_a_file_that_cannot_be_read(node: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: str) -> str:
        raise OSError(5, "Input/output error", NAME)

    monkeypatch.setattr(make.send, "_send", lambda _receiver, path: fail(path))
    made = node.backup(copies=[TO])
    assert (made["error"], made["copies"]["pi-2"]["error"]) == (None, f"{NAME}: Input/output error")


def test_sending_that_is_stopped_is_in_the_status(
    node: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_given: Any, **_more: Any) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(make.send, "_send", stop)
    with pytest.raises(SystemExit) as ended:
        node.backup(copies=[TO])
    # systemd starts no other one, which would push an older backup out.
    assert ended.value.code == make.NOT_COPIED
    status = node.status()
    assert status["error"] is None
    assert status["copies"]["pi-2"]["error"].startswith("it was stopped before its end")


def test_a_run_that_is_stopped_has_failed(node: ControlPlane) -> None:
    proved = node.backup()["proved"]

    def run(command: list[str]) -> tuple[int, str, str]:
        # What the timer's handler of SIGTERM does.
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        make.make_backup(run=run, wishes=make.Wishes.of(node.wishes()), now=lambda: NOW)
    status = node.status()
    assert status["proved"] == proved
    assert status["error"].startswith("it was stopped before its end, as by 'systemctl stop'")
    assert len(os.listdir(node.folder)) == 1
