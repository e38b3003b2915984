# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which folders are shared with the nodes, and the volumes in them, from the inventory alone."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.data_folder import is_data_folder
from ansible_collections.bramble.pi.plugins.module_utils._common.values import is_address
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import identity, rack_groups

Hosts = Mapping[str, Mapping[str, Any]]
Groups = Mapping[str, Sequence[str]]

#: The hosts that share folders.
GROUP = "storage_server"
#: How many may mount a volume, and whether they write.
ACCESS = ("ReadWriteMany", "ReadWriteOnce", "ReadOnlyMany")
#: As Kubernetes takes names; https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SIZE = re.compile(r"[1-9][0-9]*(?:[kMGTP]|[KMGTP]i)")
_SHARE_KEYS = ("name", "folder")
_VOLUME_KEYS = ("name", "size", "share", "access", "namespace")
_SHARES_WHERE = "set storage_server_shares in host_vars of that host"
_VOLUMES_WHERE = "set storage_volumes in group_vars/all.yml"


class Share(NamedTuple):
    """A folder that the nodes reach."""

    name: str
    folder: str
    #: The host that has it, and the address at which it serves it.
    host: str
    address: str


class Volume(NamedTuple):
    """A folder of a share, as Kubernetes sees it."""

    name: str
    size: str
    share: str
    access: str
    namespace: str


def servers(groups: Groups) -> list[str]:
    """Return the hosts that share folders."""
    return list(groups.get(GROUP, ()))


def shares(*, hosts: Hosts, groups: Groups) -> list[Share]:
    """Return all that is shared, as far as it is told in a way that can be."""
    return [
        Share(str(share["name"]), posixpath.normpath(share["folder"]), host, _address(host, hosts[host]))
        for host in servers(groups)
        if _is_present(hosts[host])
        for share in hosts[host].get("storage_server_shares") or ()
        if not list(_share_problems(share))
    ]


def _is_present(variables: Mapping[str, Any]) -> bool:
    return variables.get("storage_server_state", "present") == "present"


def _address(host: str, variables: Mapping[str, Any]) -> str:
    """Return where the nodes reach the server, as the role has it by default."""
    return str(variables.get("storage_server_address") or identity.address(host, variables))


def clients(*, hosts: Hosts, groups: Groups) -> list[str]:
    """Return the addresses that shares are for: those of the nodes."""
    return [identity.address(node, hosts[node]) for node in rack_groups.read(groups).nodes]


def volumes(listed: Any) -> list[Volume]:
    """Return the volumes, as far as they are told in a way that can be."""
    return [
        Volume(
            each["name"],
            each["size"],
            each["share"],
            each.get("access") or ACCESS[0],
            each.get("namespace") or "default",
        )
        for each in listed or ()
        if not list(_volume_problems(each))
    ]


def folder_of(volume: Volume, share: Share) -> str:
    """Return the folder of a volume on its server."""
    return f"{share.folder}/{volume.name}"


def served(*, hosts: Hosts, groups: Groups, host: str, listed: Any) -> dict[str, Any]:
    """Return what a host serves, as the module nfs_server takes it."""
    own = [share for share in shares(hosts=hosts, groups=groups) if share.host == host]
    by_name = {share.name: share for share in own}
    return {
        "exports": [
            {"path": share.folder, "addresses": clients(hosts=hosts, groups=groups)} for share in own
        ],
        "folders": [share.folder for share in own],
        "inside": [
            folder_of(volume, by_name[volume.share]) for volume in volumes(listed) if volume.share in by_name
        ],
    }


def _shaped(entry: Any, *, keys: Sequence[str], needed: Sequence[str], where: str) -> Iterator[str]:
    variable = where.split()[1]
    if not isinstance(entry, Mapping):
        yield f"{variable} has {entry!r}; expected entries with {', '.join(needed)}: {where}"
        return
    other = [str(key) for key in entry if key not in keys]
    missing = [key for key in needed if not isinstance(entry.get(key), str) or not entry[key]]
    if other or missing:
        seen = ", ".join([*(f"{key!r}" for key in other), *(f"no text as {key}" for key in missing)])
        yield f"{variable} has an entry with {seen}; expected {', '.join(keys)}: {where}"
        return
    if not _NAME.fullmatch(entry["name"]):
        yield (
            f"{variable} has the name {entry['name']!r}; expected at most 63 lower-case letters, digits and"
            f" hyphens: {where}"
        )


def _share_problems(share: Any) -> Iterator[str]:
    shape = list(_shaped(share, keys=_SHARE_KEYS, needed=_SHARE_KEYS, where=_SHARES_WHERE))
    yield from shape
    if not shape and not is_data_folder(share["folder"]):
        yield (
            f"storage_server_shares has {share['name']} with the folder {share['folder']!r}; expected one"
            f" such as /mnt/ssd/{share['name']}: {_SHARES_WHERE}"
        )


def _volume_problems(volume: Any) -> Iterator[str]:
    shape = list(_shaped(volume, keys=_VOLUME_KEYS, needed=("name", "size", "share"), where=_VOLUMES_WHERE))
    yield from shape
    if shape:
        return
    access, namespace = volume.get("access") or ACCESS[0], volume.get("namespace") or "default"
    for key, seen, good, expected in (
        ("size", volume["size"], bool(_SIZE.fullmatch(volume["size"])), "a size such as 10Gi"),
        ("access", access, access in ACCESS, f"one of {', '.join(ACCESS)}"),
        ("namespace", namespace, bool(_NAME.fullmatch(str(namespace))), "the name of a namespace"),
    ):
        if not good:
            yield (
                f"storage_volumes has {volume['name']} with {key} {seen!r}; expected {expected}:"
                f" {_VOLUMES_WHERE}"
            )


def server_problems(*, hosts: Hosts, groups: Groups) -> Iterator[tuple[str, str]]:
    """Say what keeps hosts from sharing folders, with the host each."""
    for host in servers(groups):
        listed = hosts[host].get("storage_server_shares") or ()
        for share in listed:
            for problem in _share_problems(share):
                yield host, problem
        address = _address(host, hosts[host])
        if listed and not is_address(address):
            yield (
                host,
                f"storage_server_address is {address!r}; expected the IPv4 address at which the nodes reach"
                " it: set storage_server_address for that host",
            )
    yield from _shared_twice(shares(hosts=hosts, groups=groups))


def _shared_twice(found: Sequence[Share]) -> Iterator[tuple[str, str]]:
    for number, share in enumerate(found):
        for other in found[:number]:
            if other.name == share.name:
                yield (
                    share.host,
                    f"storage_server_shares has {share.name}, as {other.host} has; expected a name of its own"
                    f" for each: {_SHARES_WHERE}",
                )
            elif other.host == share.host and _overlap(share.folder, other.folder):
                yield (
                    share.host,
                    f"storage_server_shares has {share.name} at {share.folder} and {other.name} at"
                    f" {other.folder}; expected folders of which none is in another: {_SHARES_WHERE}",
                )


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def client_problems(*, hosts: Hosts, groups: Groups) -> Iterator[tuple[str, str]]:
    """Say which nodes nothing can be served to, as their addresses are not set."""
    if not shares(hosts=hosts, groups=groups):
        return
    for node in rack_groups.read(groups).nodes:
        address = identity.address(node, hosts[node])
        if not is_address(address):
            yield (
                node,
                f"its address is {address!r}; expected an IPv4 address, as folders are served to those of the"
                f" nodes alone: set {identity.address_variable(hosts[node])}",
            )


def volume_problems(*, hosts: Hosts, groups: Groups, listed: Any) -> Iterator[str]:
    """Say what is wrong with the volumes."""
    for each in listed or ():
        yield from _volume_problems(each)
    there = [share.name for share in shares(hosts=hosts, groups=groups)]
    found = volumes(listed)
    for number, volume in enumerate(found):
        if volume.share not in there:
            yield (
                f"storage_volumes has {volume.name} in the share {volume.share!r}; expected one of"
                f" storage_server_shares ({', '.join(there) or 'there is none'}): {_VOLUMES_WHERE}, or add"
                " the share to a host of the group storage_server"
            )
        if volume.name in (other.name for other in found[:number]):
            yield f"storage_volumes has {volume.name} twice; expected a name for each: {_VOLUMES_WHERE}"
