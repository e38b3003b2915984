# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters about Kubernetes: what goes with a version, what kubeadm remembers, and manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES, runtime_at
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import compatibility, pod_routes
from ansible_collections.bramble.pi.plugins.plugin_utils._common.filters import filter_errors
from ansible_collections.bramble.pi.plugins.plugin_utils._kubernetes import config_maps as kubeadm_config_maps
from ansible_collections.bramble.pi.plugins.plugin_utils._kubernetes import encryption_steps, manifests


@filter_errors()
def cri_socket(version: object, runtime: str = "auto") -> str:
    """Find the socket."""
    parsed = compatibility.parse_version(version)
    return RUNTIMES[compatibility.kubernetes_runtime(version=parsed, runtime=runtime)].socket


def encryption_step(results: Sequence[Mapping[str, Any]], encrypt: bool, rotate: bool) -> dict[str, Any]:
    """Say what is next."""
    return encryption_steps.step(results, encrypt=encrypt, rotate=rotate)


@filter_errors()
def encryption_maps(config_maps: list[dict[str, Any]], encrypted: bool) -> list[dict[str, Any]]:
    """Return what has to be changed in kubeadm's ConfigMaps."""
    return kubeadm_config_maps.with_encryption(config_maps, encrypted=encrypted)


@filter_errors()
def failure_detection_maps(config_maps: list[dict[str, Any]], detection: Any) -> list[dict[str, Any]]:
    """Return what has to be changed in kubeadm's ConfigMaps."""
    return kubeadm_config_maps.with_failure_detection(config_maps, detection)


@filter_errors()
def flannel_manifest(manifest: str, cidr: str, sha256: str) -> str:
    """Put the CIDR in."""
    return manifests.flannel_manifest(manifest, cidr, sha256)


@filter_errors()
def kubernetes_runtime(version: object, runtime: str = "auto", socket: str = "") -> str:
    """Choose or check the runtime."""
    if socket:
        found = runtime_at(socket)
        if found is None:
            raise compatibility.CompatibilityError(
                f"the socket of the container runtime is {socket!r}; expected that of one of "
                f"{', '.join(RUNTIMES)}: set control_plane_cri_socket or workers_cri_socket, or leave it out"
            )
        return found.name
    return compatibility.kubernetes_runtime(version=compatibility.parse_version(version), runtime=runtime)


@filter_errors()
def manifest_images(manifest: str) -> list[str]:
    """List the images."""
    return manifests.manifest_images(manifest)


@filter_errors()
def pod_networks(table: str) -> list[dict[str, str]]:
    """Read the table."""
    return pod_routes.parse_table(str(table))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters; each is documented in a file of its name."""
        return {
            "cri_socket": cri_socket,
            "encryption_maps": encryption_maps,
            "encryption_step": encryption_step,
            "failure_detection_maps": failure_detection_maps,
            "flannel_manifest": flannel_manifest,
            "kubernetes_runtime": kubernetes_runtime,
            "manifest_images": manifest_images,
            "pod_networks": pod_networks,
        }
