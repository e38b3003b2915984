# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings of the NFS servers that a node uses, or is itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.bramble.pi.plugins.module_utils._node.findings import ERROR, Finding, finding


def check_nfs(unhealthy: Sequence[Mapping[str, str]]) -> Iterator[Finding]:
    """Say which of them do not answer, and which folders are gone."""
    for each in unhealthy:
        yield finding(
            "nfs",
            ERROR,
            evidence=f"{each['what']} {each['seen']}",
            expected="an NFS server that answers, with the folders that it serves",
            what=each["what"],
        )
