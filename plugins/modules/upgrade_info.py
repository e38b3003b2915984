#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.upgrade_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade_info
short_description: Read all of a cluster by which its upgrade is planned
version_added: '0.1.0'
description:
  - Runs on a control plane, and changes nothing. P(bramble.pi.upgrade_plan#filter) makes a plan of what it
    returns.
  - What the repositories of the minors on the way offer is read into a folder of its own, with apt's check of
    their signatures; the sources and package lists of the node stay as they are.
  - Of images that a node lacks and no archive has, the registry is asked whether it has them, unless the
    runtime is told to fetch from elsewhere.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  version:
    description:
      - The version to upgrade to. V("1.37") is the newest patch of that minor, V("1.37.2") exactly this one.
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
  archives:
    description: Archives of images that nodes will be given, each with C(images), the names of those in it.
    type: list
    elements: dict
    default: []
  delete_bare_pods:
    description: Whether pods without a controller, which nobody makes again, may be deleted.
    type: bool
    default: false
  delete_emptydir_data:
    description: Whether the data in pods' emptyDir volumes may be lost.
    type: bool
    default: false
  kubeconfig:
    description: The kubeconfig to use, on this host.
    type: path
    default: /etc/kubernetes/admin.conf
seealso:
  - name: Deprecated API Migration Guide
    description: Which minor removes which API.
    link: https://kubernetes.io/docs/reference/using-api/deprecation-guide/
"""

EXAMPLES = r"""
- name: Read what an upgrade depends on
  bramble.pi.upgrade_info:
    version: "1.37"
  register: seen
"""

RETURN = r"""
configured:
  description: The version of the cluster, by kubeadm's ConfigMap.
  returned: success
  type: str
  sample: 1.36.2
nodes:
  description: The nodes of the cluster, with C(name), C(kubelet), C(runtime), C(ready) and C(message).
  returned: success
  type: list
  elements: dict
  sample: [{name: pi-1, kubelet: v1.36.2, runtime: 'containerd://2.1.4', ready: true, message: ''}]
static:
  description: By control plane, the versions of its programs.
  returned: success
  type: dict
  sample: {pi-1: {kube-apiserver: 1.36.2, kube-controller-manager: 1.36.2, kube-scheduler: 1.36.2}}
offered:
  description: By minor, the versions in its repository.
  returned: success
  type: dict
  sample: {'1.36': [1.36.1, 1.36.2], '1.37': [1.37.0]}
unread:
  description: By minor, why its repository could not be read.
  returned: success
  type: dict
  sample: {}
drains:
  description:
    - By node, which pods cannot leave it (C(blocks)), for which a drain has to wait (C(waits)), and how many
      leave it (C(goes)).
  returned: success
  type: dict
  sample: {pi-2: {blocks: [], waits: [], goes: 7}}
etcd:
  description: Why etcd would lose its majority without a control plane.
  returned: success
  type: list
  elements: str
  sample: []
flags:
  description: Flags of control planes that some minor does not know, with C(program) and C(flag).
  returned: success
  type: list
  elements: dict
  sample: [{program: kube-controller-manager, flag: pod-eviction-timeout}]
requested:
  description:
    - Deprecated APIs that were asked for since the API servers started, by their own metric, with C(api),
      C(resource), C(release), from which on it is gone, and C(watched), how many watch it now.
  returned: success
  type: list
  elements: dict
  sample: [{api: policy/v1beta1, resource: podsecuritypolicies, release: '1.25', watched: 1}]
objects:
  description:
    - Objects that users wrote with an API that goes on the way, with C(kind), C(namespace), C(name), C(api),
      C(release), and, if something took its place, C(successor) and the minor C(since) which it is served.
  returned: success
  type: list
  elements: dict
  sample: []
images:
  description: Images that nodes lack and no archive has, with C(nodes) and, if there is one, C(problem).
  returned: success
  type: dict
  sample: {'registry.k8s.io/kube-proxy:v1.37.0': {nodes: [pi-1], problem: ''}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._containers.images import normalize
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import parse_version
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.drain import Consent
from ansible_collections.bramble.pi.plugins.module_utils._upgrade.cluster import Cluster, Question


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "raw", "required": True},
            "repository": {"type": "str", "default": "https://pkgs.k8s.io/core:/stable:/v{minor}/deb/"},
            "key": {"type": "str", "no_log": False},
            "archives": {"type": "list", "elements": "dict", "default": []},
            "delete_bare_pods": {"type": "bool", "default": False},
            "delete_emptydir_data": {"type": "bool", "default": False},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
        },
        supports_check_mode=True,
    )
    given = module.params

    def run(command: list[str]) -> tuple[int, str, str]:
        code, output, error = module.run_command(command, environ_update=apt.ENVIRONMENT)
        return code, output, error

    with module_errors(module):
        question = Question(
            target=parse_version(given["version"]),
            repository=given["repository"],
            key=given["key"],
            archived={
                normalize(name, variable="kube_packages_image_archives")
                for archive in given["archives"]
                for name in archive.get("images") or ()
            },
            consent=Consent(bare_pods=given["delete_bare_pods"], emptydir_data=given["delete_emptydir_data"]),
            kubeconfig=given["kubeconfig"],
        )
        seen = Cluster(run=run, warn=module.warn, question=question).read()
    module.exit_json(changed=False, **seen)


if __name__ == "__main__":
    main()
