# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the control planes and of the versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._containers import docker, sources
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import (
    extra_args,
    failure_detection,
    os_support,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    CompatibilityError,
    Version,
    kubeadm_api_version,
    kubernetes_runtime,
    parse_version,
    removed_flag,
    skew_problem,
    version_warning,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import parse_address
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.cluster import api_endpoint
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import (
    ALL,
    Finding,
    Rack,
    is_template,
)

#: What decides on a node's containerd.
_OF_RUNTIME = ("docker_packages", "docker_kubernetes_runtime", "docker_containerd_source")
#: The upstream repository begins with this minor.
UPSTREAM = "pkgs.k8s.io"
UPSTREAM_OLDEST = (1, 24)


def check_control_planes(rack: Rack) -> Iterator[Finding]:
    """Check what several control planes need."""
    count = len(rack.control_plane)
    told = ("control_plane_endpoint", "control_plane_vip")
    endpoint, vip = map(rack.cluster_value, told)
    unknown = any(rack.is_unknown(host, name) for host in rack.control_plane for name in told)
    if count > 1 and not api_endpoint(endpoint=endpoint, vip=vip) and not unknown:
        yield Finding(
            f"there are {count} control planes and no control_plane_endpoint: set control_plane_vip {ALL} to "
            "a free address of the nodes' network, which they hold together, or control_plane_endpoint to a "
            "name or address that reaches all of them, such as 'k8s.lan:6443'; it cannot be added later"
        )
    if count > 1 and count % 2 == 0:
        yield Finding(
            f"there are {count} control planes, an even number, which tolerates no more failures than "
            f"{count - 1}",
            warning=True,
        )
    for host in rack.control_plane:
        advertised = rack.value(host, "control_plane_advertise_address")
        if advertised:
            try:
                parse_address(advertised)
            except ValueError as error:
                yield Finding(f"control_plane_advertise_address is {advertised!r}, which {error}", host)


def check_zones(rack: Rack) -> Iterator[Finding]:
    """Warn of workers without a zone where others have one: the scheduler passes them over."""
    workers = [host for host in rack.workers if not rack.is_unknown(host, "workers_zone")]
    without = [host for host in workers if not rack.value(host, "workers_zone")]
    if without and len(without) < len(workers):
        yield Finding(
            f"workers_zone is empty for {', '.join(without)}, and others have one; expected one for each"
            " worker or for none, as Kubernetes spreads pods over the zones that it knows, and so puts almost"
            " all onto the others: set workers_zone for these as well",
            warning=True,
        )


def check_versions(rack: Rack) -> Iterator[Finding]:
    """Check that the versions are versions and go together."""
    for host in rack.nodes:
        text = rack.value(host, "kube_packages_version")
        if text is None:
            continue
        try:
            version = parse_version(text)
        except CompatibilityError as error:
            yield Finding(f"kube_packages_version: {error}; set it {ALL}", host)
            continue
        warning = version_warning(version)
        if warning:
            yield Finding(f"kube_packages_version: {warning}", host, warning=True)
        runtime = rack.value(host, "docker_kubernetes_runtime")
        if runtime:
            try:
                kubernetes_runtime(version=version, runtime=runtime)
            except CompatibilityError as error:
                yield Finding(
                    f"docker_kubernetes_runtime: {error}; set it {ALL}, or another kube_packages_version",
                    host,
                )
        repository = rack.value(host, "kube_packages_repository")
        if version.short < UPSTREAM_OLDEST and UPSTREAM in (repository or ""):
            yield Finding(
                f"kube_packages_version is '{version}', and {UPSTREAM} has none before "
                f"{UPSTREAM_OLDEST[0]}.{UPSTREAM_OLDEST[1]}: set a newer one {ALL}, or a repository that has "
                "it in kube_packages_repository",
                host,
            )
    yield from _check_skew(rack)


def check_docker(rack: Rack) -> Iterator[Finding]:
    """Check that dockerd starts with its settings."""
    for host in rack.nodes:
        settings = rack.value(host, "docker_daemon_json") or {}
        known = {key: value for key, value in settings.items() if not is_template(value)}
        for problem in docker.daemon_json_problems(known):
            yield Finding(f"{problem}: set docker_daemon_json {ALL}", host)


def check_systems(rack: Rack) -> Iterator[Finding]:
    """Check that the operating systems of new nodes can be used, as far as the names of images tell."""
    for host in dict.fromkeys([*rack.nodes, *rack.heads, *rack.servers]):
        image = rack.value(host, "flash_image")
        found = os_support.os_of_image(image) if isinstance(image, str) else None
        if found is None:
            continue
        old = os_support.too_old(os_id=found[0], os_version=found[1])
        if old:
            yield Finding(f"flash_image is {image!r}, and {old}: set it {ALL}", host)
            continue
        version = None if any(rack.is_unknown(host, name) for name in _OF_RUNTIME) else rack.version(host)
        if host not in rack.nodes or version is None:
            continue
        packages = rack.value(host, "docker_packages")
        node = os_support.Node(
            *found,
            packages=packages if isinstance(packages, list) else (),
            source=str(rack.value(host, "docker_containerd_source") or sources.OS),
            url=str(rack.value(host, "docker_containerd_url") or ""),
        )
        runtime = str(rack.value(host, "docker_kubernetes_runtime") or "auto")
        problem = os_support.runtime_problem(node=node, version=version, runtime=runtime)
        if problem:
            yield Finding(f"flash_image is {image!r}, and {problem}", host)
        warning = os_support.runtime_warning(node=node, version=version, runtime=runtime)
        if warning:
            yield Finding(f"flash_image is {image!r}, and {warning}", host, warning=True)


def check_containerd_source(rack: Rack) -> Iterator[Finding]:
    """Check that kubelet can use the containerd that the inventory asks for, on whatever system."""
    for host in rack.nodes:
        version, source = rack.version(host), rack.value(host, "docker_containerd_source")
        asked = rack.value(host, "docker_kubernetes_runtime")
        if version is None or source not in sources.SOURCES or asked is None:
            continue
        try:
            runtime = kubernetes_runtime(version=version, runtime=asked)
        except CompatibilityError:
            # check_versions tells of it.
            continue
        problem = sources.source_problem(source=source, runtime=runtime)
        warning = sources.source_warning(source=source, runtime=runtime)
        if warning:
            yield Finding(warning, host, warning=True)
        if problem:
            yield Finding(problem, host)
        elif source != sources.OS and not isinstance(rack.value(host, "flash_image"), str):
            told = os_support.runtime_problem(
                node=os_support.Node(
                    "", "", source=source, url=str(rack.value(host, "docker_containerd_url") or "")
                ),
                version=version,
                runtime=runtime,
            )
            if told:
                yield Finding(told, host)


def _check_skew(rack: Rack) -> Iterator[Finding]:
    versions = {host: version for host in rack.nodes if (version := rack.version(host))}
    control_planes = [version for host, version in versions.items() if host in rack.control_plane]
    for host, version in versions.items():
        problem = skew_problem(version=version, control_planes=control_planes, worker=host in rack.workers)
        if problem:
            yield Finding(f"kube_packages_version: {problem}; set it once, {ALL}", host)


def check_failure_detection(rack: Rack) -> Iterator[Finding]:
    """Check that nodes which are only busy do not count as lost."""
    try:
        failure_detection.parse(rack.cluster_value("control_plane_failure_detection"))
    except failure_detection.FailureDetectionError as error:
        yield Finding(f"{error}; set it in group_vars/control_plane.yml")


#: Where flags are told: variable, the way to them in it, and whose they are.
_FLAGS = (
    ("control_plane_cluster_configuration", ("apiServer", "extraArgs"), "kube-apiserver"),
    ("control_plane_cluster_configuration", ("controllerManager", "extraArgs"), "kube-controller-manager"),
    ("control_plane_cluster_configuration", ("scheduler", "extraArgs"), "kube-scheduler"),
    ("control_plane_cluster_configuration", ("etcd", "local", "extraArgs"), "etcd"),
    ("control_plane_init_configuration", ("nodeRegistration", "kubeletExtraArgs"), "kubelet"),
)


def check_flags(rack: Rack) -> Iterator[Finding]:
    """Check that the control plane's programs start with the flags that they get."""
    for host in rack.control_plane:
        version = rack.version(host)
        for variable, way, program in _FLAGS if version else ():
            found = rack.value(host, variable)
            for key in way:
                found = found.get(key) if isinstance(found, Mapping) else None
            if version and not is_template(found):
                for problem in _flag_problems(found, way=".".join(way), program=program, version=version):
                    yield Finding(f"{variable}: {problem}", host)


def _flag_problems(found: Any, *, way: str, program: str, version: Version) -> Iterator[str]:
    try:
        arguments = extra_args.read(found, where=way)
        extra_args.written(arguments, version=kubeadm_api_version(version), where=way)
    except extra_args.ExtraArgsError as error:
        yield str(error)
        return
    for name, _value in arguments:
        problem = removed_flag(program=program, flag=name, version=version)
        if problem:
            yield f"{way} has {name}: {problem}"
