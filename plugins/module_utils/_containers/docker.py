# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker: its settings, what it says of itself, its images, and the two ways in which kubelet uses it."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.values import (
    mapping_problem,
    text_problem,
    texts_problems,
)
from ansible_collections.bramble.pi.plugins.module_utils._containers import base, containerd, images, mirrors

DAEMON = base.Daemon(
    packages=("docker.io", "docker-ce"),
    units=("docker.service",),
    configuration="/etc/docker/daemon.json",
    data="/var/lib/docker",
)
CRI_DOCKERD = base.Daemon(packages=("cri-dockerd",), units=("cri-docker.socket", "cri-docker.service"))

#: Debian 13 took the command out of docker.io, which only recommends its package.
_CLI = "docker-cli"
#: Lists of ``key=value`` in daemon.json, in which an entry replaces the one with its key.
_OPTION_LISTS = ("exec-opts", "storage-opts")
#: Their URLs can have a password in them.
_MIRRORS = mirrors.DOCKER_KEY
#: All settings that dockerd takes as lists of texts, and as one text: of another type it does not start.
#: https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file
_LISTS = (
    *_OPTION_LISTS,
    "authorization-plugins",
    "cdi-spec-dirs",
    "dns",
    "dns-opts",
    "dns-search",
    "hosts",
    "insecure-registries",
    "labels",
    "node-generic-resources",
    _MIRRORS,
)
_TEXTS = (
    "cgroup-parent",
    "data-root",
    "default-runtime",
    "exec-root",
    "log-driver",
    "log-level",
    "storage-driver",
)
_LOG_OPTIONS = "log-opts"
_CGROUP_DRIVER = "native.cgroupdriver"
#: A driver in daemon.json: the options that are its own, and the driver without the key (None: any).
#: dockerd refuses to start with the options of another driver.
_DRIVERS = {"log-driver": (_LOG_OPTIONS, "json-file"), "storage-driver": ("storage-opts", None)}
#: "WARNING: No memory limit support"; the others (bridge-nf-call-iptables, blkio) limit nothing.
_LIMIT_WARNING = re.compile(r"\blimit\b", re.IGNORECASE)


def daemon_json_problems(settings: Mapping[str, Any]) -> Iterator[str]:
    """Name the settings with another type than dockerd takes, which a text in place of a list is, too."""
    for key, value in settings.items():
        if key in _LISTS:
            problems = list(texts_problems(value, secret=key == _MIRRORS))
        elif key in _TEXTS:
            problems = [problem for problem in (text_problem(value),) if problem]
        elif key == _LOG_OPTIONS:
            problems = [problem for problem in (mapping_problem(value),) if problem]
            for name, option in value.items() if not problems else ():
                problem = text_problem(option, secret=True)
                if problem:
                    yield f"{name} in {key} of docker_daemon_json {problem}"
        else:
            continue
        for problem in problems:
            yield f"{key} of docker_daemon_json {problem}"


def _merge_options(*, present: list[Any], desired: list[Any]) -> list[Any]:
    merged = list(present)
    for option in desired:
        key = str(option).partition("=")[0]
        places = [at for at, other in enumerate(merged) if str(other).partition("=")[0] == key]
        if places:
            merged[places[0]] = option
            for at in reversed(places[1:]):
                del merged[at]
        else:
            merged.append(option)
    return merged


def _merge(*, present: dict[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(present)
    for key, value in desired.items():
        there = merged.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            merged[key] = _merge(present=there, desired=value)
        elif key in _OPTION_LISTS and isinstance(value, list):
            merged[key] = _merge_options(present=there if isinstance(there, list) else [], desired=value)
        else:
            merged[key] = value
    return merged


def _without_options_of_other_drivers(
    *, present: dict[str, Any], desired: Mapping[str, Any]
) -> dict[str, Any]:
    """Leave out what belongs to a driver that another one takes the place of."""
    kept = dict(present)
    for key, (options, default) in _DRIVERS.items():
        driver = desired.get(key)
        former = present.get(key, default)
        if driver is not None and driver != former and options in kept:
            # The driver of Docker's own choice may be the one that is asked for.
            theirs = kept.pop(options)
            if former is None and isinstance(theirs, list):
                kept[options] = [each for each in theirs if str(each).startswith(f"{driver}.")]
                if not kept[options]:
                    del kept[options]
    return kept


def merge_daemon_json(*, text: str | None, desired: Mapping[str, Any]) -> str:
    """Merge settings into daemon.json; text that has them already is returned as it is."""
    present: Any = {}
    if text is not None and text.strip():
        try:
            present = json.loads(text)
        except ValueError as error:
            raise base.RuntimeConfigError(f"is not valid JSON: {error}") from error
        if not isinstance(present, dict):
            raise base.RuntimeConfigError(f"holds {json.dumps(present)[:60]}; expected a JSON object")
    fitting = _without_options_of_other_drivers(present=present, desired=desired)
    merged = _merge(present=fitting, desired=desired)
    if text is not None and merged == present:
        return text
    return json.dumps(merged, indent=4, ensure_ascii=False) + "\n"


class DockerInfo(NamedTuple):
    """What docker says of itself."""

    server_version: str
    cgroup_driver: str
    cgroup_version: str
    storage_driver: str
    logging_driver: str
    warnings: list[str]


def read_docker_info(*, text: str) -> DockerInfo:
    """Read docker info's JSON."""
    try:
        info = json.loads(text)
    except ValueError as error:
        raise base.RuntimeConfigError(f"docker info is not JSON: {text[:200]}") from error
    if info.get("ServerErrors"):
        raise base.RuntimeConfigError("docker info: " + "; ".join(info["ServerErrors"]))
    return DockerInfo(
        server_version=info.get("ServerVersion", ""),
        cgroup_driver=info.get("CgroupDriver", ""),
        cgroup_version=info.get("CgroupVersion", ""),
        storage_driver=info.get("Driver", ""),
        logging_driver=info.get("LoggingDriver", ""),
        warnings=info.get("Warnings") or [],
    )


def docker_shortcomings(
    *, info: DockerInfo, desired: Mapping[str, Any], accepted: Sequence[str]
) -> list[str]:
    """Compare what docker says of itself to the desired settings, and name limits that it cannot set."""
    options = dict(str(option).partition("=")[::2] for option in desired.get("exec-opts", []))
    compared = [
        ("cgroup driver", info.cgroup_driver, options.get(_CGROUP_DRIVER)),
        ("storage driver", info.storage_driver, desired.get("storage-driver")),
        ("logging driver", info.logging_driver, desired.get("log-driver")),
    ]
    shortcomings = [
        f"{name} is {seen}, expected {value}" for name, seen, value in compared if value not in (None, seen)
    ]
    for warning in info.warnings:
        if _LIMIT_WARNING.search(warning) and not any(known in warning for known in accepted):
            shortcomings.append(f"it warns {warning!r}, expected no warning about limits")
    return shortcomings


class DockerImages(base.ImageClient):
    """Docker's images, of whichever of the two that let kubelet use it."""

    program = "docker"
    remove_command = ("docker", "image", "rm")

    def images(self, *, names: Collection[str]) -> dict[str, images.Image]:
        ids = sorted(set(self.do(["docker", "image", "ls", "--quiet", "--no-trunc"]).split()))
        if not ids:
            return {}
        found = {}
        output = self.do(["docker", "image", "inspect", *ids])
        for entry in images.read_json(output, what="docker image inspect"):
            for tag in entry.get("RepoTags") or ():
                name = images.spell_out(tag)
                if name in names and entry["Architecture"] == self.architecture:
                    found[name] = images.Image(name, entry["Architecture"], entry["Id"])
        return found

    def _id(self, name: str) -> str | None:
        code, output, _error = self._run(["docker", "image", "inspect", "--format", "{{.Id}}", name])
        return output.strip() if code == 0 else None

    def _pull(self, name: str, architecture: str) -> None:
        self.do(["docker", "image", "pull", "--quiet", "--platform", images.platform(architecture), name])

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


def edit_daemon_json(*, host: base.Host, wishes: base.Wishes, former: Collection[str] = ()) -> str | None:
    """Merge settings into daemon.json, and return the file if it was changed.

    ``former`` are mirrors that were ours, and go unless they are asked for.
    """
    problems = list(daemon_json_problems(wishes.daemon_json))
    if problems:
        raise base.RuntimeStateError(f"{'; '.join(problems)}. Nothing was changed")
    path = str(DAEMON.configuration)
    text = read_text(host.root + path)
    try:
        merged = merge_daemon_json(text=text, desired=wishes.daemon_json)
        desired = mirrors.daemon_settings(
            wishes.daemon_json,
            present=json.loads(merged).get(_MIRRORS),
            ours=mirrors.docker_mirrors(wishes.mirrors),
            former=former,
        )
        merged = merge_daemon_json(text=text, desired=desired)
    except base.RuntimeConfigError as error:
        raise base.RuntimeStateError(f"{path} {error}. It was left as it is: fix it, or remove it") from error
    return path if host.changes.write(path, merged, sentence=f"Write {path}") else None


def install(*, host: base.Host, wishes: base.Wishes, installed: Mapping[str, apt.Package]) -> None:
    """Install Docker from the distribution if there is none, or what is there is broken."""
    broken = any(package.broken for package in installed.values())
    there = any(name in installed for name in DAEMON.packages)
    if broken or not there:
        _install(host=host, packages=list(wishes.packages))
    if host.has(DockerImages.program):
        return
    # Announced only, Docker has brought no command yet: what the release is known to have decides.
    if there or not host.changes.check_mode or _comes_without_cli(host=host, wishes=wishes):
        _install(host=host, packages=[_CLI])


def _comes_without_cli(*, host: base.Host, wishes: base.Wishes) -> bool:
    if "docker.io" not in wishes.packages or _CLI in wishes.packages:
        return False
    code, output, _error = host.run(["apt-cache", "show", _CLI])
    return code == 0 and f"Package: {_CLI}" in output


def _install(*, host: base.Host, packages: list[str]) -> None:
    if host.changes.note(f"Install {' '.join(packages)}"):
        apt.install(run=host.run, arguments=packages)


def check(*, run: Runner, wishes: base.Wishes) -> DockerInfo:
    """Return what docker says of itself; fail if that is not as asked."""
    info = read_docker_info(text=output_of(run, ["docker", "info", "--format", "{{json .}}"]))
    shortcomings = docker_shortcomings(
        info=info, desired=wishes.daemon_json, accepted=wishes.accepted_warnings
    )
    if shortcomings:
        raise base.RuntimeStateError(
            f"docker info is not as expected: {'; '.join(shortcomings)}. For drivers look at "
            f"{DAEMON.configuration} and at options of dockerd in docker.service; for limits at the kernel "
            "command line (os_prep_kernel_cmdline), or accept the warning in docker_accepted_warnings"
        )
    return info


class _ByDocker(base.Runtime):
    """Docker as kubelet's runtime."""

    client = DockerImages

    def drift(self, *, run: Runner, wishes: base.Wishes) -> list[str]:
        """Compare the drivers that Docker uses with those asked for, and leave its limits aside."""
        info = read_docker_info(text=output_of(run, ["docker", "info", "--format", "{{json .}}"]))
        return docker_shortcomings(info=info._replace(warnings=[]), desired=wishes.daemon_json, accepted=())


class Dockershim(_ByDocker):
    """Docker by kubelet's own dockershim, which left with Kubernetes 1.24."""

    name = "dockershim"
    # kubeadm compares this one with its default, which has no scheme.
    socket = "/var/run/dockershim.sock"
    daemons = (containerd.DAEMON, DAEMON)


class CriDockerd(_ByDocker):
    """Docker by cri-dockerd, which took dockershim's place."""

    name = "cri_dockerd"
    socket = "unix:///var/run/cri-dockerd.sock"
    daemons = (containerd.DAEMON, DAEMON, CRI_DOCKERD)

    def install(self, *, host: base.Host, wishes: base.Wishes, installed: Mapping[str, apt.Package]) -> None:
        """Install the package that the user named, as no distribution has one."""
        if wishes.cri_dockerd is None or any(name in installed for name in CRI_DOCKERD.packages):
            return
        url = wishes.cri_dockerd["url"]
        if not host.changes.note(f"Install {url}"):
            return
        # Needs Ansible, which who only looks at Docker runs without.
        from ansible_collections.bramble.pi.plugins.module_utils._common.download import (  # noqa: PLC0415
            download,
        )

        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "cri-dockerd.deb")
            download(
                url=url,
                path=path,
                sha256=wishes.cri_dockerd["sha256"],
                variable="docker_cri_dockerd_url",
                checksum_variable="docker_cri_dockerd_sha256",
            )
            apt.install(run=host.run, arguments=[path])
