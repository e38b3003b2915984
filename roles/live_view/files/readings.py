# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what the live page shows of boards beside the API: how warm they are, and why they are slowed down.

    readings.py http://10.0.0.10:9090 /run/readings/boards.json

asks Prometheus one question, always the same, every fifteen seconds, and writes what the page needs of the
answer. So whoever sees the page sees these two of each board, and nothing else that Prometheus has. Without
an answer nothing is written; the page sees by the file's time that it is old.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import urllib.parse
import urllib.request
from http.client import HTTPException

EVERY_SECONDS = 15
PATIENCE_SECONDS = 5
BYTES = 1024 * 1024
#: What a node's own collector wrote last is not true any more once it is not examined.
EXAMINED = 'unless on (node) ALERTS{alertname="BrambleNotExamined"}'
QUERY = (
    f"max by (node) (bramble_temperature_celsius {EXAMINED})"
    f' or max by (node, reason) (bramble_throttled{{when="now"}} > 0 {EXAMINED})'
)


def readings(text: bytes) -> dict[str, dict[str, object]]:
    """Return the temperature of each node, if it is known, and the reasons for which it is slowed down."""
    temperatures: dict[str, float] = {}
    reasons: dict[str, list[str]] = {}
    for series in json.loads(text)["data"]["result"]:
        labels, value = series["metric"], float(series["value"][1])
        node = str(labels["node"])
        if "reason" in labels:
            reasons.setdefault(node, []).append(str(labels["reason"]))
        elif math.isfinite(value):
            temperatures[node] = value
    return {
        node: {"temperature": temperatures.get(node), "throttled": sorted(reasons.get(node, []))}
        for node in sorted({*temperatures, *reasons})
    }


def write(path: str, found: dict[str, dict[str, object]]) -> None:
    """Replace the file, so that whoever reads it has one or the other."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.chmod(f"{path}.new", 0o644)
    os.replace(f"{path}.new", path)


def ask(url: str) -> bytes:
    """Ask Prometheus."""
    # It is in the rack, of which no proxy knows.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    query = urllib.parse.urlencode({"query": QUERY})
    with opener.open(f"{url}/api/v1/query?{query}", timeout=PATIENCE_SECONDS) as answer:
        return bytes(answer.read(BYTES))


def main(url: str, path: str) -> None:
    """Ask and write for ever; tell when that begins to fail, and when it is well again."""
    said = "nothing yet"
    while True:
        try:
            write(path, readings(ask(url)))
            says = "answers"
        except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
            says = f"gives no temperatures: {error!r}"
        if says != said:
            print(f"Prometheus at {url} {says}", file=sys.stderr, flush=True)
            said = says
        time.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
