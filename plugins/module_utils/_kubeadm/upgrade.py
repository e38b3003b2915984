# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has kubeadm bring a node to another version; ``upgrade_state`` decides whether and by which command."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import (
    components,
    diagnosis,
    state,
    upgrade_state,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import KubeadmError, Node
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import (
    Version,
    parse_version,
)

_POLL = 2
_ASK = "--request-timeout=10s"
_CONFIG_MAP = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"


def check_version(value: object) -> Version:
    """Read the version to come to, which has to have a patch."""
    version = parse_version(value)
    if version.patch is None:
        raise KubeadmError(f"version is {value}; expected one with its patch, such as {value}.1")
    return version


class Upgrade:
    """A node of a cluster on its way to another version."""

    def __init__(self, *, node: Node, name: str, control_plane: bool) -> None:
        self.node = node
        self.name = name
        self.control_plane = control_plane

    def found(self) -> upgrade_state.Found:
        """Read what the node runs."""
        manifests = {
            program: read_text(f"{state.MANIFESTS}/{program}.yaml") or ""
            for program in upgrade_state.COMPONENTS
        }
        pods = {
            program: upgrade_state.image_version(manifest=text, program=program)
            for program, text in manifests.items()
        }
        cluster = None
        if self.control_plane:
            cluster = upgrade_state.cluster_version(config_map=self._ask(state.ADMIN_KUBECONFIG, _CONFIG_MAP))
        node = self._ask(state.KUBELET_KUBECONFIG, f"/api/v1/nodes/{self.name}")
        return upgrade_state.Found(
            cluster=cluster,
            static_pods={program: version for program, version in pods.items() if version is not None},
            kubelet_package=self._version_of("kubelet", "--version"),
            kubelet=upgrade_state.kubelet_version(node=node),
            kubeadm=self._version_of("kubeadm", "version", "-o", "short"),
        )

    def _ask(self, kubeconfig: str, path: str) -> str:
        command = ["kubectl", f"--kubeconfig={kubeconfig}", _ASK, "get", f"--raw={path}"]
        code, output, _errors = self.node.run(command)
        return output if code == 0 else ""

    def _version_of(self, program: str, *arguments: str) -> Version | None:
        if not self.node.has(program):
            return None
        code, output, _errors = self.node.run([program, *arguments])
        return upgrade_state.version_in(output) if code == 0 else None

    def due(self, target: Version) -> tuple[upgrade_state.Due, upgrade_state.Found]:
        """Return what is left to do on the node, and what it runs."""
        found = self.found()
        interrupted = upgrade_state.parse_interrupted(text=read_text(state.UPGRADE))
        due = upgrade_state.decide(
            target=target, control_plane=self.control_plane, found=found, interrupted=interrupted
        )
        return due, found

    def wait_for_cluster(self, *, timeout: int) -> None:
        """Wait until the API server answers by which the node is seen."""
        if not self.control_plane:
            return
        answers, uploaded = self.node.wait_for_api(timeout=timeout)
        if answers and uploaded:
            return
        begun = time.time() - timeout
        if answers:
            raise KubeadmError(
                "the cluster has no ConfigMap kubeadm-config, so that kubeadm cannot upgrade it: expected one"
                " that kubeadm init has made"
            )
        raise KubeadmError(
            self.node.explanation(
                command="The check of the API server",
                output=f"the API server of this node did not answer within {timeout} s",
                begun=begun,
            )
        )

    def run(self, due: upgrade_state.Due, target: Version, *, ignored: Sequence[str], timeout: int) -> None:
        """Run kubeadm, and wait until what it has started answers."""
        installed = self._version_of("kubeadm", "version", "-o", "short")
        if installed != target:
            raise KubeadmError(
                f"kubeadm is {installed or 'not installed'} on this node; expected {target}: install it with"
                " bramble.pi.kube_packages (packages: [kubeadm], upgrade: true)"
            )
        command = ["upgrade", due.kubeadm]
        if due.kubeadm == upgrade_state.APPLY:
            command += [f"v{target}", "--yes"]
        if ignored:
            command.append(f"--ignore-preflight-errors={','.join(ignored)}")
        write_text(state.UPGRADE, upgrade_state.Interrupted(due.kubeadm, str(target)).dumped(), mode=0o600)
        self.node.kubeadm(command)
        self._wait_for_components(timeout=timeout)
        left = upgrade_state.shortcomings(target=target, control_plane=self.control_plane, found=self.found())
        if left:
            raise KubeadmError(
                f"kubeadm upgrade {due.kubeadm} came to its end, but {'; '.join(left)}; expected {target}."
                " Run this again"
            )
        with contextlib.suppress(FileNotFoundError):
            os.unlink(state.UPGRADE)

    def _wait_for_components(self, *, timeout: int) -> None:
        """Wait until all programs of the control plane answer; kubeadm itself waits for their pods alone."""
        deadline = time.monotonic() + timeout
        while self.control_plane and (silent := components.silent()):
            if time.monotonic() > deadline:
                logs = components.last_words(programs=silent)
                raise KubeadmError(
                    "kubeadm upgrade came to its end, but the control plane of this node does not run:\n"
                    f"{diagnosis.crashed(silent=silent, logs=logs)}\n"
                    "Correct what it is told (extraArgs in control_plane_cluster_configuration say it for new"
                    " clusters, the ConfigMap kubeadm-config for this one), and run this again"
                )
            time.sleep(_POLL)


def bring_to(*, node: Node, parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring the node to the version as far as that is kubeadm's, and return the module's result."""
    node.need("kubeadm", "kubectl", "kubelet")
    target = check_version(parameters["version"] or node.release().lstrip("v"))
    upgrade = Upgrade(node=node, name=parameters["node_name"], control_plane=parameters["control_plane"])
    upgrade.wait_for_cluster(timeout=parameters["timeout"])
    due, found = upgrade.due(target)
    changed = bool(due.kubeadm)
    if changed and not check_mode:
        upgrade.run(due, target, ignored=parameters["ignore_preflight_errors"], timeout=parameters["timeout"])
        found = upgrade.found()
    return {
        "changed": changed,
        "version": str(target),
        "action": due.kubeadm,
        "kubelet_due": due.kubelet,
        "due": due.anything,
        "reason": due.reason,
        "running": {
            "cluster": _text(found.cluster),
            "static_pods": {name: _text(version) for name, version in found.static_pods.items()},
            "kubelet": _text(found.kubelet),
            "kubelet_package": _text(found.kubelet_package),
            "kubeadm": _text(found.kubeadm),
        },
    }


def _text(version: Version | None) -> str | None:
    return None if version is None else str(version)
