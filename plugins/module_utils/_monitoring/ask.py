# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask Prometheus, from the host that it runs on."""

from __future__ import annotations

import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError

from ansible.module_utils.urls import open_url
from ansible_collections.bramble.pi.plugins.module_utils._monitoring import day

#: A rack of a hundred nodes answers with less than 4 MB.
_BYTES = 32 * 1024 * 1024
_SECONDS = 60


def _answer(url: str) -> bytes:
    try:
        # The host is this one, which no proxy knows.
        return bytes(open_url(url, use_proxy=False, timeout=_SECONDS).read(_BYTES))
    except HTTPError as error:
        # What is wrong with a query stands in the body.
        return bytes(error.read(_BYTES))


def ask_for_the_day(url: str, now: float | None = None) -> dict[str, Any]:
    """Ask how the nodes were in the last day."""
    start = day.start_of(time.time() if now is None else now)
    answers = {}
    for name, query in day.QUERIES.items():
        try:
            answers[name] = day.parse(_answer(url + day.query_path(query, start)), start)
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise day.DayError(
                f"Prometheus at {url} does not answer ({reason}); expected it to run there: {day.REMEDY}"
            ) from error
    return day.read(answers, start)
