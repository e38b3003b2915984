# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that run kubeadm do on a node.

Whether and why something is done is decided in ``_kubeadm_state``; here it is done.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import mmap
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import config, diagnosis
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state as kubeadm_state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.join_command import is_ca_cert_hash
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import CaCertError, ca_cert_hash
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.kubeconfig import ca_hashes
from ansible_collections.bramble.pi.plugins.module_utils._node.facts import kubeconfig_server

# A runner takes a command as a list, as AnsibleModule.run_command does, with environ_update and pass_fds.
Runner = Callable[..., tuple[int, str, str]]

# In memory, so that neither a kill nor a power cut leaves a secret on the disk.
_RUN = "/run"
_WORKSPACE = "bramble-kubeadm-"
_LOCK = f"{_RUN}/bramble-kubeadm.lock"
_CONTAINERD_NAMESPACE = "k8s.io"
_CTR_TIMEOUT = 30
_CONTAINERS_TIMEOUT = 120
_POLL = 2
_API_REQUEST_TIMEOUT = "10s"
_JOURNAL_LINES = 400
_LOG_BYTES = 16384
# The order in which one component's failure causes the next one's.
_COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


class KubeadmError(BrambleError):
    """The node cannot be brought to the wanted state; the message says why and what mends it."""


def default_node_name() -> str:
    """Return the name that kubeadm gives the node."""
    return socket.gethostname().strip().lower()


class Node:
    """A node and the kubeadm that is installed on it."""

    def __init__(self, *, run: Runner) -> None:
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
        """Run a command that reads its standard input."""
        code, output, errors = self._run_command(list(command), data=text, environ_update={"LC_ALL": "C"})
        if code != 0:
            raise KubeadmError(f"{' '.join(command)} failed: {errors.strip() or output.strip()}")

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

    def _checked(self, command: Sequence[str]) -> str:
        code, output, errors = self.run(command)
        if code != 0:
            raise KubeadmError(
                diagnosis.explanation(command=" ".join(command[:3]), output=f"{output}\n{errors}")
            )
        return output

    def api_version(self) -> str:
        """Return the version of the configuration API that the installed kubeadm wants."""
        return config.api_version(
            init_defaults=self._checked(["kubeadm", "config", "print", "init-defaults"])
        )

    def release(self) -> str:
        """Return the version of the installed kubeadm."""
        return config.release(version_json=self._checked(["kubeadm", "version", "-o", "json"]))

    # State

    def files(self) -> frozenset[str]:
        """Return which of kubeadm's files are there; a file that a power cut left empty is not."""
        return frozenset(
            path
            for path in kubeadm_state.KUBERNETES_FILES
            if os.path.isdir(path) or (os.path.isfile(path) and os.path.getsize(path))
        )

    def external_etcd(self) -> bool:
        """Tell whether the node's API server uses an etcd elsewhere."""
        return kubeadm_state.uses_external_etcd(
            apiserver_manifest=read_text(kubeadm_state.APISERVER_MANIFEST) or ""
        )

    def state(self) -> str:
        """Tell what the node's files are those of."""
        return kubeadm_state.files_state(files=self.files(), external_etcd=self.external_etcd())

    def ca_cert_hash(self) -> str | None:
        """Return the hash of the CA of the cluster that this node belongs to, or began to join."""
        for path in (kubeadm_state.KUBELET_KUBECONFIG, kubeadm_state.BOOTSTRAP_KUBECONFIG):
            hashes = [value for value in ca_hashes(read_text(path) or "") if is_ca_cert_hash(value)]
            if hashes:
                return hashes[0]
        certificate = read_text(kubeadm_state.CA_CERTIFICATE)
        try:
            return ca_cert_hash(certificate) if certificate else None
        except CaCertError:
            return None

    def kubelet_complete(self) -> bool:
        """Tell whether the kubelet has all that it needs to talk to its cluster."""
        kubeconfig = read_text(kubeadm_state.KUBELET_KUBECONFIG) or ""
        certificate = kubeadm_state.kubelet_client_certificate(kubeconfig=kubeconfig)
        if certificate is None or kubeconfig_server(text=kubeconfig) is None:
            return False
        if certificate == "":
            return True
        pem = read_text(certificate) or ""
        return "BEGIN CERTIFICATE" in pem and "PRIVATE KEY" in pem

    def server(self) -> str | None:
        """Return the API server's address that the node's kubeconfig names."""
        for path in (kubeadm_state.ADMIN_KUBECONFIG, kubeadm_state.KUBELET_KUBECONFIG):
            server = kubeconfig_server(text=read_text(path) or "")
            if server:
                return server
        return None

    def attempt(self) -> kubeadm_state.Attempt | None:
        """Return the run of kubeadm that has not come to its end."""
        return kubeadm_state.parse_attempt(text=read_text(kubeadm_state.ATTEMPT))

    def write_attempt(self, attempt: kubeadm_state.Attempt) -> None:
        """Write down, so that it outlasts a power cut, that kubeadm is being run."""
        write_text(kubeadm_state.ATTEMPT, attempt.dumped(), mode=0o600)

    def clear_attempt(self) -> None:
        """Write down that kubeadm has come to its end."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(kubeadm_state.ATTEMPT)

    def users_files(self) -> tuple[str, ...]:
        """Return the files that the user has put where kubeadm writes: a CA, manifests of static pods."""
        return tuple(
            sorted(
                path
                for directory in (kubeadm_state.PKI, kubeadm_state.MANIFESTS)
                for path in glob.glob(f"{directory}/**", recursive=True)
                if os.path.isfile(path) and path not in kubeadm_state.COMPONENT_MANIFESTS
            )
        )

    def ask_api(self) -> tuple[bool, bool]:
        """Return whether the API server answers, and whether kubeadm has uploaded its configuration."""
        code, _output, errors = self.run(
            [
                "kubectl",
                f"--kubeconfig={kubeadm_state.ADMIN_KUBECONFIG}",
                f"--request-timeout={_API_REQUEST_TIMEOUT}",
                "get",
                "--raw=/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
            ]
        )
        # The rights of admin.conf are themselves granted late (from 1.29 on), before the upload.
        return code == 0 or "NotFound" in errors or "Forbidden" in errors, code == 0

    def wait_for_api(self, *, timeout: int) -> tuple[bool, bool]:
        """Ask the API server until it answers or the time is over."""
        deadline = time.monotonic() + timeout
        while True:
            answers, uploaded = self.ask_api()
            if answers or time.monotonic() > deadline:
                return answers, uploaded
            time.sleep(_POLL)

    def signs_of_use(self, *, node_name: str) -> list[str]:
        """Return what etcd's files say of other nodes and workloads."""

        def contents() -> Iterator[mmap.mmap]:
            for directory, _directories, names in os.walk(kubeadm_state.ETCD_DATA):
                for name in names:
                    with open(os.path.join(directory, name), "rb") as file:
                        # An empty file cannot be mapped.
                        if os.fstat(file.fileno()).st_size:
                            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                                yield data

        return kubeadm_state.signs_of_use(etcd_files=contents(), node_name=node_name)

    # Undoing

    def reset(self, *, cri_socket: str | None) -> None:
        """Run ``kubeadm reset`` and take away the containers that it cannot."""
        # kubeadm takes Docker where both are installed, also if the kubelet uses containerd.
        cri_socket = cri_socket or kubeadm_state.kubelet_cri_socket(
            flags=read_text(kubeadm_state.KUBELET_FLAGS) or "",
            configurations=[
                read_text(path) or ""
                for path in (
                    kubeadm_state.KUBELET_INSTANCE_CONFIGURATION,
                    kubeadm_state.KUBELET_CONFIGURATION,
                )
            ],
        )
        command = ["kubeadm", "reset", "--force"]
        if cri_socket:
            command.append(f"--cri-socket={cri_socket}")
        self._checked(command)
        self._remove_containers(cri_socket=cri_socket)

    def _remove_containers(self, *, cri_socket: str | None) -> None:
        """Remove what is left of the pods in containerd.

        kubeadm before 1.31 removes containers with crictl, and only warns where it is not installed.
        """
        if not (cri_socket or "").endswith("containerd.sock") or not self.has("ctr"):
            return
        # ctr waits for ever for a task that does not end.
        ctr = ["timeout", str(_CTR_TIMEOUT), "ctr", f"--namespace={_CONTAINERD_NAMESPACE}"]
        listing = [*ctr, "containers", "list", "--quiet"]
        containers = self._checked(listing).split()
        if not containers:
            return
        deadline = time.monotonic() + _CONTAINERS_TIMEOUT
        while containers:
            if time.monotonic() > deadline:
                raise KubeadmError(
                    f"containers {', '.join(containers)} cannot be removed from containerd; reboot the node"
                    " and run this again"
                )
            for container in containers:
                # Each may fail: there is no task, it has not quite ended, containerd was quicker. What
                # counts is that the container is gone in the end.
                self.run([*ctr, "tasks", "kill", "--signal=SIGKILL", container])
                self.run([*ctr, "tasks", "delete", "--force", container])
                self.run([*ctr, "containers", "delete", container])
            containers = self._checked(listing).split()
        # containerd's CRI keeps its own list of pods and forgets those that are gone when it starts.
        self._checked(["systemctl", "restart", "containerd"])

    def undo(self, *, attempt: kubeadm_state.Attempt | None, cri_socket: str | None) -> None:
        """Undo what a run of kubeadm that did not come to its end has left."""
        kept = {path: _Content.of(path) for path in (attempt.kept if attempt else ()) if os.path.isfile(path)}
        self.reset(cri_socket=cri_socket)
        empty_directory(kubeadm_state.ETCD)
        for path in kubeadm_state.KUBERNETES_FILES - kubeadm_state.DIRECTORIES:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        for path, content in kept.items():
            content.write(path)
        if self.state() != "absent":
            raise KubeadmError(
                f"kubeadm reset left {', '.join(sorted(self.files()))}; remove them and run this again"
            )
        self.clear_attempt()

    def remove_bootstrap_kubeconfig(self) -> None:
        """Remove the kubelet's first credentials, as kubeadm does at the end of a join."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(kubeadm_state.BOOTSTRAP_KUBECONFIG)

    # Running

    def annotate(self, *, node_name: str, annotation: str) -> None:
        """Annotate this node in the cluster with the kubelet's own rights."""
        self._checked(
            [
                "kubectl",
                "annotate",
                f"--kubeconfig={kubeadm_state.KUBELET_KUBECONFIG}",
                "--overwrite",
                f"node/{node_name}",
                annotation,
            ]
        )

    def kubeadm(self, command: Sequence[str], *, attempt: kubeadm_state.Attempt | None = None) -> str:
        """Run kubeadm and return its output; a failure is written down and explained."""
        if attempt:
            self.write_attempt(attempt)
        begun = time.time()
        code, output, errors = self.run(["kubeadm", *command])
        if code < 0:
            raise KubeadmError(
                f"kubeadm {command[0]} was ended by signal {-code}. Run this again: it goes on from there"
            )
        if code != 0:
            if attempt:
                self.write_attempt(replace(attempt, failed=True))
            raise KubeadmError(
                self.explanation(command=f"kubeadm {command[0]}", output=f"{output}\n{errors}", begun=begun)
            )
        return output

    def explanation(self, *, command: str, output: str, begun: float) -> str:
        """Return why a command failed that was begun at that time."""
        # Before it has its configuration the kubelet fails every few seconds, and that is no cause.
        since = int(max(begun, _mtime(kubeadm_state.KUBELET_CONFIGURATION)))
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
            container_logs=self._crashed_containers(since=since),
        )

    def _crashed_containers(self, *, since: float) -> Mapping[str, str]:
        """Return the last lines of the control plane's containers that crash.

        They are read from the files, because crictl may not be there; the kubelet keeps the log of each
        start under its number.
        """
        crashed = {}
        for component in _COMPONENTS:
            logs = glob.glob(f"/var/log/pods/kube-system_{component}-*/{component}/*.log")
            recent = sorted((path for path in logs if _mtime(path) >= since), key=_mtime, reverse=True)
            # The newest one may be of the start that is going on; the one before it tells of the end.
            for text in map(tail, recent[:2]):
                if diagnosis.ends_fatally(log=text):
                    crashed[component] = text
                    break
        return crashed


class _Content:
    """A file's content with its mode and owner."""

    def __init__(self, *, data: bytes, status: os.stat_result) -> None:
        self._data = data
        self._status = status

    @classmethod
    def of(cls, path: str) -> _Content:
        """Read a file."""
        with open(path, "rb") as file:
            return cls(data=file.read(), status=os.fstat(file.fileno()))

    def write(self, path: str) -> None:
        """Write it back where it was."""
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        mode = stat.S_IMODE(self._status.st_mode)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(self._data)
            os.fchmod(file.fileno(), mode)
            os.fchown(file.fileno(), self._status.st_uid, self._status.st_gid)


def _mtime(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def tail(path: str) -> str:
    """Return the end of a log; the runtime may have taken it away meanwhile."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def empty_directory(path: str) -> list[str]:
    """Remove everything in a directory, which may be a mount, and return what was removed."""
    removed = []
    for entry in sorted(glob.glob(f"{glob.escape(path)}/*") + glob.glob(f"{glob.escape(path)}/.[!.]*")):
        if os.path.isdir(entry) and not os.path.islink(entry):
            shutil.rmtree(entry)
        else:
            os.unlink(entry)
        removed.append(entry)
    return removed


def phases_argument(*, phases: Sequence[str]) -> list[str]:
    """Return the argument that leaves phases out."""
    return [f"--skip-phases={','.join(phases)}"] if phases else []


def is_busy_name(message: str) -> bool:
    """Tell whether kubeadm join failed because a node of this name is still counted as ready."""
    return re.search(r'a Node with name "[^"]+" and status "Ready" already exists', message) is not None
