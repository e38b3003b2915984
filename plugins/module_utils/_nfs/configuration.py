# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is served by NFS 4.1, and the files that tell so to the kernel's server and to nfs-ganesha."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

PORT = 2049
#: Who serves: roles, each with what it serves, noted in a file of its own.
RECORDS = "/var/lib/bramble/nfs"
GANESHA = "/etc/ganesha/ganesha.conf"
EXPORTS = "/etc/exports.d/bramble.exports"
SETTINGS = "/etc/nfs.conf.d/bramble.conf"
#: Those of roles that had files of their own.
OLD_FILES = (
    "/etc/exports.d/bramble-netboot.exports",
    "/etc/nfs.conf.d/bramble-netboot.conf",
    "/etc/systemd/system/nfs-server.service.d/bramble-netboot.conf",
    "/etc/systemd/system/nfs-ganesha.service.d/bramble-netboot.conf",
)
#: How each file begins.
WRITTEN = "# Written by the collection bramble.pi; changes are overwritten.\n"
#: Numbers of exports, of which ganesha has 0 for itself.
_NUMBERS = 65535


class Export(NamedTuple):
    """A folder that is served, and the addresses that it is for."""

    path: str
    addresses: tuple[str, ...]


class Served(NamedTuple):
    """What one role serves."""

    #: The variables of the role begin with it.
    owner: str
    #: kernel or ganesha.
    kind: str
    #: Where it listens.
    address: str
    exports: tuple[Export, ...]


class Kind(NamedTuple):
    """A server of NFS."""

    unit: str
    packages: tuple[str, ...]

    @property
    def drop_in(self) -> str:
        """The file that has it wait for the network and disks."""
        return f"/etc/systemd/system/{self.unit}.d/bramble.conf"


KINDS = {
    # nfs-kernel-server.service is only another name of it, which systemd does not enable by.
    "kernel": Kind("nfs-server.service", ("nfs-kernel-server",)),
    "ganesha": Kind("nfs-ganesha.service", ("nfs-ganesha", "nfs-ganesha-vfs")),
}


def record(served: Served) -> str:
    """Return what is noted of what a role serves."""
    exports = [{"path": each.path, "addresses": list(each.addresses)} for each in served.exports]
    return json.dumps({"kind": served.kind, "address": served.address, "exports": exports}, indent=2) + "\n"


def parse_record(*, owner: str, text: str | None) -> Served | None:
    """Read what is noted of what a role serves; None if nothing is, or not as a run writes it."""
    try:
        found: Mapping[str, Any] = json.loads(text or "")
        exports = tuple(Export(each["path"], tuple(each["addresses"])) for each in found["exports"])
        return Served(owner, found["kind"], found["address"], exports)
    except (ValueError, KeyError, TypeError):
        return None


def conflicts(served: Served, others: Iterable[Served]) -> list[str]:
    """Say why one server cannot serve all of it; each is told with the variable that fixes it."""
    found = []
    for other in others:
        for name, seen, expected in (
            ("address", served.address, other.address),
            ("nfs", served.kind, other.kind),
        ):
            if seen != expected:
                found.append(
                    f"{served.owner}_{name} is {seen}, and what {other.owner} serves on this host by the same"
                    f" NFS server has {expected}; expected one for both: set {served.owner}_{name} to"
                    f" {expected}"
                )
        ours = {each.path for each in served.exports}
        found += [
            f"{each.path} is served by {other.owner} already; expected folders of its own for {served.owner}"
            for each in other.exports
            if each.path in ours
        ]
    return found


def numbers(paths: Iterable[str]) -> dict[str, int]:
    """Give each path a number of its own, which stays while others come and go.

    Clients have the number in the handles of the files that they have open.
    """
    taken: dict[int, str] = {}
    for path in sorted(paths):
        number = zlib.crc32(path.encode()) % _NUMBERS
        while number + 1 in taken:
            number = (number + 1) % _NUMBERS
        taken[number + 1] = path
    return {path: number for number, path in taken.items()}


def kernel_exports(exports: Iterable[Export]) -> str:
    """Return what the kernel's server is told of what it serves to whom."""
    options = "(rw,sync,no_root_squash,no_subtree_check)"
    lines = (
        f"{each.path} {' '.join(address + options for address in each.addresses)}\n"
        for each in exports
        # Without one it would be for everybody.
        if each.addresses
    )
    return WRITTEN + "".join(lines)


def kernel_settings(address: str) -> str:
    """Return the settings of the kernel's server."""
    return f"""{WRITTEN}[nfsd]
host={address}
vers3=n
vers4=y
vers4.1=y
# Nodes wait that long when the server comes back, instead of 90 s.
grace-time=15
lease-time=15
"""


_GANESHA = """NFS_CORE_PARAM {{
  Protocols = 4;
  Bind_addr = {address};
  NFS_Port = 2049;
  Enable_NLM = false;
  Enable_RQUOTA = false;
}}
NFSV4 {{
  # Nodes go on at once when the server comes back.
  Graceless = true;
  Minor_Versions = 0, 1, 2;
  Only_Numeric_Owners = true;
}}
NFS_KRB5 {{
  Active_krb5 = false;
}}
EXPORT_DEFAULTS {{
  # What is not let in below is let in nowhere.
  Access_Type = None;
  SecType = sys;
  Protocols = 4;
  Transports = TCP;
}}
"""
_GANESHA_EXPORT = """EXPORT {{
  Export_Id = {number};
  Path = {path};
  Pseudo = {path};
  FSAL {{ Name = VFS; }}
  CLIENT {{
    Clients = {addresses};
    Access_Type = RW;
    Squash = No_Root_Squash;
    Protocols = 4;
  }}
}}
"""


def ganesha(*, address: str, exports: Sequence[Export]) -> str:
    """Return the configuration of nfs-ganesha."""
    number = numbers(each.path for each in exports)
    blocks = (
        _GANESHA_EXPORT.format(number=number[each.path], path=each.path, addresses=", ".join(each.addresses))
        for each in exports
        if each.addresses
    )
    return WRITTEN + _GANESHA.format(address=address) + "".join(blocks)


def files(served: Sequence[Served]) -> dict[str, str]:
    """Return the files of the server that serves all of it, by path; the kinds and addresses are the same."""
    kind, address = served[0].kind, served[0].address
    exports = [export for each in served for export in each.exports]
    if kind == "kernel":
        return {EXPORTS: kernel_exports(exports), SETTINGS: kernel_settings(address)}
    return {GANESHA: ganesha(address=address, exports=exports)}


def drop_in(mounts: Iterable[str]) -> str:
    """Return what the unit of the server waits for; ``mounts`` are units of disks that it serves."""
    after = " ".join(["network-online.target", *sorted(mounts)])
    return f"""{WRITTEN}# The address that it listens at comes with the network; without it the service fails.
[Unit]
Wants=network-online.target
After={after}

[Service]
Restart=on-failure
RestartSec=5
"""
