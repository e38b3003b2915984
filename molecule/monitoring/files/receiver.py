"""Receives webhooks and mail, and writes each down as a line of JSON.

python3 receiver.py FILE
"""

import http.server
import json
import sys

from aiosmtpd.controller import Controller

PATH = sys.argv[1]


def note(**what):
    """Write down what came."""
    with open(PATH, "a", encoding="utf-8") as file:
        file.write(json.dumps(what) + "\n")


class Webhook(http.server.BaseHTTPRequestHandler):
    """Takes what alertmanager sends."""

    def do_POST(self):
        """Take one message."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        note(path=self.path, webhook=json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments):
        """Say nothing."""


class Mailbox:
    """Takes mail."""

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - the library's name
        """Take one message."""
        note(to=envelope.rcpt_tos, mail=envelope.content.decode("utf-8", "replace"))
        return "250 OK"


open(PATH, "a", encoding="utf-8").close()
Controller(Mailbox(), hostname="127.0.0.1", port=2525).start()
http.server.HTTPServer(("127.0.0.1", 8025), Webhook).serve_forever()
