# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node in a folder, for the modules that run kubeadm."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import node as kubeadm_node
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import state

CA = (Path(__file__).parent / "fixtures" / "ca_cert" / "ecdsa.crt").read_text()
CA_HASH = "sha256:0fffefc56e995a82f8966f6d22d96bbe4ad95e32bfaa7f7a591a1fb935e9a206"
ADMIN_CONF = "clusters:\n- cluster:\n    server: https://192.168.1.10:6443\n"
PATHS = (
    "KUBERNETES",
    "MANIFESTS",
    "PKI",
    "UPGRADES",
    "APISERVER_MANIFEST",
    "CA_CERTIFICATE",
    "ENCRYPTION",
    "ADMIN_KUBECONFIG",
    "KUBELET_KUBECONFIG",
    "BOOTSTRAP_KUBECONFIG",
    "ETCD",
    "ETCD_DATA",
    "ATTEMPT",
    "BACKUP_STATUS",
    "RESTORE_BEGUN",
    "KUBELET",
    "KUBELET_FLAGS",
    "KUBELET_CONFIGURATION",
    "KUBELET_INSTANCE_CONFIGURATION",
    "UPGRADE",
    "POD_LOGS",
    "CONTAINER_LOGS",
)


class FakeNode:
    """A node below a folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.log = root / "commands"
        self.programs = root / "bin"
        self.programs.mkdir()
        (root / "run").mkdir()
        for name in PATHS:
            monkeypatch.setattr(state, name, str(root) + getattr(state, name))
        for name in ("KUBERNETES_FILES", "_CONTROL_PLANE", "DIRECTORIES"):
            monkeypatch.setattr(state, name, frozenset(f"{root}{path}" for path in getattr(state, name)))
        manifests = tuple(f"{root}{path}" for path in state.COMPONENT_MANIFESTS)
        monkeypatch.setattr(state, "COMPONENT_MANIFESTS", manifests)
        monkeypatch.setattr(state, "_ETCD_MANIFEST", manifests[-1])
        monkeypatch.setattr(kubeadm_node, "_RUN", str(root / "run"))
        monkeypatch.setattr(kubeadm_node, "_LOCK", str(root / "run" / "lock"))
        monkeypatch.setenv("PATH", f"{self.programs}:/usr/bin:/bin")

    def program(self, name: str, output: str) -> None:
        path = self.programs / name
        path.write_text(f'#!/bin/sh\necho "$0 $*" >> {self.log}\nprintf %s {shlex.quote(output)}\n')
        path.chmod(0o755)

    def write(self, path: str, text: str) -> None:
        target = Path(str(self.root) + path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def control_plane(self) -> None:
        self.write("/etc/kubernetes/pki/ca.crt", CA)
        self.write("/etc/kubernetes/admin.conf", ADMIN_CONF)


def run(
    module: ModuleType, capsys: pytest.CaptureFixture[str], *, check: bool = False, **parameters: Any
) -> dict[str, Any]:
    with patch_module_args({**parameters, "_ansible_check_mode": check}), pytest.raises(SystemExit):
        module.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result
