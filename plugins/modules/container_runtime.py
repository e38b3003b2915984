#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.container_runtime``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_runtime
short_description: Have Docker and containerd serve Kubernetes
version_added: '0.1.0'
description:
  - Installs Docker if there is none, from the distribution; one that is installed, from any source, is kept.
  - Merges settings into C(/etc/docker/daemon.json). Keys that are there and not named stay as they are.
    In C(exec-opts) and C(storage-opts) an entry takes the place of the one with the same key; others stay.
  - For O(runtime=containerd) edits C(/etc/containerd/config.toml), in the config version that the file has,
    so that the CRI plugin is enabled and uses the systemd cgroup driver. The installed containerd is asked
    what it makes of the new text before the file is replaced.
  - Enables and starts the services, and restarts only those whose configuration is newer than they are.
  - Checks with C(docker info) that the settings took effect and that Docker can set limits, and for
    O(runtime=containerd) that containerd serves CRI.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: partial
    details:
      - Where Docker is not installed yet, containerd's new configuration is announced and not shown.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  runtime:
    description: What kubelet will talk to.
    type: str
    choices: [containerd, cri_dockerd, dockershim]
    required: true
  packages:
    description:
      - Packages to install if there is no Docker.
      - The package C(docker-cli) is added where C(docker.io) comes without the command.
    type: list
    elements: str
    default: [docker.io]
  daemon_json:
    description: Settings for C(/etc/docker/daemon.json).
    type: dict
    default: {}
  cni_bin_dir:
    description: Where containerd has to look for CNI plugins, among other places or alone.
    type: path
    default: /opt/cni/bin
  sandbox_image:
    description:
      - The image of the container that holds a pod's namespaces, for containerd.
      - Without it, containerd's own choice stays.
    type: str
  accepted_warnings:
    description: Parts of warnings about limits in C(docker info) that are not to fail.
    type: list
    elements: str
    default: []
  cri_dockerd:
    description: The package of cri-dockerd, which no distribution has. Required for O(runtime=cri_dockerd).
    type: dict
    suboptions:
      url:
        description: Where to download the package.
        type: str
        required: true
      sha256:
        description: Its checksum.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Run containers by containerd, with Docker beside it
  bramble.pi.container_runtime:
    runtime: containerd
    daemon_json:
      exec-opts: [native.cgroupdriver=systemd]

- name: Let kubelet 1.20 use Docker, on a kernel that cannot limit swap
  bramble.pi.container_runtime:
    runtime: dockershim
    daemon_json:
      exec-opts: [native.cgroupdriver=systemd]
    accepted_warnings: [No swap limit support]
"""

RETURN = r"""
changes:
  description: What was changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [Install docker.io, Restart containerd.service]
cri_socket:
  description: Where kubelet and kubeadm reach the runtime.
  returned: success
  type: str
  sample: unix:///run/containerd/containerd.sock
docker_info:
  description: What Docker says of itself. Left out in check mode while there are changes to be made.
  returned: when Docker was asked
  type: dict
  contains:
    server_version:
      description: Docker's version.
      returned: success
      type: str
      sample: 20.10.24+dfsg1
    cgroup_driver:
      description: V(systemd) or V(cgroupfs).
      returned: success
      type: str
      sample: systemd
    cgroup_version:
      description: V(1) or V(2).
      returned: success
      type: str
      sample: '2'
    storage_driver:
      description: The storage driver.
      returned: success
      type: str
      sample: overlay2
    logging_driver:
      description: The logging driver.
      returned: success
      type: str
      sample: json-file
    warnings:
      description: All warnings, also those that were accepted.
      returned: success
      type: list
      elements: str
      sample: ['WARNING: No swap limit support']
"""

import os
import tempfile
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.download import DownloadError, download
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._containers import runtime
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import CRI_SOCKETS

_DAEMON_JSON = "/etc/docker/daemon.json"
_CONTAINERD_CONFIG = "/etc/containerd/config.toml"
#: Any of these is Docker.
_DOCKER_PACKAGES = ["docker.io", "docker-ce"]
#: Debian 13 took the command out of docker.io, which only recommends its package.
_DOCKER_CLI = "docker-cli"
_CONTAINERD_UNIT = "containerd.service"
_DOCKER_UNIT = "docker.service"
#: In the order in which they depend on each other.
_UNITS = {
    "containerd": [_CONTAINERD_UNIT, _DOCKER_UNIT],
    "cri_dockerd": [_CONTAINERD_UNIT, _DOCKER_UNIT, "cri-docker.socket", "cri-docker.service"],
    "dockershim": [_CONTAINERD_UNIT, _DOCKER_UNIT],
}


class RuntimeStateError(BrambleError):
    """A runtime that is not as wanted, and cannot be made so here."""


class ContainerRuntime:
    """The runtimes of this node."""

    def __init__(self, module: AnsibleModule, run: apt.Runner) -> None:
        self.module = module
        self.run = run
        self.changes: list[str] = []
        self.diffs: list[dict[str, str]] = []

    def ensure(self) -> dict[str, Any]:
        """Bring everything into the wanted state."""
        # Written first, the settings hold from Docker's first start on.
        self.edit_daemon_json()
        self.install()
        if self.module.params["runtime"] == "containerd":
            self.edit_containerd_config()
        self.ensure_services()
        result = {
            "changed": bool(self.changes),
            "changes": self.changes,
            "cri_socket": CRI_SOCKETS[self.module.params["runtime"]],
            "diff": self.diffs,
        }
        if not (self.module.check_mode and self.changes):
            self.check_cri()
            result["docker_info"] = self.check_docker_info()._asdict()
        return result

    def output_of(self, command: list[str]) -> str:
        """Run a command that has to succeed."""
        code, output, error = self.run(command)
        if code != 0:
            raise RuntimeStateError(f"{' '.join(command)} failed: {(error or output).strip()}")
        return output

    def write(self, path: str, before: str | None, after: str) -> None:
        """Replace a file, unless it has this content."""
        if after == before:
            return
        self.changes.append(f"Write {path}")
        self.diffs.append(
            {"before_header": path, "before": before or "", "after_header": path, "after": after}
        )
        if not self.module.check_mode:
            write_text(path, after)

    def edit_daemon_json(self) -> None:
        """Merge the settings."""
        text = read_text(_DAEMON_JSON)
        try:
            merged = runtime.merge_daemon_json(text=text, wanted=self.module.params["daemon_json"])
        except runtime.RuntimeConfigError as error:
            raise RuntimeStateError(
                f"{_DAEMON_JSON} {error}. It was left as it is: mend it, or remove it"
            ) from error
        self.write(_DAEMON_JSON, text, merged)

    def install(self) -> None:
        """Install what is missing."""
        # dpkg-query exits with 1 if it does not know one of the packages, and still lists the others.
        installed = apt.read_packages(text=self.run([*apt.DPKG_QUERY, *_DOCKER_PACKAGES, "cri-dockerd"])[1])
        broken = any(package.broken for package in installed.values())
        if broken or not any(name in installed for name in _DOCKER_PACKAGES):
            self.install_packages(self.module.params["packages"])
        if not self.module.check_mode and self.module.get_bin_path("docker") is None:
            self.install_packages([_DOCKER_CLI])
        if self.module.params["runtime"] == "cri_dockerd" and "cri-dockerd" not in installed:
            self.install_cri_dockerd()

    def install_packages(self, packages: list[str]) -> None:
        """Install packages of the distribution."""
        self.changes.append(f"Install {' '.join(packages)}")
        if not self.module.check_mode:
            apt.install(run=self.run, arguments=packages)

    def install_cri_dockerd(self) -> None:
        """Install the package that the user named."""
        source = self.module.params["cri_dockerd"]
        self.changes.append(f"Install {source['url']}")
        if self.module.check_mode:
            return
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "cri-dockerd.deb")
            download(url=source["url"], path=path, sha256=source["sha256"])
            apt.install(run=self.run, arguments=[path])

    def edit_containerd_config(self) -> None:
        """Edit config.toml, if containerd does not do as wanted."""
        if self.module.check_mode and self.module.get_bin_path("containerd") is None:
            self.changes.append(f"Write {_CONTAINERD_CONFIG}")
            return
        wishes = runtime.ContainerdWishes(
            cni_bin_dir=self.module.params["cni_bin_dir"], sandbox_image=self.module.params["sandbox_image"]
        )
        text = read_text(_CONTAINERD_CONFIG)
        dump = self.dump_containerd_config(None if text is None else _CONTAINERD_CONFIG)
        if not runtime.containerd_shortcomings(dump=dump, wishes=wishes):
            return
        try:
            edited = runtime.edit_containerd_config(text=text, dump=dump, wishes=wishes)
        except runtime.RuntimeConfigError as error:
            raise RuntimeStateError(f"{_CONTAINERD_CONFIG} {error}. It was left as it is") from error
        self.prove_containerd_config(edited, wishes)
        self.write(_CONTAINERD_CONFIG, text, edited)

    def dump_containerd_config(self, path: str | None) -> str:
        """Ask containerd what a configuration comes to, with its defaults and imports."""
        if path is None:
            return self.output_of(["containerd", "config", "default"])
        return self.output_of(["containerd", "--config", path, "config", "dump"])

    def prove_containerd_config(self, text: str, wishes: runtime.ContainerdWishes) -> None:
        """Have containerd read the new text before it gets the file."""
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            shortcomings = runtime.containerd_shortcomings(
                dump=self.dump_containerd_config(file.name), wishes=wishes
            )
        if shortcomings:
            raise RuntimeStateError(
                f"Edited as wanted, {_CONTAINERD_CONFIG} would not have effect: {'; '.join(shortcomings)}. "
                "It was left as it is: look into the files that it imports, which override it"
            )

    def units(self) -> dict[str, runtime.Unit]:
        """Ask systemd for the services."""
        names = _UNITS[self.module.params["runtime"]]
        return runtime.read_units(
            text=self.output_of(["systemctl", "show", "-p", runtime.UNIT_PROPERTIES, *names])
        )

    def ensure_services(self) -> None:
        """Enable and start the services, and restart those whose configuration is newer than they are."""
        configurations = {_DOCKER_UNIT: _DAEMON_JSON, _CONTAINERD_UNIT: _CONTAINERD_CONFIG}
        written = {change.partition(" ")[2] for change in self.changes}
        for name, unit in self.units().items():
            if self.module.check_mode and not unit.loaded:
                self.changes.append(f"Enable and start {name}")
                continue
            if not unit.enabled:
                self.systemctl("enable", name)
            configuration = configurations.get(name)
            if not unit.active:
                self.systemctl("start", name)
            elif configuration is not None and (
                _is_newer(configuration, unit) or (self.module.check_mode and configuration in written)
            ):
                self.systemctl("restart", name)
            elif name == _CONTAINERD_UNIT and not self.serves_cri():
                # What kept the plugin from loading may be gone by now.
                self.systemctl("restart", name)

    def systemctl(self, verb: str, unit: str) -> None:
        """Change the state of a service."""
        self.changes.append(f"{verb.capitalize()} {unit}")
        if self.module.check_mode:
            return
        code, _output, error = self.run(["systemctl", verb, unit])
        if code != 0:
            log = self.run(["journalctl", "--unit", unit, "--lines", "15", "--no-pager", "--output", "cat"])[
                1
            ]
            raise RuntimeStateError(
                f"systemctl {verb} {unit} failed: {error.strip()}\nIts log ends with:\n{log}"
            )

    def serves_cri(self) -> bool:
        """Ask containerd whether kubelet can use it, where it is to."""
        if self.module.params["runtime"] != "containerd":
            return True
        return runtime.serves_cri(plugins=self.output_of(["ctr", "plugins", "list"]))

    def check_cri(self) -> None:
        """Fail if containerd runs, but without its CRI plugin."""
        if not self.serves_cri():
            log = self.output_of(
                ["journalctl", "--unit", _CONTAINERD_UNIT, "--lines", "200", "--no-pager", "--output", "cat"]
            )
            raise RuntimeStateError(
                f"containerd runs, but its CRI plugin did not load: {runtime.cri_failure(log=log)}. "
                "Wanted is status ok in ctr plugins list; mend the cause and run this again"
            )

    def check_docker_info(self) -> runtime.DockerInfo:
        """Fail if Docker is not as wanted."""
        info = runtime.read_docker_info(text=self.output_of(["docker", "info", "--format", "{{json .}}"]))
        shortcomings = runtime.docker_shortcomings(
            info=info,
            wanted=self.module.params["daemon_json"],
            accepted=self.module.params["accepted_warnings"],
        )
        if shortcomings:
            raise RuntimeStateError(
                f"docker info is not as wanted: {'; '.join(shortcomings)}. For drivers look at "
                f"{_DAEMON_JSON} and at options of dockerd in docker.service; for limits at the kernel "
                "command line (os_prep_kernel_cmdline), or accept the warning in docker_accepted_warnings"
            )
        return info


def _is_newer(path: str, unit: runtime.Unit) -> bool:
    # Both by today's clock: a Pi's may have been wrong when the service was started.
    started = time.time() - (time.monotonic() - unit.active_since)
    try:
        return os.stat(path).st_mtime > started
    except FileNotFoundError:
        return False


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "runtime": {
                "type": "str",
                "choices": ["containerd", "cri_dockerd", "dockershim"],
                "required": True,
            },
            "packages": {"type": "list", "elements": "str", "default": ["docker.io"]},
            "daemon_json": {"type": "dict", "default": {}},
            "cni_bin_dir": {"type": "path", "default": "/opt/cni/bin"},
            "sandbox_image": {"type": "str"},
            "accepted_warnings": {"type": "list", "elements": "str", "default": []},
            "cri_dockerd": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True},
                    "sha256": {"type": "str", "required": True},
                },
            },
        },
        required_if=[("runtime", "cri_dockerd", ["cri_dockerd"])],
        supports_check_mode=True,
    )

    def run(command: list[str]) -> tuple[int, str, str]:
        code, output, error = module.run_command(command, environ_update=apt.ENVIRONMENT)
        return code, output, error

    try:
        result = ContainerRuntime(module, run).ensure()
    except (RuntimeStateError, runtime.RuntimeConfigError, apt.AptError, DownloadError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
