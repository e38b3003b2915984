# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container runtime is here; containerd.py and docker.py have the runtimes, runtime.py their list."""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._containers.images import Image
from ansible_collections.bramble.pi.plugins.module_utils._containers.mirrors import Mirror


class RuntimeConfigError(BrambleError):
    """A configuration that cannot be read, or not be changed as asked; the message lacks the file's name."""


class RuntimeStateError(BrambleError):
    """A runtime that is not as expected, and cannot be made so here."""


class Daemon(NamedTuple):
    """A program of the node that a runtime consists of."""

    #: Any of these packages brings it.
    packages: tuple[str, ...]
    #: In the order in which they are started; the last one is its service.
    units: tuple[str, ...]
    #: What it reads when it starts.
    configuration: str | None = None
    #: Where it keeps images and containers.
    data: str | None = None

    @property
    def service(self) -> str:
        """Its service, by the short name that people type."""
        return self.units[-1].removesuffix(".service")


@dataclass(frozen=True)
class Wishes:
    """What is asked of the runtimes of a node."""

    #: Settings of Docker.
    daemon_json: Mapping[str, Any] = field(default_factory=dict)
    #: Packages to install if there is no Docker.
    packages: Sequence[str] = ("docker.io",)
    #: Parts of warnings about limits in docker info that are accepted.
    accepted_warnings: Sequence[str] = ()
    #: Where containerd has to look for CNI plugins.
    cni_bin_dir: str = "/opt/cni/bin"
    #: What containerd makes pods' sandboxes of; None for its own choice.
    sandbox_image: str | None = None
    #: url and sha256 of the package of cri-dockerd.
    cri_dockerd: Mapping[str, str] | None = None
    #: Where containerd comes from: os, docker or archive.
    containerd_source: str = "os"
    #: url and key of Docker's repository, for the source docker.
    docker_repository: Mapping[str, str] = field(default_factory=dict)
    #: url and sha256 of each archive, for the source archive: containerd, runc and cni_plugins.
    archives: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: http_proxy, https_proxy and no_proxy, by which images are pulled; none without a proxy.
    proxy_environment: Mapping[str, str] = field(default_factory=dict)
    #: Registries whose images are asked for elsewhere first.
    mirrors: Sequence[Mirror] = ()
    #: The certificate of the mirrors' authority; None to keep the one that is there.
    mirror_ca: str | None = None
    #: Says why a containerd, by its major and minor, cannot serve the Kubernetes that is to come.
    unfit: Callable[[tuple[int, int]], str | None] | None = None


def _silent(warning: str) -> None:
    del warning


class Host(NamedTuple):
    """The node that is worked on."""

    run: Runner
    #: Tells whether a program is installed, as AnsibleModule.get_bin_path does.
    has: Callable[[str], object]
    changes: Changes
    #: Put before the paths of files; tests give a folder.
    root: str = ""
    warn: Callable[[str], None] = _silent


class ImageClient(abc.ABC):
    """The images of a runtime, by its own command."""

    #: The program, and how it takes away a name.
    program = ""
    remove_command: Sequence[str] = ()

    def __init__(self, *, run: Runner, architecture: str) -> None:
        self._run = run
        self.architecture = architecture

    @abc.abstractmethod
    def images(self, *, names: Collection[str]) -> dict[str, Image]:
        """Return what can be used of these images on this node."""

    def pull(self, name: str) -> Image | None:
        """Fetch an image of the node's own architecture; of another one nothing stays."""
        image = None
        try:
            self._pull(name, self.architecture)
            image = self.images(names={name}).get(name)
        finally:
            if image is None:
                self._run([*self.remove_command, name])
        return image

    @abc.abstractmethod
    def _pull(self, name: str, architecture: str) -> None:
        """Fetch an image of any architecture under its name."""

    @abc.abstractmethod
    def save(self, name: str, path: str) -> None:
        """Write an archive of an image of the node's own architecture."""

    @abc.abstractmethod
    def fetch_aside(self, name: str, architecture: str, path: str) -> None:
        """Fetch an image into an archive, and leave the node's images as they are."""

    def load(self, path: str, *, names: Collection[str]) -> None:
        """Import an archive for the sake of these images; if it is broken, nothing of them stays."""
        try:
            self._load(path)
        except BrambleError:
            for name in set(names).difference(self.images(names=names)):
                self._run([*self.remove_command, name])
            raise

    @abc.abstractmethod
    def _load(self, path: str) -> None:
        """Import an archive."""

    def do(self, command: Sequence[str]) -> str:
        """Run a command that has to succeed; before what went wrong they print how far they came."""
        return output_of(self._run, command, last_line=True)


class Runtime:
    """What kubelet runs containers by, and all that differs between one such and another.

    What is written here holds for a runtime that says nothing else.
    """

    #: As docker_kubernetes_runtime names it.
    name: ClassVar[str]
    #: Where kubelet and kubeadm reach it.
    socket: ClassVar[str]
    #: In the order in which they depend on each other; kubelet talks to the last.
    daemons: ClassVar[tuple[Daemon, ...]]
    #: What handles its images.
    client: ClassVar[type[ImageClient]]

    def listens_at(self, socket: str) -> bool:
        """Tell whether a socket is this runtime's, in whichever folder and with or without a scheme."""
        return os.path.basename(socket) == os.path.basename(self.socket)

    def install(self, *, host: Host, wishes: Wishes, installed: Mapping[str, apt.Package]) -> None:
        """Install what it needs beyond Docker."""
        del host, wishes, installed

    def hosts_files(self, *, wishes: Wishes) -> dict[str, str]:
        """Return the files, with their texts, by which it asks mirrors of registries."""
        del wishes
        return {}

    def configure(self, *, host: Host, wishes: Wishes) -> str | None:
        """Edit its configuration, and return the file if it was changed."""
        del host, wishes
        return None

    def serves(self, *, run: Runner) -> bool:
        """Tell whether kubelet can use what runs."""
        del run
        return True

    def check(self, *, run: Runner) -> None:
        """Fail if kubelet cannot use what runs, with the cause."""
        del run

    def drift(self, *, run: Runner, wishes: Wishes) -> list[str]:
        """Tell what of its settings is not as asked any more."""
        del run, wishes
        return []

    def version(self, *, run: Runner) -> tuple[int, int, int] | None:
        """Return its version, where that decides which Kubernetes it serves."""
        del run
        return None

    def sandbox_image(self, *, run: Runner) -> str | None:
        """Return the image that it makes pods' sandboxes of, where that is its own choice."""
        del run
        return None

    def remove_containers(self, *, run: Runner, has: Callable[[str], object]) -> None:
        """Remove the containers of pods that ``kubeadm reset`` leaves."""
        del run, has

    def leaves_containers(self, *, run: Runner, has: Callable[[str], object]) -> bool:
        """Tell whether there is something for ``remove_containers``."""
        del run, has
        return False
