# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands for an API server: notes what it is asked, and takes WebSockets of any Origin, as that does."""

from __future__ import annotations

import os
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

WHERE, ASKED = sys.argv[1:]


class Api(BaseHTTPRequestHandler):
    """Answers."""

    protocol_version = "HTTP/1.1"

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.note()
        if self.headers.get("Upgrade") and self.path != "/version":
            self.send_response(101)
            self.send_header("Upgrade", self.headers["Upgrade"])
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(b"secret " + self.rfile.readline())
            self.close_connection = True
        elif "watch" in self.path:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(2):
                self.wfile.write(b"6\r\nevent%d\r\n" % number)
                self.wfile.flush()
                time.sleep(0.5)
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.answer(b"nodes\n")

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        self.note()
        self.answer(b"%d bytes\n" % len(body))

    def do_PUT(self) -> None:
        """Refuse, and read nothing of the body, as Go's servers do when the connection ends with it."""
        self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\nrefused\n")
        self.close_connection = True

    def note(self) -> None:
        # As Go's servers have it, in a list too.
        if "close" in self.headers.get("Connection", ""):
            self.close_connection = True
        with Path(ASKED).open("a") as file:
            file.write(f"{self.command} {self.path}\n")

    def address_string(self) -> str:
        return ""

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


class OfSockets(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class OfPorts(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


if WHERE.isdigit():
    OfPorts(("127.0.0.1", int(WHERE)), Api).serve_forever()
elif not os.path.exists(WHERE):
    OfSockets(WHERE, Api).serve_forever()
