# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that is asked, by a socket of this machine."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._nfs import ask

ACCEPTED = struct.pack(">7I", 1 << 31 | 24, 0x62726D62, 1, 0, 0, 0, 0)


@contextmanager
def server(answer: bytes, heard: list[bytes]) -> Iterator[int]:
    """Answer one call, in two parts as a network may."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _peer = listening.accept()
            with connection:
                heard.append(connection.recv(100))
                for part in (answer[:7], answer[7:]):
                    connection.sendall(part)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (ACCEPTED, None),
        (b"", "what it says is no answer of an NFS server"),
        (b"HTTP/1.1 400 Bad Request\r\n", "what it says is no answer of an NFS server"),
        (ACCEPTED.replace(b"brmb", b"bram"), "what it says is no answer of an NFS server"),
    ],
)
def test_what_answers(answer: bytes, problem: str | None) -> None:
    heard: list[bytes] = []
    with server(answer, heard) as port:
        assert ask.problem("127.0.0.1", port=port) == problem
    # The call of the program NFS, version 4, that does nothing.
    assert struct.unpack(">7I", heard[0][:28])[4:] == (100003, 4, 0)
    assert len(heard[0]) == 44


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert ask.problem("127.0.0.1", port=port) == "Connection refused"
