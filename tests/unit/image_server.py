# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP server for tests of downloads, which can be as bad as real ones are."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import re
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 1 << 14


class ImageServer:
    """What is served, how, and what was asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.statuses: dict[str, int] = {}
        #: Answers to the next requests, each with its header Retry-After, before anything is served.
        self.busy: list[tuple[int, str | None]] = []
        #: Headers of files beside, or instead of, the usual ones.
        self.headers: dict[str, str] = {}
        #: The header by which versions are told, and its value; by default an ETag of the content.
        self.version: tuple[str, str] | None = None
        self.send_version = True
        self.ranges = True
        self.honour_if_range = True
        #: After how many bytes of the body the next answers break off.
        self.cuts: list[int] = []
        #: Whether a broken answer keeps the connection open and silent.
        self.hang = False
        #: Bytes for each second.
        self.rate: int | None = None
        #: Method, path, range asked for.
        self.requests: list[tuple[str, str, str | None]] = []

    def version_of(self, content: bytes) -> tuple[str, str]:
        return self.version or ("ETag", f'"{hashlib.sha256(content).hexdigest()[:8]}"')

    def gets(self, path: str) -> list[str | None]:
        """Return the ranges in which a file was asked for."""
        return [asked for method, name, asked in self.requests if (method, name) == ("GET", path)]


def _handler(server: ImageServer, stopping: threading.Event) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            server.requests.append((self.command, self.path, self.headers.get("Range")))
            self.close_connection = True
            if server.busy:
                status, retry_after = server.busy.pop(0)
                self.send_response(status)
                if retry_after is not None:
                    self.send_header("Retry-After", retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if self.path in server.redirects:
                self.send_response(302)
                self.send_header("Location", server.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = server.files.get(self.path)
            if content is None or self.path in server.statuses:
                self.send_response(server.statuses.get(self.path, 404))
                self.send_header("Retry-After", "0")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = self.start(content)
            if start >= len(content) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if server.send_version:
                self.send_header(*server.version_of(content))
            for name, value in {"Content-Length": str(len(content) - start), **server.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                with contextlib.suppress(ConnectionError):
                    self.send_body(content[start:])

        def start(self, content: bytes) -> int:
            """Return from where on the content is to be sent."""
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if match is None or not server.ranges:
                return 0
            condition = self.headers.get("If-Range")
            if condition and server.honour_if_range and condition != server.version_of(content)[1]:
                return 0
            return int(match[1])

        def send_body(self, body: bytes) -> None:
            is_image = len(body) > 1000
            cut = server.cuts.pop(0) if server.cuts and is_image else None
            body = body[:cut]
            for first in range(0, len(body), _CHUNK):
                self.wfile.write(body[first : first + _CHUNK])
                if server.rate and is_image:
                    time.sleep(_CHUNK / server.rate)
            if cut is not None and server.hang:
                stopping.wait()

    return Handler


@contextlib.contextmanager
def image_server(*, certificate: tuple[Path, Path] | None = None) -> Iterator[ImageServer]:
    """Serve until the test is over, by https if there is a certificate with its key for localhost."""
    server = ImageServer()
    stopping = threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(server, stopping)) as serving:
        serving.daemon_threads = True
        server.url = f"http://127.0.0.1:{serving.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            serving.socket = context.wrap_socket(serving.socket, server_side=True)
            server.url = f"https://localhost:{serving.server_port}"
        threading.Thread(target=serving.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield server
        finally:
            stopping.set()
            serving.shutdown()
