#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.node_facts``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_facts
short_description: Read what the roles of this collection need to know of a node
version_added: '0.1.0'
description:
  - Returns the facts that the roles of this collection decide by, as C(ansible_facts['bramble']).
  - Reads files, runs C(dpkg-query) and C(timedatectl) once each and nothing else, as each costs a Pi time.
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
"""

EXAMPLES = r"""
- name: Read the state of the node
  bramble.pi.node_facts:

- name: Show whether the memory controller can be used
  ansible.builtin.debug:
    msg: "{{ 'memory' in ansible_facts['bramble']['cgroup']['controllers'] }}"
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: success
  type: dict
  contains:
    bramble:
      description: The facts of this collection, under a name of their own.
      returned: success
      type: dict
      contains:
        distribution:
          description: The operating system, from os-release.
          returned: success
          type: dict
          contains:
            id:
              description: The distribution's identifier; V(debian) on 64-bit Raspberry Pi OS.
              returned: success
              type: str
              sample: debian
            version:
              description: The release; empty where the distribution names none.
              returned: success
              type: str
              sample: '12'
            codename:
              description: The release's name.
              returned: success
              type: str
              sample: bookworm
            name:
              description: The name for people.
              returned: success
              type: str
              sample: Debian GNU/Linux 12 (bookworm)
            raspberry_pi_os:
              description: Whether it is Raspberry Pi OS.
              returned: success
              type: bool
              sample: true
        pi_firmware:
          description: Whether a Raspberry Pi's firmware starts the node, and not GRUB or the like.
          returned: success
          type: bool
          sample: true
        architecture:
          description: The architecture of the packages, as dpkg names it.
          returned: success
          type: str
          sample: arm64
        hostname:
          description: The running host name.
          returned: success
          type: str
          sample: pi-1
        machine_id:
          description: The content of C(/etc/machine-id).
          returned: success
          type: str
          sample: 2f2d0b1d8d4e4c5e9a4c1c1c7d1f3b55
        boot_id:
          description: Changes with every boot.
          returned: success
          type: str
          sample: 5d3a7bd1-31f6-4e0e-a9a0-8f3a4d0c0e8e
        kernel:
          description: The running kernel's release.
          returned: success
          type: str
          sample: 6.12.47+rpt-rpi-v8
        clock:
          description: State of the system's clock.
          returned: success
          type: dict
          contains:
            synchronized:
              description: Whether the kernel regards the clock as synchronised.
              returned: success
              type: bool
              sample: true
            ntp_available:
              description: Whether an NTP service known to systemd is installed.
              returned: success
              type: bool
              sample: true
            ntp_enabled:
              description: Whether that service is switched on.
              returned: success
              type: bool
              sample: true
            utc:
              description: The node's time.
              returned: success
              type: str
              sample: '2026-10-01T12:00:00Z'
        cgroup:
          description: Control groups.
          returned: success
          type: dict
          contains:
            version:
              description: The version in use.
              returned: success
              type: int
              sample: 2
            controllers:
              description: The controllers that can be used.
              returned: success
              type: list
              elements: str
              sample: [cpuset, cpu, io, memory, pids]
        swap:
          description: Swap.
          returned: success
          type: dict
          contains:
            active:
              description: Devices and files that are swapped to.
              returned: success
              type: list
              elements: str
              sample: [/var/swap]
            switched_on_by:
              description:
                - Services that switch swap on, and are not masked, by what their units and programs say.
                - Empty where nothing is swapped to.
              returned: success
              type: list
              elements: str
              sample: [zram-config.service]
        packages:
          description: Versions of the packages concerned that are installed.
          returned: success
          type: dict
          sample: {kubelet: 1.36.1-1.1, containerd: 1.7.24~ds1-6}
        default_address:
          description: The IPv4 address that the default route uses; none without such a route.
          returned: success
          type: str
          sample: 192.168.1.11
        kubernetes:
          description: What kubeadm has done here.
          returned: success
          type: dict
          contains:
            state:
              description: V(absent), V(partial), V(worker) or V(control_plane), by C(/etc/kubernetes).
              returned: success
              type: str
              sample: worker
            unfinished:
              description: Whether a run of kubeadm was interrupted here, or the kubelet of a node that has
                all other files lacks its certificate. M(bramble.pi.kubeadm_join) then has something to do.
              returned: success
              type: bool
              sample: false
            version:
              description: The version of the API server of a control plane; none on a worker.
              returned: success
              type: str
              sample: 1.36.2
            upgrade:
              description: Whether a run of kubeadm upgrade has not come to its end.
              returned: success
              type: bool
              sample: false
            maintenance:
              description: Whether the role maintenance took the node out of use in a run that has not come to
                its end.
              returned: success
              type: bool
              sample: false
            ca_cert_hash:
              description: Hash of the cluster CA's public key as kubeadm takes it; none without one.
              returned: success
              type: str
              sample: sha256:83a7f3c2d9ab4e4b6bb9c7d74b7a37d2a8b3d49a0b1d11f0f2c5e2c4f3b6a1de
            server:
              description: The API server that the kubelet talks to; none without one.
              returned: success
              type: str
              sample: https://192.168.1.11:6443
            vip:
              description: The address that the node takes part in holding, see
                M(bramble.pi.control_plane_vip); none where it does not.
              returned: success
              type: str
              sample: 192.168.1.10
            pod_cidr:
              description: The network of the pods, on a control plane; empty in a cluster without one.
              returned: success
              type: str
              sample: 10.244.0.0/16
            service_cidr:
              description: The network of the services, on a control plane.
              returned: success
              type: str
              sample: 10.96.0.0/12
            api_server:
              description: Where the cluster is reached, on a control plane; its endpoint if it has one.
              returned: success
              type: str
              sample: https://192.168.1.11:6443
        vxlan:
          description: Whether the kernel has vxlan or can load it; none where its modules are not known.
          returned: success
          type: bool
          sample: true
        cni:
          description: The files of C(/etc/cni/net.d), in the order in which runtimes look at them.
          returned: success
          type: list
          elements: dict
          contains:
            file:
              description: The name of the file.
              returned: success
              type: str
              sample: 10-flannel.conflist
            types:
              description: The types of the plugins that it calls; empty if it cannot be read.
              returned: success
              type: list
              elements: str
              sample: [flannel, portmap]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import module_errors
from ansible_collections.bramble.pi.plugins.module_utils._node.reader import read_facts


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    with module_errors(module):
        facts = read_facts(module)
    module.exit_json(changed=False, ansible_facts={"bramble": facts})


if __name__ == "__main__":
    main()
