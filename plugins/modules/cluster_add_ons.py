#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.cluster_add_ons``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_add_ons
short_description: Apply add-ons to the cluster, and remove those that are no longer asked for
version_added: '0.1.0'
description:
  - Runs C(kubectl) on a control-plane node. What others need comes first, pods are waited for, and objects of
    kinds that an add-on defines come last.
  - Notes in a ConfigMap for each add-on which objects it has. What a new version has no more is deleted, and
    so are add-ons that are no longer asked for.
  - Nothing is touched while an object of an add-on is somebody else's, or while somebody's objects would go
    with one.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
    details:
      - Asks the API server for a dry run, and waits for nothing. Where there is no cluster yet, all of them
        count as changed.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - A Deployment whose C(strategy) has no C(type) counts as changed each time, as C(kubectl) says so.
options:
  definitions:
    description:
      - All add-ons, as JSON, as the filter P(bramble.pi.add_on_definitions#filter) returns them.
      - Hidden, as there may be secrets among the objects.
    type: str
    required: true
  remove_objects:
    description: The add-ons with which objects of somebody may go, such as V([metallb]).
    type: list
    elements: str
    default: []
  timeout:
    description: How long to wait for the pods of each, in seconds.
    type: int
    default: 300
  kubeconfig:
    description: The kubeconfig to use, on this host.
    type: path
    default: /etc/kubernetes/admin.conf
"""

EXAMPLES = r"""
- name: Apply one add-on, and remove all others
  bramble.pi.cluster_add_ons:
    definitions: "{{ [entry] | bramble.pi.add_on_definitions({entry.manifest: text}) }}"
  vars:
    entry: {name: web, manifest: "file:///srv/web.yml"}
    text: "{{ lookup('ansible.builtin.file', '/srv/web.yml') }}"
"""

RETURN = r"""
add_ons:
  description:
    - What became of each add-on, V(applied), V(unchanged) or V(removed); with a failure, what was done until
      then.
  returned: always
  type: dict
  sample: {metallb: applied, web: removed}
"""

import json
import os
from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._add_ons.apply import AddOns
from ansible_collections.bramble.pi.plugins.module_utils._add_ons.cluster import Cluster
from ansible_collections.bramble.pi.plugins.module_utils._add_ons.plan import AddOn
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "definitions": {"type": "str", "required": True, "no_log": True},
            "remove_objects": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 300},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
        },
        supports_check_mode=True,
    )
    add_ons = []
    try:
        add_ons = [AddOn(**each) for each in json.loads(module.params["definitions"])]
    except (ValueError, TypeError) as error:
        # Nothing of it is shown: values may be secrets.
        module.fail_json(
            msg=f"definitions cannot be read ({type(error).__name__}); expected a list of add-ons as JSON, as"
            " the role add_ons gives it: run 'ansible-playbook -i INVENTORY bramble.pi.add_ons'"
        )
    kubeconfig = module.params["kubeconfig"]
    if module.check_mode and not os.path.exists(kubeconfig):
        module.exit_json(changed=bool(add_ons), add_ons={each.name: "applied" for each in add_ons})

    def run(command: Sequence[str], data: str) -> tuple[int, str, str]:
        code, output, errors = module.run_command(list(command), data=data)
        return code, output, errors

    done: dict[str, str] = {}
    with module_errors(module, result=lambda: {"add_ons": done}):
        work = AddOns(
            Cluster(run=run, kubeconfig=kubeconfig, check_mode=module.check_mode),
            add_ons,
            consented=module.params["remove_objects"],
            timeout=module.params["timeout"],
            done=done,
        )
        work.run()
    module.exit_json(changed=set(done.values()) - {"unchanged"} != set(), add_ons=done)


if __name__ == "__main__":
    main()
