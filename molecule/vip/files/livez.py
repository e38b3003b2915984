"""Answers /livez as an API server does, with the node's name; with 500 or not at all while a file says so."""

from __future__ import annotations

import os
import ssl
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PKI = "/etc/kubernetes/pki"


class Livez(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        """Answer."""
        while os.path.exists("/run/livez-silent"):
            time.sleep(0.1)
        ill = self.path == "/livez" and os.path.exists("/run/livez-ill")
        body = os.uname().nodename.encode()
        self.send_response(500 if ill else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Threads do not wait for each other's handshakes."""

    request_queue_size = 64


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{PKI}/ca.crt", f"{PKI}/ca.key")
server = Server(("0.0.0.0", 6443), Livez)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
