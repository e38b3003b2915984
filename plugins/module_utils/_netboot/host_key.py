# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SSH host key of a node, which is the node's to write, and reaches the known_hosts of a user."""

from __future__ import annotations

import base64
import binascii
import re

from ansible_collections.bramble.pi.plugins.module_utils._netboot.system import NetbootTreeError
from ansible_collections.bramble.pi.plugins.module_utils._netboot.tree_files import TreeFiles

HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
_TYPE = "ssh-ed25519"
_LINE = re.compile(rf"{_TYPE} ([A-Za-z0-9+/]+={{0,2}})( [^\r\n]*)?\n?")
#: The length and the name of the type, and the length of the key; the key itself has 32 bytes.
_BEGINNING = b"\0\0\0\x0b" + _TYPE.encode() + b"\0\0\0\x20"


def parse_host_key(*, text: str) -> str | None:
    """Return the type and the key of a file with exactly one public key, None for anything else."""
    line = _LINE.fullmatch(text)
    if line is None:
        return None
    try:
        key = base64.b64decode(line[1], validate=True)
    except binascii.Error:
        return None
    if not key.startswith(_BEGINNING) or len(key) != len(_BEGINNING) + 32:
        return None
    return f"{_TYPE} {base64.b64encode(key).decode()}"


def read_host_key(*, root: TreeFiles, node: str) -> str:
    """Return the public key of a node's tree, with a comment that is ours."""
    text = root.read(f"{HOST_KEY}.pub")
    key = parse_host_key(text=text or "")
    if key is None:
        seen = "missing, or no file" if text is None else repr(text[:80])
        raise NetbootTreeError(
            f"{root.root}/{HOST_KEY}.pub is {seen}; expected one line with one {_TYPE} public key: look "
            "what the node has done there, and run on it as root "
            f"'ssh-keygen -y -f /{HOST_KEY} >/{HOST_KEY}.pub'"
        )
    return f"{key} root@{node}"
