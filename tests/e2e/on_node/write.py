# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes to the cluster until it is ended, and notes what the API server has taken: when, object, number.

Run on a control plane with the rate, in writes a second, and the file of the notes.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import sys
import tempfile
import threading
import time
from pathlib import Path

THREADS = 8
OBJECTS = 6
OBJECT_PATH = "/api/v1/namespaces/default/configmaps"
KUBECONFIG = Path("/etc/kubernetes/admin.conf").read_text()
WRITING = threading.Lock()


def credential(name: str) -> bytes:
    """Return what the administrator's kubeconfig has."""
    found = re.search(rf"{name}-data: (\S+)", KUBECONFIG)
    assert found is not None
    return base64.b64decode(found[1])


def connect() -> http.client.HTTPSConnection:
    """Connect to the API server as the administrator."""
    context = ssl.create_default_context(cadata=credential("certificate-authority").decode())
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(credential("client-certificate") + credential("client-key"))
        file.flush()
        context.load_cert_chain(file.name)
    found = re.search(r"server: https://(.*):(\d+)", KUBECONFIG)
    assert found is not None
    return http.client.HTTPSConnection(found[1], int(found[2]), context=context, timeout=60)


def write(thread: int, rate: float, notes: str) -> None:
    """Write objects one after the other, each time with the next number."""
    connection, number, due = connect(), 0, time.monotonic()
    with open(notes, "a", buffering=1, encoding="utf-8") as file:
        while True:
            for each in range(OBJECTS):
                name = f"written-{thread}-{each}"
                content = {
                    "metadata": {"name": name, "labels": {"app": "written"}},
                    "data": {"number": str(number)},
                }
                method, path = ("PUT", f"{OBJECT_PATH}/{name}") if number else ("POST", OBJECT_PATH)
                connection.request(method, path, json.dumps(content), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                assert answer.status < 300, (answer.status, name, number)
                with WRITING:
                    file.write(f"{time.time():.3f} {name} {number}\n")
                due += THREADS / rate
                time.sleep(max(0, due - time.monotonic()))
            number += 1


for number in range(THREADS):
    threading.Thread(target=write, args=(number, float(sys.argv[1]), sys.argv[2])).start()
