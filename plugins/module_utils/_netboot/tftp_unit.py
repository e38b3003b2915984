# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit that serves boot files by TFTP, and sees no other file of its server.

A node writes to its part of the files over NFS, links included, and the server follows them: dnsmasq has no
switch for that. So it runs where there is nothing for them to lead to.
"""

from __future__ import annotations

import re

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED
from ansible_collections.bramble.pi.plugins.module_utils._network import interface_names

NAME = "bramble-tftp.service"
PATH = f"/etc/systemd/system/{NAME}"
#: What the unit sees nothing of; the node's own, as an example.
HIDDEN = "/etc"

#: What systemd takes for nothing else in a unit.
_FOLDER = re.compile(r"/[\w/.,+@=~-]*")

#: Where the program's libraries are, and what loads them; a server has those of one or two.
#: https://wiki.debian.org/Multiarch/Tuples
_LOADERS = {
    "aarch64-linux-gnu": "/lib/ld-linux-aarch64.so.1",
    "arm-linux-gnueabihf": "/lib/ld-linux-armhf.so.3",
    "i386-linux-gnu": "/lib/ld-linux.so.2",
    "riscv64-linux-gnu": "/lib/ld-linux-riscv64-lp64d.so.1",
    "x86_64-linux-gnu": "/lib64/ld-linux-x86-64.so.2",
}


class TftpError(BrambleError):
    """The files cannot be served so."""


def check(*, folder: str, interface: str) -> None:
    """Refuse names that would mean something else in a unit."""
    if not _FOLDER.fullmatch(folder):
        raise TftpError(
            f"dir is {folder!r}; expected the whole path of a folder, of letters, digits and "
            "'/.,+@=~_-': set netboot_tree_dir"
        )
    problem = interface_names.problem(interface, variable="netboot_server_interface")
    if problem:
        raise TftpError(problem)


def unit_text(*, folder: str, real_folder: str, interface: str) -> str:
    """Write the unit; ``real_folder`` is where ``folder`` is, should there be a link on the way to it."""
    options = [
        "--conf-file=/dev/null",
        # Neither of its own: systemd gives the user, and knows the process.
        "--user=",
        "--pid-file=",
        "--port=0",
        f"--interface={interface}",
        "--except-interface=lo",
        # The address may come later, and change.
        "--bind-dynamic",
        "--enable-tftp",
        f"--tftp-root={folder}",
    ]
    libraries = [
        path
        for architecture, loader in _LOADERS.items()
        for path in (f"/lib/{architecture}", f"/usr/lib/{architecture}", loader)
    ]
    # ProtectSystem=strict, which DynamicUser=yes brings, would undo TemporaryFileSystem=/.
    return f"""{MANAGED}[Unit]
Description=Boot files for nodes without cards (TFTP)
After=network.target
# The folder is looked up once; what was mounted over it later would not be seen.
RequiresMountsFor={" ".join(dict.fromkeys((folder, real_folder)))}

[Service]
Type=forking
ExecStart=/usr/sbin/dnsmasq {" ".join(options)}
Restart=on-failure
RestartSec=5
User=dnsmasq
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
# Nodes write to the folder: their links lead to nothing else, and their devices open nothing.
DevicePolicy=closed
TemporaryFileSystem=/:ro
BindReadOnlyPaths={folder}
BindReadOnlyPaths=/usr/sbin/dnsmasq /dev/null /dev/urandom -/dev/log
BindReadOnlyPaths={" ".join(f"-{path}" for path in libraries)}

[Install]
WantedBy=multi-user.target
"""
