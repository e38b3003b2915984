# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a server of NFS 4 whether it answers."""

from __future__ import annotations

import socket
import struct

from ansible_collections.bramble.pi.plugins.module_utils._nfs.configuration import PORT

_CALL, _REPLY, _ACCEPTED = 0, 1, 0
_PROGRAM, _VERSION, _NULL = 100003, 4, 0
_LAST_FRAGMENT = 1 << 31
_ID = 0x62726D62


def question() -> bytes:
    """Return the call that does nothing but be answered. https://www.rfc-editor.org/rfc/rfc5531"""
    call = struct.pack(">10I", _ID, _CALL, 2, _PROGRAM, _VERSION, _NULL, 0, 0, 0, 0)
    return struct.pack(">I", _LAST_FRAGMENT | len(call)) + call


def is_answer(data: bytes) -> bool:
    """Tell whether that is the answer to it."""
    return len(data) >= 16 and struct.unpack(">3I", data[4:16]) == (_ID, _REPLY, _ACCEPTED)


def problem(address: str, *, port: int = PORT, seconds: float = 5) -> str | None:
    """Say why a server does not answer; None if it does."""
    try:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            connection.sendall(question())
            connection.settimeout(seconds)
            answer = b""
            while len(answer) < 16 and (part := connection.recv(64)):
                answer += part
    except OSError as error:
        return error.strerror or str(error)
    return None if is_answer(answer) else "what it says is no answer of an NFS server"
