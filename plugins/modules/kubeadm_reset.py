#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take Kubernetes off a node, with all that kubeadm reset leaves behind."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_reset
short_description: Take Kubernetes off a node, with all that kubeadm reset leaves behind
version_added: 0.1.0
description:
  - Runs C(kubeadm reset), and then removes what it leaves behind. On a control plane this removes the data
    of the cluster.
  - The packet filter rules of kube-proxy, of the CNI plugins and of flannel are removed one by one, from
    both backends of iptables and from nftables; all others are left alone.
  - Packages, images and the settings of the container runtime stay.
extends_documentation_fragment: [bramble.pi.attributes]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  cri_socket:
    description: Socket of the container runtime, such as V(unix:///run/containerd/containerd.sock).
      By default the one that the kubelet uses.
    type: str
  clean_up:
    description: Whether to remove what C(kubeadm reset) leaves behind.
    type: bool
    default: true
  cni_configurations:
    description: Files in C(/etc/cni/net.d) to remove, as patterns of the shell. Others there are left alone.
    type: list
    elements: str
    default: ['*flannel*', '*bramble*']
  kubeconfigs:
    description: Kubeconfigs of users to remove. Those that know other clusters too, or only others, are left
      alone.
    type: list
    elements: path
    default: [/root/.kube/config]
  timeout:
    description: Seconds to wait for a run of kubeadm that is still going on.
    type: int
    default: 240
author:
  - bramble.pi contributors (@bramble-pi)
"""

EXAMPLES = r"""
- name: Take Kubernetes off this node
  bramble.pi.kubeadm_reset:
    kubeconfigs: [/root/.kube/config, /home/pi/.kube/config]
"""

RETURN = r"""
removed:
  description: What was removed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [kubeadm's files and containers, /etc/cni/net.d/10-flannel.conflist, link cni0]
"""

import glob
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import leftovers, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import (
    KubeadmError,
    Node,
    empty_directory,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.kubeconfig import Owner, owner

_CNI_CONFIGURATIONS = "/etc/cni/net.d"
# Their content goes, they stay: packages own some, and some may be mounts.
_DIRECTORIES = (state.MANIFESTS, state.PKI, state.UPGRADES, state.ETCD, state.KUBELET, "/var/lib/cni")
_FLANNEL = "/run/flannel"
_NETWORK_NAMESPACES = "/run/netns/cni-*"
_LEGACY_TABLES = {
    "iptables-legacy": "/proc/net/ip_tables_names",
    "ip6tables-legacy": "/proc/net/ip6_tables_names",
}


@dataclass(frozen=True)
class _Removal:
    """Something to remove, and how."""

    what: str
    remove: Callable[[], object]


def _checked(node: Node, command: list[str]) -> str:
    code, output, errors = node.run(command)
    if code != 0:
        raise KubeadmError(f"{' '.join(command)} failed: {errors.strip() or output.strip()}")
    return output


def _files(*, patterns: list[str]) -> Iterator[_Removal]:
    for path in sorted((state.KUBERNETES_FILES - state.DIRECTORIES) | {state.ATTEMPT}):
        if os.path.exists(path):
            yield _Removal(path, partial(os.unlink, path))
    for pattern in patterns:
        for path in sorted(glob.glob(f"{_CNI_CONFIGURATIONS}/{pattern}")):
            yield _Removal(path, partial(os.unlink, path))
    for path in _DIRECTORIES:
        if os.path.isdir(path) and os.listdir(path):
            yield _Removal(f"{path}/*", partial(empty_directory, path))
    if os.path.isdir(_FLANNEL):
        yield _Removal(_FLANNEL, partial(shutil.rmtree, _FLANNEL))


def _kubeconfigs(*, module: AnsibleModule, ca_hash: str | None) -> Iterator[_Removal]:
    for path in module.params["kubeconfigs"]:
        text = read_text(path)
        if text is None or ca_hash is None:
            continue
        whose = owner(text=text, ca_hash=ca_hash)
        if whose is Owner.OURS:
            yield _Removal(path, partial(os.unlink, path))
        elif whose is Owner.SHARED:
            module.warn(
                f"{path} knows this cluster beside others and is left alone; take the cluster out of it with"
                " kubectl config delete-context and delete-cluster"
            )


def _packet_filter(*, node: Node) -> Iterator[_Removal]:
    for backend in ("iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"):
        if not node.has(f"{backend}-save"):
            continue
        # Asking the legacy backend would load its modules, after which it counts as in use.
        if backend in _LEGACY_TABLES and not read_text(_LEGACY_TABLES[backend]):
            continue
        removal = leftovers.removal(saved=_checked(node, [f"{backend}-save"]))
        if removal:
            count = leftovers.removed_chains(removal_text=removal)
            yield _Removal(
                f"{count} chains and rules of {backend}",
                partial(node.feed, [f"{backend}-restore", "--noflush"], removal),
            )
    if node.has("nft"):
        for family, name in leftovers.kubernetes_tables(
            ruleset=_checked(node, ["nft", "--json", "list", "tables"])
        ):
            yield _Removal(
                f"table {family} {name}", partial(_checked, node, ["nft", "delete", "table", family, name])
            )


def _links(*, node: Node) -> Iterator[_Removal]:
    for path in sorted(glob.glob(_NETWORK_NAMESPACES)):
        name = os.path.basename(path)
        yield _Removal(f"network namespace {name}", partial(_checked, node, ["ip", "netns", "delete", name]))
    for name in leftovers.kubernetes_links(names=os.listdir("/sys/class/net")):
        if name == "kube-ipvs0" and node.has("ipvsadm"):
            yield _Removal("IPVS services", partial(_checked, node, ["ipvsadm", "--clear"]))
        yield _Removal(f"link {name}", partial(_checked, node, ["ip", "link", "delete", name]))


def _reset(*, module: AnsibleModule, node: Node) -> dict[str, Any]:
    parameters = module.params
    # Asked before the files are gone that say it.
    ca_hash = node.ca_cert_hash()
    removed = []
    if node.files() or os.path.exists(state.ATTEMPT) or os.path.exists(state.CA_CERTIFICATE):
        removed.append("kubeadm's files and containers")
        if not module.check_mode:
            node.need("kubeadm")
            node.reset(cri_socket=parameters["cri_socket"])
    if parameters["clean_up"]:
        for leftover in (
            *_kubeconfigs(module=module, ca_hash=ca_hash),
            *_files(patterns=parameters["cni_configurations"]),
            *_packet_filter(node=node),
            *_links(node=node),
        ):
            removed.append(leftover.what)
            if not module.check_mode:
                leftover.remove()
    return {"changed": bool(removed), "removed": removed}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "cri_socket": {"type": "str"},
            "clean_up": {"type": "bool", "default": True},
            "cni_configurations": {"type": "list", "elements": "str", "default": ["*flannel*", "*bramble*"]},
            "kubeconfigs": {"type": "list", "elements": "path", "default": ["/root/.kube/config"]},
            "timeout": {"type": "int", "default": 240},
        },
        supports_check_mode=True,
    )
    node = Node(run=module.run_command)
    try:
        with node.locked(timeout=module.params["timeout"]):
            result = _reset(module=module, node=node)
    except KubeadmError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
