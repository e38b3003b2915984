# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Container images by name, architecture and id: in runtimes, in archives, and what of them nodes lack."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._containers import archive

#: Runs a command and returns its exit code, output and error output.
Runner = Callable[[list[str]], tuple[int, str, str]]
#: Returns a blob by its digest, or None if it is not there.
Reader = Callable[[str], "bytes | None"]

#: dpkg's names of architectures: those of images, where they differ.
_ARCHITECTURES = {"armhf": "arm", "i386": "386"}
#: What the images of an architecture are asked for by, where its name is not enough.
_VARIANTS = {"arm": "arm/v7"}

#: Of kubeadm's list, what no worker runs.
_CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")

_NAMESPACE = "k8s.io"
#: Where images are for a moment that are not to take the place of the node's own.
_ASIDE = "bramble-images"
#: Where containerd's own tools look for the registries' settings.
_HOSTS = "/etc/containerd/certs.d"
#: A line of ctr images check; the size has blanks in it.
_CHECKED = re.compile(r"(?P<name>\S+) +\S+ +(?P<digest>sha256:[0-9a-f]{64}) +\S+ .* (?P<unpacked>true|false)")


class ContainerImagesError(BrambleError):
    """Images that cannot be had, read or written."""


class Image(NamedTuple):
    """An image of one architecture, known by the digest of its configuration, whatever it came in."""

    name: str
    architecture: str
    id: str


def architecture(*, dpkg: str) -> str:
    """Return the name that images have for dpkg's architecture."""
    return _ARCHITECTURES.get(dpkg, dpkg)


def platform(architecture: str) -> str:
    """Return what runtimes ask for to get an image of an architecture."""
    return f"linux/{_VARIANTS.get(architecture, architecture)}"


def kubeadm_images(*, text: str, control_plane: bool) -> list[str]:
    """Read kubeadm's list of images, without those that a worker does not run."""
    images = [archive.spell_out(line.strip()) for line in text.splitlines() if line.strip()]
    return [
        image
        for image in images
        if control_plane or image.rpartition(":")[0].rpartition("/")[2] not in _CONTROL_PLANE
    ]


def _document(content: bytes, *, what: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise ContainerImagesError(f"{what} is not JSON: {error}") from error


def _image(name: str, configuration: bytes) -> Image:
    content = _document(configuration, what=f"the configuration of {name}")
    digest = hashlib.sha256(configuration).hexdigest()
    return Image(name, str(content.get("architecture", "")), f"sha256:{digest}")


def images_below(*, name: str, digest: str, read: Reader, architecture: str | None = None) -> Iterator[Image]:
    """Follow an index or a manifest to the configurations that are there, of one architecture or of all."""
    content = read(digest)
    if content is None:
        return
    document = _document(content, what=f"{digest} of {name}")
    for entry in document.get("manifests", ()):
        # An index also has what is no image, such as attestations.
        of = entry.get("platform", {}).get("architecture")
        if of is None or (of != "unknown" and architecture in (None, of)):
            yield from images_below(name=name, digest=entry["digest"], read=read, architecture=architecture)
    if "config" in document:
        configuration = read(document["config"]["digest"])
        if configuration is not None:
            yield _image(name, configuration)


def archive_images(*, members: Collection[str], read: Callable[[str], bytes]) -> list[Image]:
    """Read which images an archive has, written by docker, podman, skopeo or containerd."""
    if "manifest.json" in members:
        return [
            _image(archive.spell_out(tag), read(entry["Config"]))
            for entry in _document(read("manifest.json"), what="manifest.json")
            for tag in entry.get("RepoTags") or ()
        ]
    if "index.json" not in members:
        raise ContainerImagesError(
            "neither manifest.json nor index.json is in it; wanted is what docker image save, podman save or "
            "ctr images export write"
        )

    def read_blob(digest: str) -> bytes | None:
        path = f"blobs/{digest.replace(':', '/')}"
        return read(path) if path in members else None

    found: list[Image] = []
    for entry in _document(read("index.json"), what="index.json").get("manifests", ()):
        annotations = entry.get("annotations") or {}
        name = annotations.get("io.containerd.image.name") or annotations.get(
            "org.opencontainers.image.ref.name", ""
        )
        # Some write a mere tag there.
        if ":" in name:
            found += images_below(name=archive.spell_out(name), digest=entry["digest"], read=read_blob)
    return found


def archive_name(*, name: str, architecture: str) -> str:
    """Return the file name of the archive of one image."""
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}-{architecture}-{_short_digest(name)}.tar"


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class Need(NamedTuple):
    """An image of one architecture that nodes lack, or have in another version than the others."""

    name: str
    architecture: str
    nodes: tuple[str, ...]
    #: Where the wish for it can be corrected.
    variable: str


def needs(*, nodes: Mapping[str, Mapping[str, Any]]) -> list[Need]:
    """Compare what nodes want with what they have.

    Where nodes have different versions under one name, all of them are in need, as only the source's counts.
    """
    wanted: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for node, state in nodes.items():
        for image in state["images"]:
            wanted.setdefault((image["name"], state["architecture"]), {})[node] = image
    return [
        Need(name, of, tuple(entries), next(iter(entries.values()))["variable"])
        for (name, of), entries in sorted(wanted.items())
        if len({entry["id"] for entry in entries.values()}) > 1
        or None in {entry["id"] for entry in entries.values()}
    ]


class Runtime(abc.ABC):
    """A runtime and its images."""

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
        except ContainerImagesError:
            for name in set(names).difference(self.images(names=names)):
                self._run([*self.remove_command, name])
            raise

    @abc.abstractmethod
    def _load(self, path: str) -> None:
        """Import an archive."""

    def do(self, command: list[str]) -> str:
        """Run a command that has to succeed."""
        code, output, error = self._run(command)
        if code != 0:
            lines = [line for line in (error.strip() or output.strip()).splitlines() if line.strip()]
            raise ContainerImagesError(f"{' '.join(command)} failed: {lines[-1].strip() if lines else code}")
        return output


class Docker(Runtime):
    """Docker, whose kubelet is served by dockershim or cri-dockerd."""

    program = "docker"
    remove_command = ("docker", "image", "rm")

    def images(self, *, names: Collection[str]) -> dict[str, Image]:
        ids = sorted(set(self.do(["docker", "image", "ls", "--quiet", "--no-trunc"]).split()))
        if not ids:
            return {}
        found = {}
        for entry in _document(
            self.do(["docker", "image", "inspect", *ids]).encode(), what="docker image inspect"
        ):
            for tag in entry.get("RepoTags") or ():
                name = archive.spell_out(tag)
                if name in names and entry["Architecture"] == self.architecture:
                    found[name] = Image(name, entry["Architecture"], entry["Id"])
        return found

    def _id(self, name: str) -> str | None:
        code, output, _error = self._run(["docker", "image", "inspect", "--format", "{{.Id}}", name])
        return output.strip() if code == 0 else None

    def _pull(self, name: str, architecture: str) -> None:
        self.do(["docker", "image", "pull", "--quiet", "--platform", platform(architecture), name])

    def save(self, name: str, path: str) -> None:
        self.do(["docker", "image", "save", "--output", path, name])

    def fetch_aside(self, name: str, architecture: str, path: str) -> None:
        # Docker gives the name to what was pulled last.
        own = self._id(name)
        try:
            self._pull(name, architecture)
            self.save(name, path)
        finally:
            other = self._id(name)
            if other != own and own is not None:
                self.do(["docker", "image", "tag", own, name])
            if other not in (own, None):
                self.do(["docker", "image", "rm", str(other) if own else name])

    def _load(self, path: str) -> None:
        self.do(["docker", "image", "load", "--input", path])


class Containerd(Runtime):
    """containerd, in the namespace that kubelet uses."""

    program = "ctr"
    remove_command = ("ctr", "--namespace", _NAMESPACE, "images", "rm")

    def images(self, *, names: Collection[str]) -> dict[str, Image]:
        code, output, error = self._run(["ctr", "--namespace", _NAMESPACE, "images", "check"])
        # It fails for an image of another architecture, and tells of the others all the same.
        if code != 0 and not output.startswith("REF"):
            raise ContainerImagesError(f"ctr images check failed: {error.strip()}")
        found: dict[str, Image] = {}
        for name, digest in usable(text=output).items():
            if name in names:
                for image in images_below(
                    name=name, digest=digest, read=self._read, architecture=self.architecture
                ):
                    if image.architecture == self.architecture:
                        found.setdefault(name, image)
        return found

    def _read(self, digest: str) -> bytes | None:
        code, output, _error = self._run(["ctr", "--namespace", _NAMESPACE, "content", "get", digest])
        return output.encode(errors="surrogateescape") if code == 0 else None

    @staticmethod
    def _hosts() -> list[str]:
        return ["--hosts-dir", _HOSTS] if os.path.isdir(_HOSTS) else []

    def _pull(self, name: str, architecture: str) -> None:
        self.do(
            [
                *("ctr", "--namespace", _NAMESPACE, "images", "pull", *self._hosts()),
                *("--platform", platform(architecture), name),
            ]
        )

    def _export(self, namespace: str, name: str, architecture: str, path: str) -> None:
        self.do(
            [
                *("ctr", "--namespace", namespace, "images", "export"),
                *("--platform", platform(architecture), path, name),
            ]
        )

    def save(self, name: str, path: str) -> None:
        self._export(_NAMESPACE, name, self.architecture, path)

    def fetch_aside(self, name: str, architecture: str, path: str) -> None:
        ctr = ["ctr", "--namespace", _ASIDE]
        try:
            # What is fetched so is not unpacked.
            self.do([*ctr, "content", "fetch", *self._hosts(), "--platform", platform(architecture), name])
            self._export(_ASIDE, name, architecture, path)
        finally:
            self._run([*ctr, "images", "rm", "--sync", name])
            self._run(["ctr", "namespaces", "rm", _ASIDE])

    def _load(self, path: str) -> None:
        # By itself it also wants what the node could run beside its own: 386 on amd64, arm on arm64.
        self.do(
            [
                *("ctr", "--namespace", _NAMESPACE, "images", "import"),
                *("--platform", platform(self.architecture), path),
            ]
        )


RUNTIMES: Mapping[str, type[Runtime]] = {"containerd": Containerd, "docker": Docker}


def usable(*, text: str) -> dict[str, str]:
    """Read what ctr images check says: the digests of images that containers can be made of, by name."""
    matches = (_CHECKED.match(line) for line in text.splitlines())
    return {
        match["name"]: match["digest"]
        for match in matches
        # Layers that were unpacked may have been thrown away, so that an image is not complete any more.
        if match and match["unpacked"] == "true"
    }


def node_architecture(*, run: Runner) -> str:
    """Return the architecture of the node's system, which may be another than its kernel's."""
    code, output, error = run(["dpkg", "--print-architecture"])
    if code != 0:
        raise ContainerImagesError(f"dpkg --print-architecture failed: {error.strip()}")
    return architecture(dpkg=output.strip())


@contextlib.contextmanager
def part_of(path: str) -> Iterator[str]:
    """Have a file written beside its place, and put there when it is whole."""
    part = f"{path}.part"
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
