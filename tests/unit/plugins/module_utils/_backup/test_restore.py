# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup import archive, scratch
from ansible_collections.bramble.pi.plugins.module_utils._backup import refusals as backup_refusals
from ansible_collections.bramble.pi.plugins.module_utils._backup import restore as backup_restore
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node_files, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node

from tests.unit.kubeadm_node import CA_HASH
from tests.unit.plugins.module_utils._backup.control_plane import ControlPlane, control_plane

FIXTURES = Path(__file__).parents[3] / "fixtures" / "ca_cert"


class Killed(BaseException):
    """The run ends here, as by a signal."""


class Blank:
    """A control plane that was flashed again, with a backup of what it was."""

    def __init__(self, was: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = was.root
        self.backup = was.backup()["file"]
        self.answers = self.slow = self.others = self.tool_goes_on = False
        self.commands: list[list[str]] = []
        self.left = -1
        for folder in ("etc/kubernetes", "var/lib/etcd", "var/lib/kubelet"):
            shutil.rmtree(self.root / folder)
        monkeypatch.setattr(backup_restore, "_RESTORED", f"{state.ETCD}/bramble-restored")
        monkeypatch.setattr(backup_restore, "_REPLACED", f"{state.ETCD}/bramble-replaced")
        monkeypatch.setattr(backup_restore, "listens", {}.get)
        monkeypatch.setattr(backup_restore._Restore, "_image", lambda _self: "registry.k8s.io/etcd:3.6.5-0")
        monkeypatch.setattr(backup_restore._Restore, "_client", lambda _self: "ctr")
        monkeypatch.setattr(backup_restore.time, "sleep", lambda _seconds: None)
        write, replace = backup_restore.write_text, backup_restore.replace_file
        monkeypatch.setattr(backup_restore, "write_text", self._killed_at(write))
        # Only root may give files to root.
        monkeypatch.setattr(
            backup_restore,
            "replace_file",
            self._killed_at(lambda path, data, mode, owner: replace(path, data, mode=mode)),
        )
        monkeypatch.setattr(backup_restore.os, "rename", self._killed_at(os.rename))

        @contextlib.contextmanager
        def memory(**_arguments: Any) -> Iterator[str]:
            folder = self.root / "memory"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            yield str(folder)

        monkeypatch.setattr(scratch, "whole_memory", memory)

    def _killed_at(self, function: Any) -> Any:
        def called(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise Killed
            return function(*arguments, **named)

        return called

    def run(self, command: list[str], **_options: Any) -> tuple[int, str, str]:
        self.commands.append(command)
        words = " ".join(command)
        if words == "hostname -I":
            return 0, "192.168.1.10 fd00::1\n", ""
        if words == "kubelet --version":
            return 0, "Kubernetes v1.36.1\n", ""
        if "restore --help" in words:
            return 0, "--bump-revision --mark-compacted", ""
        if self.tool_goes_on and words.endswith(" rm bramble-etcd-tool"):
            # Until then it writes.
            (self.root / "var/lib/etcd/bramble-restored/member").mkdir(parents=True)
            self.tool_goes_on = False
        if "snapshot restore" in words:
            (self.root / "var/lib/etcd/bramble-restored/member").mkdir(parents=True)
            (self.root / "var/lib/etcd/bramble-restored/member/db").write_text("restored")
        if words == "systemctl restart kubelet":
            self.left -= 1
            if self.left == 0:
                raise Killed
            self.answers = (self.root / "etc/kubernetes/manifests/kube-apiserver.yaml").exists()
        if "--raw=/readyz" in words:
            own = self.answers and not self.slow
            return (0 if own or (self.others and "--server" not in words) else 1), "ok", ""
        return 0, "", ""

    def restore(self, *, check_mode: bool = False, end: bool = True, **wishes: Any) -> dict[str, Any]:
        """Restore the backup, and remove the marker in the end as the role does."""
        given: dict[str, Any] = {
            "src": self.backup,
            "identity": "AGE-SECRET-KEY-1QQQ",
            "expected": [CA_HASH],
            "replace": False,
            "timeout": 0,
            **wishes,
        }
        wishes_given = backup_restore.Wishes(**given)
        wishes_given.check()
        result = backup_restore.restore(node=Node(run=self.run), wishes=wishes_given, check_mode=check_mode)
        if end and not check_mode:
            Path(result["marker"]).unlink()
        return result

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): path.read_text() if not path.is_symlink() else os.readlink(path)
            for folder in ("etc", "var/lib/etcd", "var/lib/kubelet")
            for path in sorted((self.root / folder).rglob("*"))
            if path.is_file() or path.is_symlink()
        }


@pytest.fixture
def blank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blank:
    return Blank(control_plane(tmp_path, monkeypatch), monkeypatch)


def test_from_a_blank_card_to_the_control_plane_as_it_was(blank: Blank) -> None:
    result = blank.restore()
    assert result["created"] == "2026-10-01T12:00:00Z"
    assert result["watchers_notice"] is True
    files = blank.files()
    assert files["var/lib/etcd/member/db"] == "restored"
    assert files["etc/kubernetes/pki/ca.key"] == "the key of the CA"
    assert files["var/lib/kubelet/pki/kubelet-client-current.pem"].endswith("kubelet-client-1.pem")
    assert os.stat(blank.root / "etc/kubernetes/pki").st_mode & 0o777 == 0o755
    (restored,) = (each for each in blank.commands if "restore" in each and "--help" not in each)
    assert {"--name=pi-1", "--bump-revision=1000000000", "--mark-compacted"} <= set(restored)
    assert not Path(state.BACKUP_STATUS).exists()
    # The identity is on no command line, and is gone before anything is started.
    assert not [word for each in blank.commands for word in each if "SECRET" in word]
    assert not (blank.root / "memory/identity").exists()


def test_killed_anywhere_and_run_again(blank: Blank) -> None:
    blank.restore()
    expected = blank.files()
    kills = 0
    for step in range(1, 100):
        for folder in ("etc/kubernetes", "var/lib/etcd", "var/lib/kubelet"):
            shutil.rmtree(blank.root / folder, ignore_errors=True)
        blank.answers, blank.left = False, step
        try:
            blank.restore()
        except Killed:
            kills += 1
            blank.left = -1
            blank.restore()
            assert blank.files() == expected, step
        else:
            break
    # More than the files of kubeadm.
    assert kills > 12


def test_what_a_boot_after_a_kill_has_started_is_not_put_back_again(blank: Blank) -> None:
    booted = 0
    for step in range(1, 100):
        for folder in ("etc/kubernetes", "var/lib/etcd", "var/lib/kubelet"):
            shutil.rmtree(blank.root / folder, ignore_errors=True)
        blank.answers, blank.left = False, step
        try:
            blank.restore()
        except Killed:
            blank.left = -1
            if node_files.has_control_plane():
                (blank.root / "var/lib/etcd/member/db").write_text("written since")
                blank.restore()
                assert blank.files()["var/lib/etcd/member/db"] == "written since", step
                booted += 1
        else:
            break
    assert booted > 0


def test_a_run_that_was_killed_while_the_cluster_stopped_is_no_consent(
    blank: Blank, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _living(blank)

    def killed() -> dict[int, str]:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(backup_restore, "_left", killed)
        with pytest.raises(Killed):
            blank.restore(replace=True)
    assert not Path(state.RESTORE_BEGUN).exists()
    # It is asked for again, whether its manifests were put back or not.
    blank.answers = False
    with pytest.raises(BackupError, match="there is a Kubernetes on this node already"):
        blank.restore()
    for path in state.COMPONENT_MANIFESTS:
        Path(path).write_text(before[str(Path(path).relative_to(blank.root))])
    blank.answers = True
    with pytest.raises(BackupError, match="the cluster answers"):
        blank.restore()
    assert blank.files() == before
    blank.restore(replace=True)


def test_a_tool_that_outlives_its_run_is_ended_before_its_folder_is_removed(blank: Blank) -> None:
    blank.tool_goes_on = True
    blank.restore()
    assert os.listdir(blank.root / "var/lib/etcd") == ["member"]


def test_a_killed_run_that_had_started_the_cluster_only_waits(blank: Blank) -> None:
    # Nothing answers, as on a slow card.
    blank.slow = True
    with pytest.raises(BackupError, match="the backup is in place"):
        blank.restore()
    blank.slow = False
    (blank.root / "var/lib/etcd/member/db").write_text("written since")
    blank.restore()
    assert blank.files()["var/lib/etcd/member/db"] == "written since"


def test_a_run_that_ended_before_the_watchers_were_restarted_goes_on(blank: Blank) -> None:
    blank.restore(end=False)
    assert blank.answers
    # Whether they notice is not known any more.
    assert blank.restore()["watchers_notice"] is False
    with pytest.raises(BackupError, match="the cluster answers"):
        blank.restore()


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"expected": ["sha256:" + "1" * 64]}, "set backup_restore_file to a backup of theirs"),
        ({"identity": "age1abc"}, "not one of age"),
        ({"src": "/nowhere"}, "/nowhere is not there"),
    ],
)
def test_what_is_refused_touches_nothing(blank: Blank, wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(BackupError, match=message):
        blank.restore(**wishes)
    assert blank.files() == {}
    assert not [each for each in blank.commands if each[0] == "systemctl"]


def test_a_truncated_one_touches_nothing(blank: Blank) -> None:
    path = Path(blank.backup)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BackupError):
        blank.restore()
    assert blank.files() == {}


def test_check_mode(blank: Blank) -> None:
    assert blank.restore(check_mode=True)["node"] == "pi-1"
    assert blank.files() == {}


def test_what_was_replaced_is_kept_until_the_cluster_answers(blank: Blank) -> None:
    blank.restore()
    blank.answers = True
    (blank.root / "var/lib/etcd/member/db").write_text("newer")
    with pytest.raises(BackupError, match="the cluster answers"):
        blank.restore()
    blank.restore(replace=True)
    assert blank.files()["var/lib/etcd/member/db"] == "restored"
    assert os.listdir(blank.root / "var/lib/etcd") == ["member"]


def _living(blank: Blank, **wishes: Any) -> dict[str, str]:
    """Have the control plane live, and return its files."""
    blank.restore(**wishes)
    (blank.root / "var/lib/etcd/member/db").write_text("living")
    blank.commands.clear()
    return blank.files()


def test_what_can_refuse_comes_before_anything_is_stopped(
    blank: Blank, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _living(blank)

    def refuse(_self: object) -> str:
        raise BackupError("it is not there")

    full = os.statvfs_result((4096, 4096, 100, 10, 10, 0, 0, 0, 0, 255))
    for target, name, refusal, message in (
        (backup_restore._Restore, "_image", refuse, "it is not there"),
        (backup_restore._Restore, "_client", refuse, "it is not there"),
        (backup_restore.os, "statvfs", lambda _path: full, "MiB free; expected 192 MiB or more for etcd"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, refusal)
            with pytest.raises(BackupError, match=message):
                blank.restore(replace=True)
            if name != "_image":
                with pytest.raises(BackupError, match=message):
                    blank.restore(replace=True, check_mode=True)
        assert blank.files() == before
        assert not Path(state.RESTORE_BEGUN).exists()
        assert not [each for each in blank.commands if each[0] == "systemctl"]


def test_an_attempt_of_kubeadm_that_was_interrupted_is_over(blank: Blank) -> None:
    Path(state.ATTEMPT).parent.mkdir(parents=True)
    Path(state.ATTEMPT).write_text("{}")
    blank.restore()
    assert not Path(state.ATTEMPT).exists()


@pytest.mark.parametrize("sha256", ["", "that of the backup"])
def test_what_a_restore_of_long_ago_has_left_is_no_consent(blank: Blank, sha256: str) -> None:
    _living(blank)
    marker = backup_refusals.Begun(archive.sha256_of(blank.backup) if sha256 else "", placed=True)
    Path(state.RESTORE_BEGUN).write_text(marker.dumped())
    # The node has become a part of another cluster.
    other = (FIXTURES / "rsa.crt").read_text()
    Path(state.CA_CERTIFICATE).write_text(other)
    blank.answers = False
    with pytest.raises(BackupError, match="there is a Kubernetes on this node already"):
        blank.restore()


@pytest.mark.parametrize("lost", ["var/lib/etcd", "etc/kubernetes"])
def test_what_was_in_place_and_is_not_any_more_is_put_there_again(blank: Blank, lost: str) -> None:
    expected = _living(blank)
    marker = backup_refusals.Begun(archive.sha256_of(blank.backup), placed=True)
    Path(state.RESTORE_BEGUN).write_text(marker.dumped())
    shutil.rmtree(blank.root / lost)
    blank.restore()
    assert blank.files() == {**expected, "var/lib/etcd/member/db": "restored"}


def test_only_this_node_itself_counts_as_answer(blank: Blank) -> None:
    blank.others = blank.slow = True
    with pytest.raises(BackupError, match=r"the API server at https://192\.168\.1\.10:6443 does not answer"):
        blank.restore(replace=True)


def test_a_resume_keeps_the_original_until_the_cluster_answers(blank: Blank) -> None:
    # These steps are the renames, and those before and after them.
    for step in range(1, 6):
        data = blank.root / "var/lib/etcd"
        shutil.rmtree(data, ignore_errors=True)
        Path(state.RESTORE_BEGUN).unlink(missing_ok=True)
        (data / "member").mkdir(parents=True)
        (data / "member/db").write_text("original")
        blank.answers, blank.slow, blank.left = False, True, step
        with pytest.raises(Killed):
            blank.restore(replace=True)
        blank.left = -1
        with pytest.raises(BackupError, match="the backup"):
            blank.restore(replace=True)
        assert (data / "bramble-replaced/db").read_text() == "original", step


@contextlib.contextmanager
def program(folder: Path, name: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process by that name with those arguments, until it is told to end or its input ends."""
    path = folder / name
    path.symlink_to("/bin/sh")
    command = [str(path), "-c", "echo; read line", name, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        # Once it prints, it is that program.
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_what_does_not_end_stops_the_restore(blank: Blank, monkeypatch: pytest.MonkeyPatch) -> None:
    # No process has this number.
    monkeypatch.setattr(backup_restore, "_left", lambda: {2**22 + 1: "etcd"})
    monkeypatch.setattr(backup_restore, "_STOP_SECONDS", 0)
    with pytest.raises(BackupError, match=r"etcd \(process 4194305\).* reboot this node, and run this again"):
        blank.restore()
    assert blank.files() == {}


def test_an_etcd_is_found_by_its_data(blank: Blank, tmp_path: Path) -> None:
    with program(tmp_path, "etcd", f"--data-dir={state.ETCD}") as process:
        assert backup_restore._left() == {process.pid: "etcd"}
    (tmp_path / "etcd").unlink()
    with program(tmp_path, "etcd", f"--data-dir={tmp_path}/other"):
        assert backup_restore._left() == {}


def test_an_api_server_of_before_is_ended(blank: Blank, tmp_path: Path) -> None:
    with program(tmp_path, "kube-apiserver", f"--tls-cert-file={state.PKI}/apiserver.crt") as process:
        blank.restore()
        assert process.wait(timeout=10) == -signal.SIGTERM
