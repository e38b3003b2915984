# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is served to the nodes that boot over the network."""

from __future__ import annotations

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.netboot import netboot_clients


def test_each_node_gets_its_own_folders() -> None:
    hostvars = {
        "pi-1": {"netboot_tree_serial": "0a0a0a01", "ansible_host": "10.0.0.11"},
        "pi-2": {
            "netboot_tree_serial": "0a0a0a02",
            "os_prep_hostname": "two.lan",
            "os_prep_address": "10.0.0.12",
            "ansible_host": "192.168.1.12",
            "rack_services_mac": "dc:a6:32:00:00:02",
        },
        "head": {},
    }
    served = netboot_clients(hostvars=hostvars, groups={"netboot": ["pi-1", "pi-2"]}, folder="/srv/netboot")
    assert served["nodes"] == [
        {"name": "pi-1", "tag": "pi-1", "address": "10.0.0.11", "mac": "", "serial": "0a0a0a01"},
        {
            "name": "two.lan",
            "tag": "two",
            "address": "10.0.0.12",
            "mac": "dc:a6:32:00:00:02",
            "serial": "0a0a0a02",
        },
    ]
    assert [(export["path"], *export["addresses"]) for export in served["exports"]] == [
        ("/srv/netboot/nfs/pi-1", "10.0.0.11"),
        ("/srv/netboot/tftp/0a0a0a01", "10.0.0.11"),
        ("/srv/netboot/nfs/two.lan", "10.0.0.12"),
        ("/srv/netboot/tftp/0a0a0a02", "10.0.0.12"),
    ]


def test_a_rack_may_have_no_such_node() -> None:
    assert netboot_clients(hostvars={}, groups={}, folder="/srv") == {"nodes": [], "exports": []}
