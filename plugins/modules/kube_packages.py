#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.kube_packages``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kube_packages
short_description: Install kubelet, kubeadm and kubectl at one version and hold them
version_added: '0.1.0'
description:
  - Sets up the apt repository of a minor version with its key, installs the packages from it, holds them, and
    enables kubelet.
  - The packages C(kubernetes-cni) and C(cri-tools) are installed with them where the repository has them.
  - Before a source is written, apt has to read all sources with it among them. The official guide's
    C(kubernetes.list) has another key for the same repository, with which no apt command works.
  - Where everything is as desired, neither the repository nor the key is fetched.
  - With O(version) a minor alone, an installed patch of it stays. Another minor than the installed one is
    refused, as that is an upgrade of the cluster, unless O(upgrade) is set.
  - With O(member) no other version is installed at all, not even another patch, as that goes node by node.
    With O(cluster_version) a node that is to join gets the version that the cluster runs, and none that is
    newer or of another minor.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: partial
    details:
      - What a repository that is not set up yet offers is not known before, nor is its key.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  version:
    description:
      - V("1.36") for the newest patch of that minor, V("1.36.1") for exactly this one.
      - Numbers are refused, since YAML makes 1.3 of an unquoted 1.30.
    type: raw
    required: true
  repository:
    description: The flat apt repository; V({minor}) stands for the minor version, such as V(1.36).
    type: str
    default: https://pkgs.k8s.io/core:/stable:/v{minor}/deb/
  key:
    description:
      - Where the ASCII-armoured key of the repository is.
      - The default is C(Release.key) in the repository.
    type: str
  packages:
    description: Packages that have the version of Kubernetes.
    type: list
    elements: str
    default: [kubelet, kubeadm, kubectl]
  hold:
    description: Whether an ordinary upgrade is to leave the packages alone.
    type: bool
    default: true
  allow_downgrade:
    description: Whether an older patch than the installed one may be installed.
    type: bool
    default: false
  upgrade:
    description:
      - Whether a newer minor than the installed one may be installed, as an upgrade of the cluster does, node
        by node and with M(bramble.pi.kubeadm_upgrade) between kubeadm and kubelet.
    type: bool
    default: false
  member:
    description: Whether the node is in a running cluster.
    type: bool
    default: false
  cluster_version:
    description: What the cluster runs that the node is to join, such as V(1.36.1); empty if not known.
    type: str
    default: ''
  report_newer:
    description: Whether to tell of a newer version that apt knows of without fetching anything.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Install the newest patch of Kubernetes 1.36
  bramble.pi.kube_packages:
    version: "1.36"

- name: Install Kubernetes 1.36.1 from a mirror
  bramble.pi.kube_packages:
    version: "1.36.1"
    repository: http://192.168.1.2/kubernetes/v{minor}/
    key: http://192.168.1.2/kubernetes/release.asc
"""

RETURN = r"""
changes:
  description: What was changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [write /etc/apt/sources.list.d/kubernetes.sources, install kubelet=1.36.2-2.1]
installed:
  description: The packages that are installed, with their versions.
  returned: success
  type: dict
  sample: {kubelet: 1.36.2-2.1, kubeadm: 1.36.2-2.1, kubectl: 1.36.2-2.1, kubernetes-cni: 1.9.1-1.1}
previous:
  description: The packages that were installed before.
  returned: success
  type: dict
  sample: {}
held:
  description: The packages that are held.
  returned: success
  type: list
  elements: str
  sample: [kubeadm, kubectl, kubelet, kubernetes-cni]
repository_file:
  description: The file that names the repository.
  returned: success
  type: str
  sample: /etc/apt/sources.list.d/kubernetes.sources
newer:
  description: A newer version of the minor that apt knows of, if there is one, with O(report_newer).
  returned: success
  type: str
  sample: 1.36.3
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.install import KubePackages, Order


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "raw", "required": True},
            "repository": {"type": "str", "default": "https://pkgs.k8s.io/core:/stable:/v{minor}/deb/"},
            "key": {"type": "str", "no_log": False},
            "packages": {"type": "list", "elements": "str", "default": ["kubelet", "kubeadm", "kubectl"]},
            "hold": {"type": "bool", "default": True},
            "allow_downgrade": {"type": "bool", "default": False},
            "upgrade": {"type": "bool", "default": False},
            "member": {"type": "bool", "default": False},
            "cluster_version": {"type": "str", "default": ""},
            "report_newer": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )

    def run(command: list[str]) -> tuple[int, str, str]:
        code, output, error = module.run_command(command, environ_update=apt.ENVIRONMENT)
        return code, output, error

    changes = Changes(check_mode=module.check_mode, run=run)
    with module_errors(module, result=changes.result):
        result = KubePackages(
            order=Order(**{**module.params, "cluster_version": module.params["cluster_version"] or None}),
            run=run,
            warn=module.warn,
            changes=changes,
        ).ensure()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
