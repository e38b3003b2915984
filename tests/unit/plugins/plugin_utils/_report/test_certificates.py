# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.bramble.pi.plugins.filter.report import certificate_table
from ansible_collections.bramble.pi.plugins.plugin_utils._report.certificates import table

NOW = datetime(2026, 10, 1, 12, 0, 0, tzinfo=timezone.utc)
APISERVER = {
    "name": "apiserver",
    "path": "/etc/kubernetes/pki/apiserver.crt",
    "expires": "2027-10-01T11:00:00Z",
    "days": 364,
    "error": None,
    "renewed": True,
}
KUBELET = {
    "name": "",
    "path": "/var/lib/kubelet/pki/kubelet-client-current.pem",
    "expires": "2026-09-30T12:00:00Z",
    "days": -1,
    "error": None,
    "renewed": False,
}
BROKEN = {
    **APISERVER,
    "path": "/etc/kubernetes/pki/own.crt",
    "expires": None,
    "days": None,
    "error": "no block",
}
RESULTS: dict[str, dict[str, Any]] = {
    "pi-1": {"certificates": [APISERVER, {**BROKEN, "renewed": False}], "notes": ["ca.crt ends"]},
    "pi-2": {"certificates": [KUBELET]},
    # It could not be reached.
    "pi-3": {"unreachable": True},
}


def test_what_ends_first_is_at_the_top() -> None:
    lines = table(results=RESULTS, kubeconfigs={}, now=NOW, check_mode=False)
    assert lines == [
        "HOST  CERTIFICATE                                      EXPIRES     DAYS",
        "pi-1  /etc/kubernetes/pki/own.crt                                        no block",
        "pi-2  /var/lib/kubelet/pki/kubelet-client-current.pem  2026-09-30  -1    has expired",
        "pi-1  /etc/kubernetes/pki/apiserver.crt                2027-10-01  364   renewed",
        "pi-1: ca.crt ends",
    ]
    checked = table(results=RESULTS, kubeconfigs={}, now=NOW, check_mode=True)
    assert checked[3].endswith("  would be renewed")


def test_kubeconfigs_of_the_controller(tmp_path: Path) -> None:
    """Those that are not there, or have no certificate of their own, are left out; what is broken is told."""
    with_token, broken = tmp_path / "token", tmp_path / "broken"
    with_token.write_text("users:\n- user:\n    token: x\n")
    broken.write_text("users:\n- user:\n    client-certificate-data: YQ==\n")
    lines = certificate_table({}, [], "seen", [str(with_token), str(broken), str(tmp_path / "none")])
    assert len(lines) == 2
    assert lines[1].startswith(f"this machine  {broken}")
    assert lines[1].endswith("there is no -----BEGIN CERTIFICATE----- block in the text")
