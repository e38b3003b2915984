#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what a node needs to join the cluster of this control plane."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_join_info
short_description: Say what a node needs to join the cluster of this control plane
version_added: 0.1.0
description:
  - Runs on a control plane and returns the API server's address, the hash of the CA's public key and, on
    wish, a short-lived token and a certificate key.
  - The hash is computed from the CA certificate itself, and compared with the one that kubeadm prints.
  - The return values hold secrets, so tasks with this module need C(no_log).
extends_documentation_fragment: [bramble.pi.attributes]
attributes:
  check_mode:
    support: partial
    details: In check mode no token and no certificate key are made, so they are not returned.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: Each run with O(create_token=true) makes a further token.
options:
  create_token:
    description: Whether to make a token.
    type: bool
    default: true
  token_ttl:
    description: How long the token lives, such as V(30m) or V(2h). V(0) would be for ever, and is refused.
    type: str
    default: 30m
  description:
    description: What the token is for, as C(kubeadm token list) shows it.
    type: str
    default: made by bramble.pi to join nodes
  certificate_key:
    description: Whether to upload the certificates for further control planes. They live two hours.
    type: bool
    default: false
  cri_socket:
    description: Socket of the container runtime. Needed with O(certificate_key=true) where there are several.
    type: str
author:
  - bramble.pi contributors (@bramble-pi)
"""

EXAMPLES = r"""
- name: Ask the control plane how to join
  bramble.pi.kubeadm_join_info:
  delegate_to: pi-1
  register: join_info
  no_log: true

- name: Ask only which cluster it is
  bramble.pi.kubeadm_join_info:
    create_token: false
  register: cluster
"""

RETURN = r"""
endpoint:
  description: Address and port of the API server.
  returned: success
  type: str
  sample: 192.168.1.10:6443
ca_cert_hash:
  description: Hash of the cluster CA's public key.
  returned: success
  type: str
  sample: sha256:f9ff1529ab426b391a665cda3b1df7d9a3950da11045dd8c634e605ef835a58c
token:
  description: The token.
  returned: when O(create_token=true), not in check mode
  type: str
  sample: abcdef.0123456789abcdef
expires:
  description: When the token expires.
  returned: when O(create_token=true), not in check mode
  type: str
  sample: '2026-11-21T06:08:13Z'
certificate_key:
  description: The key of the uploaded certificates.
  returned: when O(certificate_key=true), not in check mode
  type: str
  sample: f8902e114ef118304e561c3ecd4d0b543adc226b7a07f675f56564185ffe0c07
"""

from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import config, join_command, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import KubeadmError, Node
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.ca_hash import (
    CaCertError,
    ca_cert_hashes,
)

# A kubeadm that another task has started is not waited for longer than it may take itself.
_LOCK_TIMEOUT = 300


def _make_token(*, node: Node, parameters: dict[str, Any], hashes: list[str]) -> dict[str, str]:
    lifetime = join_command.lifetime(text=parameters["token_ttl"])
    begun = datetime.now(timezone.utc)
    output = node.kubeadm(
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
            " certificate; make it anew: kubeadm init phase kubeconfig admin"
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
    output = node.kubeadm(
        [
            "init",
            "phase",
            "upload-certs",
            "--upload-certs",
            f"--config={node.configuration_file(documents=documents)}",
        ]
    )
    return join_command.parse_certificate_key(text=output)


def _join_info(*, node: Node, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    certificate = read_text(state.CA_CERTIFICATE)
    server = node.server()
    if certificate is None or server is None or state.ADMIN_KUBECONFIG not in node.files():
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
            result["certificate_key"] = _upload_certificates(node=node, cri_socket=parameters["cri_socket"])
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "create_token": {"type": "bool", "default": True, "no_log": False},
            "token_ttl": {"type": "str", "default": "30m", "no_log": False},
            "description": {"type": "str", "default": "made by bramble.pi to join nodes"},
            "certificate_key": {"type": "bool", "default": False, "no_log": False},
            "cri_socket": {"type": "str"},
        },
        supports_check_mode=True,
    )
    node = Node(run=module.run_command)
    try:
        with node.locked(timeout=_LOCK_TIMEOUT):
            result = _join_info(node=node, parameters=module.params, check_mode=module.check_mode)
    except (KubeadmError, CaCertError, config.KubeadmConfigError, join_command.JoinCommandError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
