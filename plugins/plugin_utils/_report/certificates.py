# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of all certificates of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import certificates

HERE = "this machine"
_COLUMNS = ("HOST", "CERTIFICATE", "EXPIRES", "DAYS", "")
#: What cannot be read stands first, as it helps nobody.
_UNREADABLE = ("", "")


def _row(host: str, entry: Mapping[str, Any], *, check_mode: bool) -> tuple[str, ...]:
    if entry.get("error"):
        return (host, str(entry["path"]), *_UNREADABLE, str(entry["error"]))
    said = ""
    if entry.get("renewed"):
        said = "would be renewed" if check_mode else "renewed"
    elif entry["days"] < 0:
        said = "has expired"
    return (host, str(entry["path"]), str(entry["expires"])[:10], str(entry["days"]), said)


def of_kubeconfigs(texts: Mapping[str, str], *, now: datetime) -> Iterator[dict[str, Any]]:
    """Read the client certificates of kubeconfigs, by their paths; those without one are left out."""
    for path, text in texts.items():
        try:
            pem = certificates.client_certificate(kubeconfig=text)
            if pem is not None:
                _begins, expires = certificates.period(pem=pem)
                yield {"path": path, "expires": f"{expires:%Y-%m-%d}", "days": (expires - now).days}
        except certificates.CertificateError as error:
            yield {"path": path, "error": str(error)}


def table(
    *,
    results: Mapping[str, Mapping[str, Any]],
    kubeconfigs: Mapping[str, str],
    now: datetime,
    check_mode: bool,
) -> list[str]:
    """Return the lines of the table, what ends first at the top."""
    found = [(host, entry) for host, result in results.items() for entry in result.get("certificates") or ()]
    found += [(HERE, entry) for entry in of_kubeconfigs(kubeconfigs, now=now)]
    # Those of one day in the order in which they were found.
    found.sort(key=lambda each: -1_000_000 if each[1].get("error") else int(each[1]["days"]))
    rows = [_COLUMNS, *(_row(host, entry, check_mode=check_mode) for host, entry in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    notes: Sequence[str] = [
        f"{host}: {note}" for host, result in results.items() for note in result.get("notes") or ()
    ]
    return [*lines, *notes]
