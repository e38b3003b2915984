# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a backup of the cluster on a control plane: a snapshot that is proved beside, then encrypted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._backup import archive, etcd_output, retention, send
from ansible_collections.bramble.pi.plugins.module_utils._backup import scratch as backup_scratch
from ansible_collections.bramble.pi.plugins.module_utils._backup import status as backup_status
from ansible_collections.bramble.pi.plugins.module_utils._backup.copies import Receiver
from ansible_collections.bramble.pi.plugins.module_utils._backup.etcd import Etcd, etcd_of_node
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import (
    SNAPSHOT,
    BackupError,
    Contents,
    Manifest,
    disagreements,
)
from ansible_collections.bramble.pi.plugins.module_utils._common import run_status
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError, os_error_text
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node_files, state

#: How a run was ended from outside, as its signal handler raises SystemExit.
_STOPPED = (
    "it was stopped before its end, as by 'systemctl stop', its time limit or a shutdown; expected its end:"
    " run 'systemctl start bramble-backup'"
)
#: The exit code of a run whose backup is proved and did not come to a receiver; the service has it in
#: RestartPreventExitStatus, as no other backup is to be made for a copy.
NOT_COPIED = 75
#: The cluster may remove history, or write much, just while a backup is proved.
_ATTEMPTS = 3


@dataclass(frozen=True)
class Wishes:
    """What is asked of backups."""

    recipients: Sequence[str]
    folder: str
    keep: int
    keep_days: int
    #: The nodes that get a copy of each.
    copies: Sequence[Receiver] = ()

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Wishes:
        """Take them from a module's options, or from the settings of the timer."""
        return cls(
            recipients=tuple(parameters["recipients"]),
            folder=str(parameters["folder"]),
            keep=int(parameters["keep"]),
            keep_days=int(parameters["keep_days"]),
            copies=tuple(Receiver.of(each) for each in parameters.get("copies") or ()),
        )

    def check(self) -> None:
        """Refuse what cannot be done."""
        problems = retention.recipient_problems(self.recipients)
        if self.keep < 1:
            problems.append(f"backup_keep is {self.keep}; expected 1 or more: set it in your inventory")
        if self.keep_days < 1:
            problems.append(
                f"backup_keep_days is {self.keep_days}; expected 1 or more: set it in your inventory"
            )
        if problems:
            raise BackupError("; ".join(problems))


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def make_backup(*, run: Runner, wishes: Wishes, now: Callable[[], datetime] = _now) -> dict[str, Any]:
    """Make a backup that is proved, send copies, and return the status that is written down; so is a failure.

    A copy that does not arrive fails nothing here: it is in the status, and sent with the next one.
    """
    wishes.check()
    with backup_scratch.locked():
        copied = (_before() or {}).get("copies", {})
        try:
            status = _make(run=run, wishes=wishes, now=now)
        except (BrambleError, OSError, SystemExit) as error:
            failed = backup_status.failed(before=_before(), now=now(), error=_reason(error))
            # On a full disk not even that can be written down; the doctor then sees an old proof.
            with contextlib.suppress(OSError):
                write_text(state.BACKUP_STATUS, run_status.dumped(failed))
            raise
        status["copies"] = {each.name: copied[each.name] for each in wishes.copies if each.name in copied}
        write_text(state.BACKUP_STATUS, run_status.dumped(status))
        # A cluster that was backed up since a restore is not that restore's to overwrite any more.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(state.RESTORE_BEGUN)
        _send_copies(status, wishes=wishes, now=now)
        return status


def _send_copies(status: dict[str, Any], *, wishes: Wishes, now: Callable[[], datetime]) -> None:
    owner = retention.owner(ca_cert_hash=status["ca_cert_hash"], node=os.uname().nodename)
    for receiver in wishes.copies:
        copy = status["copies"].setdefault(receiver.name, {"copied": None, "file": None, "names": []})
        try:
            send.bring_up_to_date(receiver, copy, folder=wishes.folder, owner=owner, now=now)
        except SystemExit as error:
            copy["error"] = _STOPPED
            # By its time limit, too: the backup is proved, and systemd is not to have another one made.
            raise SystemExit(NOT_COPIED) from error
        finally:
            write_text(state.BACKUP_STATUS, run_status.dumped(status))


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return _STOPPED
    return os_error_text(error) if isinstance(error, OSError) else str(error)


def _before() -> dict[str, Any] | None:
    status = run_status.parse(read_text(state.BACKUP_STATUS))
    return run_status.of_cluster(status, ca_cert_hash=node_files.cluster_ca_hash())


def _make(*, run: Runner, wishes: Wishes, now: Callable[[], datetime]) -> dict[str, Any]:
    if not node_files.has_control_plane() or node_files.external_etcd():
        raise BackupError(
            "there is no control plane with an etcd of its own on this node; expected one that kubeadm"
            " made: run this on a host of the group control_plane"
        )
    ca_cert_hash = node_files.cluster_ca_hash()
    if ca_cert_hash is None:
        raise BackupError(f"{state.CA_CERTIFICATE} cannot be read; expected the CA of the cluster")
    archive.check_age()
    os.makedirs(wishes.folder, mode=0o700, exist_ok=True)
    node = os.uname().nodename
    owner = retention.owner(ca_cert_hash=ca_cert_hash, node=node)
    archive.remove_parts(wishes.folder, owner=owner)
    database = os.path.getsize(f"{state.ETCD_DATA}/snap/db")
    _check_disk(wishes.folder, database)
    # The copy of a run that was killed has memory, and holds the folder that was in it.
    etcd_of_node(run=run, folder=backup_scratch.FOLDER).clean()
    with backup_scratch.folder(run=run, size=retention.memory_needed(database=database)) as folder:
        etcd = etcd_of_node(run=run, folder=folder)
        created = now()
        keys = read_text(state.ENCRYPTION)
        contents = _proved_snapshot(etcd, f"{folder}/snapshot.db")
        problem = backup_status.lost_data(before=_before(), revision=contents.revision)
        if problem:
            raise BackupError(problem)
        files = [
            *archive.node_members(),
            archive.large_member(SNAPSHOT, f"{folder}/snapshot.db"),
        ]
        if read_text(state.ENCRYPTION) != keys:
            raise BackupError(
                f"{state.ENCRYPTION} has changed since the snapshot was taken, which may have secrets that it"
                " cannot read any more; expected the keys of both: run this again when bramble.pi.encryption"
                " has come to its end"
            )
        _check_files(files)
        manifest = Manifest(
            ca_cert_hash=ca_cert_hash,
            node=node,
            created=f"{created:{retention.ISO}}",
            proved=f"{now():{retention.ISO}}",
            kubernetes=etcd_output.version_of(
                image=etcd_output.image(manifest=read_text(state.APISERVER_MANIFEST) or "")
            ),
            etcd=etcd.version(),
            image=etcd.image,
            members=etcd.members(),
            contents=contents,
            files={each.name: each.file for each in files},
        )
        path = os.path.join(wishes.folder, retention.file_name(owner=owner, created=created))
        archive.write(path, archive.with_manifest(manifest, files), recipients=wishes.recipients)
    old = retention.superfluous(
        names=os.listdir(wishes.folder),
        owner=owner,
        newest=os.path.basename(path),
        now=created,
        keep=wishes.keep,
        days=wishes.keep_days,
    )
    for name in old:
        os.unlink(os.path.join(wishes.folder, name))
    return backup_status.succeeded(
        manifest=manifest, path=path, size=os.path.getsize(path), sha256=archive.sha256_of(path)
    )


def _proved_snapshot(etcd: Etcd, path: str) -> Contents:
    """Take a snapshot, restore it beside, and compare that with the cluster's etcd at the same revision."""
    found: list[str] = []
    for _attempt in range(_ATTEMPTS):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        revision = etcd.snapshot(path)
        live = etcd.live_contents(revision)
        restored = etcd.restored_contents(path, revision=revision, compacted=live.compact_revision)
        found = disagreements(live=live, restored=restored)
        if not found:
            return live
        etcd.remove_copy()
    raise BackupError(
        f"the snapshot, restored, is not what the cluster's etcd holds: {'; '.join(found)}. It is not kept;"
        " expected is the same: look at the disk of this node (dmesg), and run the doctor"
    )


def _check_files(files: Sequence[archive.Member]) -> None:
    """Refuse a backup that no cluster would come back from; what a link leads to is not in it."""
    names = {f"/{each.name}" for each in files if not each.file.link}
    needed = {
        state.CA_CERTIFICATE,
        f"{state.PKI}/sa.key",
        f"{state.PKI}/etcd/ca.crt",
        state.ADMIN_KUBECONFIG,
        *state.COMPONENT_MANIFESTS,
    }
    missing = sorted(needed - names)
    if missing:
        raise BackupError(
            f"{', '.join(missing)} would not be in the backup; expected all files of a control plane: put"
            " them there in place of links to files or folders elsewhere"
        )


def _check_disk(folder: str, needed: int) -> None:
    status = os.statvfs(folder)
    problem = retention.disk_problem(
        folder=folder,
        needed=needed,
        available=status.f_bavail * status.f_frsize,
        size=status.f_blocks * status.f_frsize,
    )
    if problem:
        raise BackupError(problem)
