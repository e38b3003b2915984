"""Web server that answers with the address that the request came from."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WhoAsks(BaseHTTPRequestHandler):
    """Says who asks."""

    def do_GET(self) -> None:
        """Answer with the client's address."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())


ThreadingHTTPServer(("", 80), WhoAsks).serve_forever()
