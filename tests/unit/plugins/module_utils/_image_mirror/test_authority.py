# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.unattended import run_command
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror import authority

HOSTS = ["127.0.0.1", "pi-1"]
OWNER = (os.getuid(), os.getgid())


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    found = {}
    for name, file in (
        ("CA", "ca.crt"),
        ("CA_KEY", "ca.key"),
        ("CERTIFICATE", "tls.crt"),
        ("KEY", "tls.key"),
    ):
        found[name] = tmp_path / "mirror" / file
        monkeypatch.setattr(authority, name, str(found[name]))
    real = authority._put

    def put(path: str, source: str, *, mode: int, owner: tuple[int, int]) -> None:
        # Only root gives files away.
        real(path, source, mode=mode, owner=owner if os.getuid() == 0 else OWNER)

    monkeypatch.setattr(authority, "_put", put)
    return found


def ensure(*, check: bool = False, hosts: list[str] | None = None) -> tuple[bool, list[str]]:
    changes = Changes(check_mode=check)
    signed = authority.Authority(run=run_command, changes=changes).ensure(hosts=hosts or HOSTS, owner=OWNER)
    return signed, changes.sentences


def test_it_is_made_once_and_signs_again_when_it_is_due(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ensure(check=True)[0]
    assert not any(path.exists() for path in files.values())
    assert ensure() == (
        True,
        [f"make the authority {files['CA']}", f"sign {files['CERTIFICATE']} for 127.0.0.1, pi-1"],
    )
    verify = [
        "openssl",
        "verify",
        "-CAfile",
        str(files["CA"]),
        "-verify_hostname",
        "pi-1",
        str(files["CERTIFICATE"]),
    ]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    assert [files[name].stat().st_mode & 0o777 for name in ("CA_KEY", "KEY")] == [0o600, 0o600]
    assert ensure(check=True) == ensure() == (False, [])
    former = files["CA"].read_bytes()
    # Another address.
    assert ensure(hosts=["127.0.0.2", "pi-1"])[0]
    assert ensure(hosts=["127.0.0.2", "pi-1"]) == (False, [])
    # It ends soon.
    monkeypatch.setattr(authority, "RENEW_BEFORE_DAYS", authority._DAYS + 1)
    assert ensure(hosts=["127.0.0.2", "pi-1"])[0]
    assert files["CA"].read_bytes() == former


@pytest.mark.parametrize("left", ["CA_KEY", "CA", "KEY"])
def test_a_run_that_was_killed_is_finished(
    files: dict[str, Path], left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if left == "KEY":
        ensure()
    put = authority._put

    def dying(path: str, source: str, *, mode: int, owner: tuple[int, int]) -> None:
        put(path, source, mode=mode, owner=owner)
        if path == str(files[left]):
            raise KeyboardInterrupt

    monkeypatch.setattr(authority, "_put", dying)
    with pytest.raises(KeyboardInterrupt):
        ensure(hosts=["10.0.0.1"])
    monkeypatch.setattr(authority, "_put", put)
    assert ensure(hosts=["10.0.0.1"])[0]
    assert ensure(hosts=["10.0.0.1"]) == (False, [])
    verify = [
        "openssl",
        "verify",
        "-CAfile",
        str(files["CA"]),
        "-verify_ip",
        "10.0.0.1",
        str(files["CERTIFICATE"]),
    ]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
