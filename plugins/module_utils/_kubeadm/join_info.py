# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What joining takes, asked of a control plane: the endpoint, the CA's hash, a token, a certificate key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import (
    config,
    join_command,
    node_files,
    state,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import KubeadmError, Node
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import ca_cert_hashes


def _make_token(*, node: Node, parameters: Mapping[str, Any], hashes: list[str]) -> dict[str, str]:
    lifetime = join_command.lifetime(text=parameters["token_ttl"])
    begun = datetime.now(timezone.utc)
    output = node.kubeadm_prints(
        [
            "token",
            "create",
            f"--kubeconfig={state.ADMIN_KUBECONFIG}",
            f"--ttl={parameters['token_ttl']}",
            f"--description={parameters['description']}",
            "--print-join-command",
        ]
    )
    command = join_command.parse_join_commands(text=output)[0]
    if set(command.ca_cert_hashes) != set(hashes):
        raise KubeadmError(
            f"kubeadm prints the CA hash {', '.join(command.ca_cert_hashes)}, but {state.CA_CERTIFICATE} has"
            f" {', '.join(hashes)}. The kubeconfig {state.ADMIN_KUBECONFIG} is of another cluster than the"
            " certificate; make it again: kubeadm init phase kubeconfig admin"
        )
    return {
        "endpoint": command.endpoint,
        "token": command.token,
        "expires": (begun + lifetime).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _upload_certificates(*, node: Node, cri_socket: str | None) -> str:
    documents = config.minimal_documents(
        version=node.api_version(),
        kubernetes_version=node.release(),
        cri_socket=cri_socket,
        cluster_configuration={},
    )
    output = node.kubeadm_prints(
        [
            "init",
            "phase",
            "upload-certs",
            "--upload-certs",
            f"--config={node.configuration_file(documents=documents)}",
        ]
    )
    return join_command.parse_certificate_key(text=output)


def join_info(*, node: Node, parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return the module's result: where and with which secrets other nodes join."""
    certificate = read_text(state.CA_CERTIFICATE)
    server = node_files.server()
    if certificate is None or server is None or state.ADMIN_KUBECONFIG not in node_files.present():
        if check_mode:
            # The control plane that would be there after a run is not there yet.
            return {"changed": True}
        raise KubeadmError(
            f"this node is not a control plane: it lacks {state.CA_CERTIFICATE} or {state.ADMIN_KUBECONFIG}."
            " Run this on a node of the group control_plane, after bramble.pi.kubeadm_init"
        )
    hashes = ca_cert_hashes(certificate)
    result = {"changed": False, "endpoint": server.split("://", 1)[1], "ca_cert_hash": hashes[0]}
    if parameters["create_token"]:
        result["changed"] = True
        if not check_mode:
            result.update(_make_token(node=node, parameters=parameters, hashes=hashes))
    if parameters["certificate_key"]:
        result["changed"] = True
        if not check_mode:
            # kubeadm hands on certificates alone; without these keys the API server would not start.
            result["encryption_configuration"] = read_text(state.ENCRYPTION) or ""
            result["certificate_key"] = _upload_certificates(node=node, cri_socket=parameters["cri_socket"])
    return result
