# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a backup onto a control plane: everything is checked first, and a run that was killed goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Collection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.bramble.pi.plugins.module_utils._backup import archive, etcd_output, retention
from ansible_collections.bramble.pi.plugins.module_utils._backup import refusals as backup_refusals
from ansible_collections.bramble.pi.plugins.module_utils._backup import scratch as backup_scratch
from ansible_collections.bramble.pi.plugins.module_utils._backup.etcd import (
    LIVE_PORT,
    Etcd,
    Restored,
    listens,
)
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import (
    SNAPSHOT,
    BackupError,
    Manifest,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import (
    read_text,
    replace_file,
    write_text,
)
from ansible_collections.bramble.pi.plugins.module_utils._containers import images
from ansible_collections.bramble.pi.plugins.module_utils._containers.programs import Mount
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES, runtime_at
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import components, node_files, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node

_RESTORED = f"{state.ETCD}/bramble-restored"
_REPLACED = f"{state.ETCD}/bramble-replaced"
_STOP_SECONDS = 120
_POLL = 2


class Wishes(NamedTuple):
    """What is asked of a restore."""

    src: str
    identity: str
    #: Hashes of the CAs that other nodes have.
    expected: Collection[str]
    replace: bool
    timeout: int

    def check(self) -> None:
        """Refuse what cannot be tried."""
        problem = backup_refusals.identity_problem(self.identity)
        if problem:
            raise BackupError(problem)
        if not os.path.isfile(self.src):
            raise BackupError(f"{self.src} is not there; expected a backup: set backup_restore_file")


def restore(*, node: Node, wishes: Wishes, check_mode: bool) -> dict[str, Any]:
    """Put a backup onto this node, unless something speaks against it."""
    with backup_scratch.locked(), backup_scratch.whole_memory(run=node.run) as folder:
        identity = f"{folder}/identity"
        with open(os.open(identity, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(wishes.identity.rstrip("\n") + "\n")
        manifest = archive.extract(wishes.src, identity=identity, folder=f"{folder}/backup")
        os.unlink(identity)
        return _Restore(node, wishes, manifest, f"{folder}/backup").run(check_mode=check_mode)


def _left() -> dict[int, str]:
    """Return what runs of this node's control plane and keeps its data, {process: program}."""
    certificate = f"{state.PKI}/apiserver.crt"
    own = {"etcd": ("data-dir", state.ETCD), "kube-apiserver": ("tls-cert-file", certificate)}
    return {
        process.id: program
        for program, (flag, value) in own.items()
        for process in components.running(program)
        if process.flags.get(flag) == value
    }


class _Restore:
    def __init__(self, node: Node, wishes: Wishes, manifest: Manifest, folder: str) -> None:
        self._node = node
        self._wishes = wishes
        self._manifest = manifest
        #: What was in the archive, checked, in memory.
        self._folder = folder
        member = backup_refusals.member(etcd_manifest=self._text(f"{state.MANIFESTS}/etcd.yaml"))
        self._member = member

    def _text(self, path: str) -> str:
        return read_text(f"{self._folder}{path}") or ""

    def run(self, *, check_mode: bool) -> dict[str, Any]:
        begun = backup_refusals.parse_begun(read_text(state.RESTORE_BEGUN))
        now = backup_refusals.Begun(archive.sha256_of(self._wishes.src))
        resumed = backup_refusals.resumes(
            begun=begun,
            now=now,
            ca_cert_hash=node_files.cluster_ca_hash(),
            expected=self._manifest.ca_cert_hash,
            control_plane=node_files.has_control_plane(),
        )
        in_place = resumed and node_files.has_control_plane() and os.path.isdir(state.ETCD_DATA)
        problems = list(
            backup_refusals.refusals(
                manifest=self._manifest,
                member=self._member,
                node=self._seen(),
                expected=self._wishes.expected,
                replace=self._wishes.replace,
                resumed=resumed,
            )
        )
        if problems or self._member is None:
            raise BackupError(f"{'; '.join(problems)}. Nothing was changed")
        if not in_place:
            self._client()
            self._check_room()
        result = {
            "created": self._manifest.created,
            "node": self._manifest.node,
            "ca_cert_hash": self._manifest.ca_cert_hash,
            "members": list(self._manifest.members),
            "marker": state.RESTORE_BEGUN,
            "watchers_notice": False,
        }
        if check_mode:
            return result
        options = [] if in_place else self._place(self._member, now)
        result["watchers_notice"] = bool(options)
        output_of(self._node.run, ["systemctl", "enable", "kubelet"])
        output_of(self._node.run, ["systemctl", "restart", "kubelet"])
        self._wait(self._member)
        shutil.rmtree(_REPLACED, ignore_errors=True)
        # An older etcd's revisions went back, which the next backup would take for lost data.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(state.BACKUP_STATUS)
        return result

    def _seen(self) -> backup_refusals.Node:
        _code, addresses, _errors = self._node.run(["hostname", "-I"])
        code, version, _errors = self._node.run(["kubelet", "--version"])
        return backup_refusals.Node(
            name=os.uname().nodename,
            addresses=addresses.split(),
            kubelet=version.split()[-1].lstrip("v") if code == 0 and version.split() else "",
            state=node_files.kubernetes_state(),
            answers=self._answers(f"{self._folder}{state.ADMIN_KUBECONFIG}"),
        )

    def _check_room(self) -> None:
        folder = state.ETCD
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        status = os.statvfs(folder)
        problem = retention.restore_problem(
            folder=folder,
            snapshot=self._manifest.files[SNAPSHOT].size,
            available=status.f_bavail * status.f_frsize,
        )
        if problem:
            raise BackupError(f"{problem}. Nothing was changed")

    def _answers(self, kubeconfig: str, *options: str) -> bool:
        access = [f"--kubeconfig={kubeconfig}", *options, "--request-timeout=5s"]
        command = ["kubectl", *access, "get", "--raw=/readyz"]
        return self._node.run(["timeout", "20", *command])[0] == 0

    # In this order another run can begin again wherever one was killed. One that was killed before it had
    # stopped what was there has changed nothing that lasts, and asks for consent again.

    def _place(self, member: backup_refusals.Member, begun: backup_refusals.Begun) -> list[str]:
        # The last that can refuse.
        image = self._image()
        self._stop()
        write_text(state.RESTORE_BEGUN, begun.dumped(), mode=0o600)
        etcd = Etcd(run=self._node.run, image=image, client=self._client(), folder=self._folder, pki=False)
        # The tool of a run that was killed goes on writing until then.
        etcd.clean()
        shutil.rmtree(_RESTORED, ignore_errors=True)
        os.makedirs(state.ETCD, mode=0o700, exist_ok=True)
        options = etcd_output.restore_options(help_text=etcd.restore_help())
        etcd.restore(
            f"{self._folder}/{SNAPSHOT}",
            Restored(_RESTORED, member.name, member.peer),
            *options,
            mounts=[Mount(state.ETCD, writable=True)],
        )
        if os.path.isdir(_REPLACED):
            # A run that was killed has kept what was here; what is here now is its own.
            shutil.rmtree(state.ETCD_DATA, ignore_errors=True)
        elif os.path.isdir(state.ETCD_DATA):
            os.rename(state.ETCD_DATA, _REPLACED)
        os.rename(f"{_RESTORED}/member", state.ETCD_DATA)
        archive.sync(state.ETCD)
        shutil.rmtree(_RESTORED, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(state.BOOTSTRAP_KUBECONFIG)
        # Else kubeadm would undo what is restored here.
        node_files.clear_attempt()
        # With these the node is a control plane, which a boot starts; what it writes then, no run undoes.
        last = [name for name in self._manifest.files if f"/{name}" in state.COMPONENT_MANIFESTS]
        for name in sorted(self._manifest.files.keys() - {SNAPSHOT, *last}):
            self._write(name)
        placed = backup_refusals.Begun(begun.sha256, placed=True)
        write_text(state.RESTORE_BEGUN, placed.dumped(), mode=0o600)
        for name in last:
            self._write(name)
        return options

    def _write(self, name: str) -> None:
        path, file = f"/{name}", self._manifest.files[name]
        with open(f"{self._folder}/{name}", "rb") as source:
            data = source.read()
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        if file.link:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.symlink(data.decode(), path)
        else:
            replace_file(path, data, mode=file.mode, owner=(0, 0))

    def _stop(self) -> None:
        """Stop the control plane that may run here, so that nothing writes to its etcd any more."""
        for path in state.COMPONENT_MANIFESTS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        deadline = time.monotonic() + _STOP_SECONDS
        while listens(LIVE_PORT):
            if time.monotonic() > deadline:
                raise BackupError(
                    f"etcd still runs on this node {_STOP_SECONDS} s after its manifest was removed; expected"
                    " that the kubelet ends it: run 'systemctl restart kubelet', and this again"
                )
            time.sleep(_POLL)
        output_of(self._node.run, ["systemctl", "stop", "kubelet"])
        # Once its port is closed etcd may still write, and nothing ends one that the kubelet has started
        # again. An API server of before keeps its port and its memory, as where files alone were removed.
        for process in _left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while left := _left():
            if time.monotonic() > deadline:
                programs = " and ".join(f"{program} (process {number})" for number, program in left.items())
                raise BackupError(
                    f"{programs} of the control plane that was here did not end within {_STOP_SECONDS} s;"
                    " expected none that runs: reboot this node, and run this again"
                )
            time.sleep(_POLL)

    def _socket(self) -> str | None:
        return state.kubelet_cri_socket(
            flags=self._text(state.KUBELET_FLAGS),
            configurations=[
                self._text(path)
                for path in (state.KUBELET_INSTANCE_CONFIGURATION, state.KUBELET_CONFIGURATION)
            ],
        )

    def _client(self) -> str:
        socket = self._socket()
        runtime = RUNTIMES["dockershim"] if socket is None else runtime_at(socket)
        if runtime is None or not self._node.has(runtime.client.program):
            raise BackupError(
                f"the backup's kubelet uses the runtime at {socket or 'Docker'}, which this node"
                " does not have; expected the same: set docker_kubernetes_runtime, and run the role"
                " docker before"
            )
        return runtime.client.program

    def _image(self) -> str:
        """Have the image of etcd that the backup was made with."""
        name = images.spell_out(self._manifest.image)
        program = self._client()
        runtime = next(each for each in RUNTIMES.values() if each.client.program == program)
        client = runtime.client(run=self._node.run, architecture=images.node_architecture(run=self._node.run))
        if name not in client.images(names={name}) and client.pull(name) is None:
            raise BackupError(
                f"the image {name} is not on this node and cannot be fetched; expected that of the"
                " backup: put it there with kube_packages_image_archives, or run bramble.pi.images"
            )
        return self._manifest.image

    def _wait(self, member: backup_refusals.Member) -> None:
        """Wait for the API server of this node; others may answer at the cluster's address."""
        url = components.health_url(manifest=self._text(state.APISERVER_MANIFEST), program="kube-apiserver")
        server = f"https://{member.host}:{(urlsplit(url).port if url else None) or 6443}"
        deadline = time.monotonic() + self._wishes.timeout
        while not self._answers(state.ADMIN_KUBECONFIG, f"--server={server}"):
            if time.monotonic() > deadline:
                raise BackupError(
                    f"the API server at {server} does not answer within {self._wishes.timeout} s; the backup"
                    " is in place. Run this again to wait for it, or see what bramble.pi.doctor says"
                )
            time.sleep(_POLL)
