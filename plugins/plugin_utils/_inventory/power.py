# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order a rack is switched off, and what is missing once it was switched on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity, rack_groups

#: What is switched off at the same time, in this order: nobody before who needs it.
_KINDS = ("workers", "control planes", "servers of the rack", "the head")


class Batch(TypedDict):
    """Hosts that are switched off at the same time."""

    kind: str
    hosts: list[str]
    #: A host that is switched off later, and sees from the rack's network whether these are off, or empty.
    watcher: str


class Order(TypedDict):
    """Who is switched off when, and who is not."""

    batches: list[Batch]
    #: Where this runs.
    left_on: list[str]
    #: Those that did not answer.
    silent: list[str]


def _kind(groups: Mapping[str, Sequence[str]], host: str) -> str:
    rack = rack_groups.read(groups)
    # Boards that boot over the network have their root on the server.
    netboot_servers = groups.get("netboot_server", ()) if groups.get("netboot") else ()
    if host in rack.heads:
        return "the head"
    if host in (*rack.servers, *netboot_servers):
        return "servers of the rack"
    return "control planes" if host in rack.control_planes else "workers"


def order(
    *, hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]], machine_id: str
) -> Order:
    """Return in which order the members of a rack are switched off.

    Those without facts did not answer; ``machine_id`` is that of the machine that this runs on.
    """
    members = rack_groups.read(groups).members
    facts = {host: hostvars[host].get("ansible_facts", {}).get("bramble") for host in members}
    left_on = [host for host in members if facts[host] and facts[host].get("machine_id") == machine_id]
    batches: list[Batch] = []
    for kind in _KINDS:
        hosts = [
            host for host in members if facts[host] and host not in left_on and _kind(groups, host) == kind
        ]
        if hosts:
            batches.append({"kind": kind, "hosts": hosts, "watcher": ""})
    for batch, later in zip(batches, batches[1:]):
        batch["watcher"] = later["hosts"][0]
    return {
        "batches": batches,
        "left_on": left_on,
        "silent": [host for host in members if not facts[host] and host not in left_on],
    }


def missing(
    *,
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    hosts: Sequence[str],
    seconds: int,
) -> list[str]:
    """Say of each host that is not there after a rack was switched on what to look at."""
    problems = []
    for host in hosts:
        if not _is_there(hostvars[host]):
            address = identity.address(host, hostvars[host])
            problems.append(
                f"{host} did not answer at {address} by ssh within {seconds} s: {_look(groups, host)}"
            )
    control_planes = rack_groups.read(groups).control_planes
    there = [host for host in control_planes if host in hosts and _is_there(hostvars[host])]
    majority = len(control_planes) // 2 + 1
    # Those that a run leaves out by --limit may be there.
    left_out = set(control_planes) - set(hosts)
    if len(there) + len(left_out) < majority:
        problems.append(
            f"etcd has {len(there)} of {len(control_planes)} control planes; expected {majority}, without"
            " which the cluster does not answer"
        )
    return problems


def _is_there(variables: Mapping[str, Any]) -> bool:
    return bool(variables.get("ansible_facts", {}).get("bramble"))


def _look(groups: Mapping[str, Sequence[str]], host: str) -> str:
    look = "look at its power supply, its LEDs, its network cable and its card"
    if host in groups.get("netboot", ()):
        servers = ", ".join(groups.get("netboot_server", ()))
        look = f"it boots over the network: look at its power supply, its cable, and its server {servers}"
    head = rack_groups.way_in(groups, host)
    return f"{look}; it is reached through {head}" if head else look
