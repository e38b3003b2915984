# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the boards that boot over the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from ansible_collections.bramble.pi.plugins.module_utils._netboot import tftp_unit
from ansible_collections.bramble.pi.plugins.module_utils._netboot.system import (
    NetbootTreeError,
    check_container_storage,
    check_serial,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.addresses import parse_address
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import (
    ALL,
    FIXED_GROUP,
    Finding,
    Rack,
)

#: Hosts that boot from the one host of the other group.
NETBOOT_GROUP = "netboot"
NETBOOT_SERVER_GROUP = "netboot_server"


def _check_folder(rack: Rack, nodes: Sequence[str], servers: Sequence[str]) -> Iterator[Finding]:
    """Check that what is made for the nodes is what their server serves."""
    served = {rack.value(host, "netboot_tree_dir") for host in servers} - {None}
    for host in nodes:
        folder = rack.value(host, "netboot_tree_dir")
        if folder is not None and served and folder not in served:
            yield Finding(
                f"netboot_tree_dir is {folder!r}, and {', '.join(map(repr, sorted(served)))} on the host of "
                f"the group {NETBOOT_SERVER_GROUP}; expected one folder for all: set netboot_tree_dir {ALL}",
                host,
            )


def check_netboot(rack: Rack) -> Iterator[Finding]:
    """Check who boots over the network, from where, and by which serial number."""
    nodes = rack.groups.get(NETBOOT_GROUP, ())
    servers = rack.groups.get(NETBOOT_SERVER_GROUP, ())
    if nodes and len(servers) != 1:
        yield Finding(
            f"the group {NETBOOT_GROUP} has {', '.join(nodes)}, and the group {NETBOOT_SERVER_GROUP} "
            f"{', '.join(servers) or 'no host'}; expected one host, which serves them"
        )
    for host in servers:
        folder = rack.value(host, "netboot_tree_dir") or "/"
        interface = rack.value(host, "netboot_server_interface") or "eth0"
        try:
            tftp_unit.check(folder=folder, interface=interface)
        except tftp_unit.TftpError as error:
            yield Finding(str(error), host)
    yield from _check_folder(rack, nodes, servers)
    seen: dict[str, str] = {}
    for host in nodes:
        yield from _check_tree(rack, host)
        serial = rack.value(host, "netboot_tree_serial")
        if serial and seen.setdefault(serial, host) != host:
            yield Finding(
                f"netboot_tree_serial is {serial!r}, as that of {seen[serial]}: set each to its own board's",
                host,
            )
        if host in servers:
            yield Finding(
                f"is in both groups {NETBOOT_GROUP} and {NETBOOT_SERVER_GROUP}: it cannot boot from "
                "itself; take "
                "it out of one",
                host,
            )
        if not rack.mac(host) and not rack.is_unknown(host, "rack_services_mac"):
            yield Finding(
                "boots over the network, and has no rack_services_mac: set it, such as "
                "'b8:27:eb:5b:0d:0f' (in "
                "quotes), as the board asks for its address by it",
                host,
            )
        try:
            parse_address(rack.address(host))
        except ValueError as error:
            yield Finding(
                f"boots over the network, and its address is {rack.address(host)!r}, which {error}: set "
                f"{rack.address_variable(host)}, as its tree is served to that address alone",
                host,
            )
        if host in rack.groups.get(FIXED_GROUP, ()):
            yield Finding(
                f"is in both groups {NETBOOT_GROUP} and {FIXED_GROUP}: a root over the network does not "
                "survive a "
                f"change of address; take it out of {FIXED_GROUP}",
                host,
            )


def _check_tree(rack: Rack, host: str) -> Iterator[Finding]:
    """Check what the module that makes the tree would refuse."""
    checks = []
    if not rack.is_unknown(host, "netboot_tree_serial"):
        checks.append(partial(check_serial, rack.value(host, "netboot_tree_serial") or ""))
    storage = rack.value(host, "netboot_tree_container_storage")
    device = rack.value(host, "netboot_tree_container_device")
    if device is not None:
        checks.append(partial(check_container_storage, storage=storage or "", device=device))
    for check in checks:
        try:
            check()
        except NetbootTreeError as error:
            yield Finding(str(error), host)
