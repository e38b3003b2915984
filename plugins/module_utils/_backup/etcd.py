# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd and its tools, run from the image that the node's own etcd runs from: nothing has to be installed."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._backup import etcd_output
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError, Contents
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError, Runner
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._containers import programs
from ansible_collections.bramble.pi.plugins.module_utils._containers.programs import Mount
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node_files, state

MANIFEST = f"{state.MANIFESTS}/etcd.yaml"
PKI = f"{state.PKI}/etcd"
_CA, _CERTIFICATE, _KEY = (f"{PKI}/{name}" for name in ("ca.crt", "server.crt", "server.key"))
LIVE_PORT = 2379
_LIVE = f"https://127.0.0.1:{LIVE_PORT}"
#: Of the containers that are run here.
_TOOL, _COPY = "bramble-etcd-tool", "bramble-etcd-copy"
_START_SECONDS = 120
_PROBE_SECONDS = 0.5


class Restored(NamedTuple):
    """How a snapshot becomes the data of a member."""

    data: str
    name: str
    peer: str


class Etcd:
    """The cluster's etcd on this node, and copies of it beside."""

    def __init__(self, *, run: Runner, image: str, client: str, folder: str, pki: bool = True) -> None:
        self._run = run
        self.image = image
        self._client = client
        #: In memory; what the tools write goes there.
        self.folder = folder
        self._mounts = [Mount(folder, writable=True), *([Mount(PKI)] if pki else [])]

    def clean(self) -> None:
        """Remove the containers that a killed run has left."""
        for name in (_TOOL, _COPY):
            self._remove(name)

    def _remove(self, name: str) -> None:
        for command in programs.remove_commands(client=self._client, name=name):
            self._run(command)

    def version(self) -> str:
        """Ask the cluster's etcd for its version."""
        return etcd_output.version(output=self._ask(_LIVE, "endpoint", "status"))

    def members(self) -> tuple[str, ...]:
        """Ask for the names of the members."""
        return etcd_output.members(output=self._ask(_LIVE, "member", "list"))

    def snapshot(self, path: str) -> int:
        """Save a snapshot, and return its revision."""
        self._ask(_LIVE, "snapshot", "save", path)
        return etcd_output.snapshot_revision(
            output=self._tool("snapshot", "status", path, "--write-out=json")
        )

    def live_contents(self, revision: int) -> Contents:
        """Ask what the cluster's etcd holds at a revision."""
        return self._contents(_LIVE, revision)

    def _contents(self, endpoint: str, revision: int) -> Contents:
        answer = self._ask(endpoint, "endpoint", "hashkv", f"--rev={revision}")
        value, compacted = etcd_output.hash_and_compaction(output=answer)
        # Older ones cannot only count; every answer has the number of all.
        keys = self._ask(endpoint, "get", "", "--prefix", "--keys-only", "--limit=1", f"--rev={revision}")
        return Contents(revision, etcd_output.count(output=keys), value, compacted)

    def restored_contents(self, snapshot: str, *, revision: int, compacted: int) -> Contents:
        """Restore a snapshot beside, start it for this node alone, and ask what it holds."""
        client, peer = etcd_output.free_ports(taken=_taken_ports(), number=2)
        copy = Restored(f"{self.folder}/copy", "copy", f"https://127.0.0.1:{peer}")
        self.restore(snapshot, copy)
        endpoint = f"https://127.0.0.1:{client}"
        self._start(copy, endpoint)
        try:
            self._wait(client)
            found = self._contents(endpoint, revision)
            if found.compact_revision < compacted <= revision:
                # The cluster has removed history since the snapshot, which counts in the hash.
                self._ask(endpoint, "compaction", str(compacted), "--physical")
                found = self._contents(endpoint, revision)
            return found
        finally:
            self._remove(_COPY)

    def restore(self, snapshot: str, restored: Restored, *options: str, mounts: Sequence[Mount] = ()) -> None:
        """Make the data of a member that is the only one out of a snapshot."""
        self._tool(
            *("snapshot", "restore", snapshot, f"--data-dir={restored.data}", f"--name={restored.name}"),
            f"--initial-cluster={restored.name}={restored.peer}",
            f"--initial-advertise-peer-urls={restored.peer}",
            *options,
            mounts=mounts,
        )

    def remove_copy(self) -> None:
        """Remove the data of the copy."""
        shutil.rmtree(f"{self.folder}/copy", ignore_errors=True)

    def restore_help(self) -> str:
        """Return what the tool says of how it restores."""
        return self._tool("snapshot", "restore", "--help")

    def _start(self, copy: Restored, endpoint: str) -> None:
        # Anyone who asks needs a certificate of the cluster's etcd, as for the cluster's own.
        of_client = [f"--cert-file={_CERTIFICATE}", f"--key-file={_KEY}", f"--trusted-ca-file={_CA}"]
        of_peer = [option.replace("--", "--peer-", 1) for option in of_client]
        self._do(
            [
                *("etcd", f"--name={copy.name}", f"--data-dir={copy.data}"),
                *(f"--listen-client-urls={endpoint}", f"--advertise-client-urls={endpoint}"),
                *(f"--listen-peer-urls={copy.peer}", f"--initial-advertise-peer-urls={copy.peer}"),
                *(f"--initial-cluster={copy.name}={copy.peer}", "--client-cert-auth", *of_client),
                *("--peer-client-cert-auth", *of_peer),
            ],
            name=_COPY,
            detached=True,
        )

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not listens(port):
            if time.monotonic() > deadline:
                raise BackupError(
                    f"the restored snapshot does not answer within {_START_SECONDS} s; expected an etcd"
                    " that starts from it: make another backup, and look at the disk of this node (dmesg)"
                )
            time.sleep(_PROBE_SECONDS)

    def _ask(self, endpoint: str, *words: str) -> str:
        access = [f"--cacert={_CA}", f"--cert={_CERTIFICATE}", f"--key={_KEY}"]
        command = ["etcdctl", f"--endpoints={endpoint}", *access, "--command-timeout=60s", "--write-out=json"]
        return self._do([*command, *words])

    def _tool(self, *words: str, mounts: Sequence[Mount] = ()) -> str:
        """Run what works on files: etcdutl, from 3.5 on; before, and in no image from 3.6 on, etcdctl."""
        try:
            return self._do(["etcdutl", *words], mounts=mounts)
        except CommandError as error:
            if "etcdutl" not in str(error).partition(": ")[2] or "not found" not in str(error):
                raise
        return self._do(["etcdctl", *words], mounts=mounts)

    def _do(
        self, words: list[str], *, name: str = _TOOL, detached: bool = False, mounts: Sequence[Mount] = ()
    ) -> str:
        command = programs.start_command(
            client=self._client,
            image=self.image,
            name=name,
            mounts=[*self._mounts, *mounts],
            command=words,
            detached=detached,
        )
        try:
            code, output, errors = self._run(command)
        except BaseException:
            # A run that is stopped leaves nothing that holds its memory.
            self._remove(name)
            raise
        if code != 0:
            self._remove(name)
            said = (errors.strip() or output.strip() or "it said nothing")[-600:]
            said += etcd_output.room_advice(said=said, memory=self.folder)
            raise CommandError(f"'{' '.join(words[:1] + _meaning(words))}' ended with {code}: {said}")
        return output


def _meaning(words: Sequence[str]) -> list[str]:
    return [word for word in words[1:] if word and not word.startswith("-")][:2]


def listens(port: int) -> bool:
    """Tell whether something listens at a port of the loopback address."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False


def _taken_ports() -> set[int]:
    """Return the ports at which something listens."""
    found = set()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in (read_text(path) or "").splitlines()[1:]:
            found.add(int(line.split()[1].rpartition(":")[2], 16))
    return found


def etcd_of_node(*, run: Runner, folder: str) -> Etcd:
    """Return the etcd of this control plane."""
    image = etcd_output.image(manifest=read_text(MANIFEST) or "")
    if image is None:
        raise BackupError(
            f"{MANIFEST} is not there, or names no image; expected the etcd of a control plane"
            " that kubeadm made: run this on a host of the group control_plane"
        )
    client = programs.client_at(node_files.kubelet_socket())
    return Etcd(run=run, image=image, client=client, folder=folder)
