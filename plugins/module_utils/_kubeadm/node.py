# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running kubeadm on a node: one at a time, with a private configuration, and with its failures explained.

Whether and why it is run is decided in ``state``.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import (
    components,
    config,
    diagnosis,
    node_files,
    reservation,
    state,
)

# In memory, so that neither a kill nor a power cut leaves a secret on the disk.
_RUN = "/run"
_WORKSPACE = "bramble-kubeadm-"
_LOCK = f"{_RUN}/bramble-kubeadm.lock"
_POLL = 2
_API_REQUEST_TIMEOUT = "10s"
_JOURNAL_LINES = 400
_EMPTY_OUTPUTS = 3


class KubeadmError(BrambleError):
    """The node cannot be brought to the desired state; the message says why and how to fix it."""


def default_node_name() -> str:
    """Return the name that kubeadm gives the node."""
    return socket.gethostname().strip().lower()


class Node:
    """A node and the kubeadm that is installed on it."""

    def __init__(self, *, run: Callable[..., tuple[int, str, str]]) -> None:
        """Take what runs a command with options, as AnsibleModule.run_command does."""
        self._run_command = run
        self._lock_descriptor: int | None = None
        self._workspace: str | None = None

    # Commands

    def run(self, command: Sequence[str]) -> tuple[int, str, str]:
        """Run a command. The lock is handed to it, so that it holds the lock if this process is killed."""
        path = os.environ.get("PATH", "")
        return self._run_command(
            list(command),
            environ_update={
                "LC_ALL": "C",
                # kubeadm looks for ip, iptables and others, which are not in an ordinary user's PATH.
                "PATH": f"{path}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            },
            pass_fds=() if self._lock_descriptor is None else (self._lock_descriptor,),
        )

    def feed(self, command: Sequence[str], text: str) -> None:
        """Run a command that reads its standard input and has to succeed."""

        def run(words: list[str]) -> tuple[int, str, str]:
            return self._run_command(words, data=text, environ_update={"LC_ALL": "C"})

        output_of(run, command)

    def has(self, program: str) -> bool:
        """Tell whether a program is installed."""
        return (
            shutil.which(program, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            is not None
        )

    def need(self, *programs: str) -> None:
        """Refuse to go on without these programs."""
        for program in programs:
            if not self.has(program):
                raise KubeadmError(
                    f"{program} is not installed on this node; the role kube_packages installs it"
                )

    @contextlib.contextmanager
    def locked(self, *, timeout: int) -> Iterator[None]:
        """Hold the node's one lock; a kubeadm whose Ansible was killed may still be running and hold it."""
        descriptor = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + timeout
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise KubeadmError(
                            f"another run of kubeadm has been going on on this node for more than {timeout} s"
                            f" (it holds {_LOCK}). Wait for it, or end it: ps -C kubeadm"
                        ) from None
                time.sleep(_POLL)
            self._lock_descriptor = descriptor
            with self._private_directory():
                yield
        finally:
            self._lock_descriptor = None
            os.close(descriptor)

    @contextlib.contextmanager
    def _private_directory(self) -> Iterator[None]:
        for stale in glob.glob(f"{_RUN}/{_WORKSPACE}*/"):
            shutil.rmtree(stale, ignore_errors=True)
        self._workspace = tempfile.mkdtemp(prefix=_WORKSPACE, dir=_RUN)
        try:
            yield
        finally:
            shutil.rmtree(self._workspace, ignore_errors=True)
            self._workspace = None

    def configuration_file(self, *, documents: Sequence[config.Document]) -> str:
        """Write kubeadm's configuration where only root can read it and where it does not stay."""
        if self._workspace is None:
            raise RuntimeError("the configuration is written only while the lock is held")
        path = os.path.join(self._workspace, "kubeadm.json")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(config.dumped(documents=documents))
        return path

    def own_configuration(self, *, node_name: str | None = None) -> str:
        """Write what kubeadm asks the cluster for, out of this control plane's files: it may not answer."""
        documents = config.minimal_documents(
            version=self.api_version(),
            kubernetes_version=self.release(),
            cri_socket=node_files.kubelet_socket(),
            cluster_configuration={},
            advertise_address=node_files.advertise_address(),
            node_name=node_name,
        )
        return self.configuration_file(documents=documents)

    def explained(self, command: Sequence[str]) -> str:
        """Return what kubeadm or kubectl printed; its failure is explained."""
        code, output, errors = self.run(command)
        if code != 0:
            raise KubeadmError(
                diagnosis.explanation(command=" ".join(command[:3]), output=f"{output}\n{errors}")
            )
        return output

    def with_reservation(self, value: Any, *, over: Mapping[str, Any]) -> config.Document:
        """Return a configuration with what this board keeps for the system, unless it says otherwise."""
        reserved = reservation.configuration(
            value, meminfo=read_text("/proc/meminfo") or "", cores=os.cpu_count() or 1
        )
        return config.merged(base=reserved, over=over)

    def api_version(self) -> str:
        """Return the version of the API in which to write configuration for the installed kubeadm."""
        return config.api_version(
            init_defaults=self.explained(["kubeadm", "config", "print", "init-defaults"])
        )

    def release(self) -> str:
        """Return the version of the installed kubeadm."""
        return config.release(version_json=self.explained(["kubeadm", "version", "-o", "json"]))

    # The API server

    def ask_api(self) -> tuple[bool, bool]:
        """Return whether the API server answers, and whether kubeadm has uploaded its configuration."""
        code, _output, errors = self.run(
            [
                "kubectl",
                f"--kubeconfig={state.ADMIN_KUBECONFIG}",
                f"--request-timeout={_API_REQUEST_TIMEOUT}",
                "get",
                "--raw=/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
            ]
        )
        # The rights of admin.conf are themselves granted late (from 1.29 on), before the upload.
        return code == 0 or "NotFound" in errors or "Forbidden" in errors, code == 0

    def ask_nodes(self) -> str:
        """Return what the API server says of all nodes, as JSON; nothing if it does not."""
        code, output, _errors = self.run(
            [
                "kubectl",
                f"--kubeconfig={state.ADMIN_KUBECONFIG}",
                f"--request-timeout={_API_REQUEST_TIMEOUT}",
                "get",
                "nodes",
                "--output=json",
            ]
        )
        return output if code == 0 else ""

    def wait_for_api(self, *, timeout: int) -> tuple[bool, bool]:
        """Ask the API server until it answers or the time is over."""
        deadline = time.monotonic() + timeout
        while True:
            answers, uploaded = self.ask_api()
            if answers or time.monotonic() > deadline:
                return answers, uploaded
            time.sleep(_POLL)

    # Running

    def run_one_coredns(self) -> None:
        """Have one pod of the cluster's DNS instead of two, which upgrades keep."""
        command = [
            "kubectl",
            "scale",
            f"--kubeconfig={state.ADMIN_KUBECONFIG}",
            "--request-timeout=60s",
            "--namespace=kube-system",
            "--replicas=1",
            "deployment/coredns",
        ]
        code, output, errors = self.run(command)
        # kubeadm may have been told to leave it out.
        if code != 0 and "NotFound" not in errors:
            raise KubeadmError(
                diagnosis.explanation(
                    command="kubectl scale deployment/coredns", output=f"{output}\n{errors}"
                )
            )

    def annotate(self, *, node_name: str, annotation: str) -> None:
        """Annotate this node in the cluster with the kubelet's own rights."""
        self.explained(
            [
                "kubectl",
                "annotate",
                f"--kubeconfig={state.KUBELET_KUBECONFIG}",
                "--request-timeout=60s",
                "--overwrite",
                f"node/{node_name}",
                annotation,
            ]
        )

    def kubeadm(self, command: Sequence[str], *, attempt: state.Attempt | None = None) -> str:
        """Run kubeadm and return its output; a failure is written down and explained."""
        if attempt:
            node_files.write_attempt(attempt)
        begun = time.time()
        code, output, errors = self.run(["kubeadm", *command])
        if code < 0:
            raise KubeadmError(
                f"kubeadm {command[0]} was ended by signal {-code}. Run this again: it goes on from there"
            )
        if code != 0:
            if attempt:
                node_files.write_attempt(replace(attempt, failed=True))
            raise KubeadmError(
                self.explanation(command=f"kubeadm {command[0]}", output=f"{output}\n{errors}", begun=begun)
            )
        return output

    def kubeadm_prints(self, command: Sequence[str]) -> str:
        """Run kubeadm for what it prints, which may be done twice without harm.

        AnsibleModule.run_command can lose all output of a command that succeeds on a busy node
        (https://github.com/ansible/ansible/issues/51393).
        """
        for _attempt in range(_EMPTY_OUTPUTS):
            output = self.kubeadm(command)
            if output.strip():
                return output
        raise KubeadmError(
            f"kubeadm {' '.join(command[:2])} succeeded {_EMPTY_OUTPUTS} times and printed nothing; expected"
            " what joining takes. Run this again when the node is less busy (see its load with uptime)"
        )

    def explanation(self, *, command: str, output: str, begun: float) -> str:
        """Return why a command failed that was begun at that time."""
        # Before it has its configuration the kubelet fails every few seconds, and that is no cause.
        since = int(max(begun, components.mtime(state.KUBELET_CONFIGURATION)))
        _code, journal, _errors = self.run(
            [
                "journalctl",
                "--no-pager",
                "--unit=kubelet",
                f"--since=@{since}",
                f"--lines={_JOURNAL_LINES}",
                "--output=short",
            ]
        )
        return diagnosis.explanation(
            command=command,
            output=output,
            journal=journal,
            container_logs=components.crashed(since=since),
        )


def phases_argument(*, phases: Sequence[str]) -> list[str]:
    """Return the argument that leaves phases out."""
    return [f"--skip-phases={','.join(phases)}"] if phases else []


def is_busy_name(message: str) -> bool:
    """Tell whether kubeadm join failed because a node of this name is still counted as ready."""
    return re.search(r'a Node with name "[^"]+" and status "Ready" already exists', message) is not None
