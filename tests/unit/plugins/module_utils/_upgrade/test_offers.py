# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How repositories of other minors are read, without the node's own sources."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common import apt_repository
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import Version
from ansible_collections.bramble.pi.plugins.module_utils._upgrade import offers

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQEN\n-----END PGP PUBLIC KEY BLOCK-----\n"


class Apt:
    """What apt prints, by the minor in its source."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.sources: list[str] = []

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        settings = dict(word.split("=", 1) for word in command if word.startswith("Dir::"))
        source = Path(settings["Dir::Etc::sourcelist"]).read_text()
        if command[0] == "apt-get":
            self.sources.append(source)
            assert Path(settings["Dir::State::lists"], "partial").is_dir()
            return (
                (100, "", "E: Failed to fetch it  404  Not Found\n") if "/v1.22/" in source else (0, "", "")
            )
        rows = [
            *(("kubelet", f"1.21.{patch}-1.1") for patch in (4, 3, 0)),
            *((name, f"1.21.{patch}-1.1") for name in ("kubeadm", "kubectl") for patch in (4, 0)),
            ("kubelet", "1.21.5~rc.0-1.1"),
        ]
        return (
            0,
            "".join(f"{name} | {version} | http://mirror/v1.21 Packages\n" for name, version in rows),
            "",
        )


def test_reads_what_all_packages_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt_repository, "download", lambda *, url, path, variable: Path(path).write_text(KEY))
    apt, warnings = Apt(), []  # type: ignore[var-annotated]
    found = offers.read(
        minors=[(1, 21), (1, 22)],
        repository="http://mirror/v{minor}/",
        key=None,
        run=apt,
        warn=warnings.append,
    )
    assert found.versions == {(1, 21): [Version(1, 21, 0), Version(1, 21, 4)]}
    (reason,) = found.unread.values()
    assert "404  Not Found" in reason
    assert "set kube_packages_version to a minor that there is, or kube_packages_repository" in reason
    # The key came over http; told once for each address.
    assert len(warnings) == 2
    assert all("Dir::Etc::sourceparts=/dev/null" in command for command in apt.commands)
    assert [line for source in apt.sources for line in source.splitlines() if line.startswith("URIs")] == [
        "URIs: http://mirror/v1.21/",
        "URIs: http://mirror/v1.22/",
    ]


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="there is no apt here")
def test_what_the_node_has_apt_run_after_an_update_is_not_run(tmp_path: Path) -> None:
    """Such as the stamp of Ubuntu that says when lists were fetched, or docker-clean."""
    own = tmp_path / "own.conf"
    hooks = ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")
    own.write_text("".join(f'APT::Update::{hook} {{"touch /tmp/stamp";}};\n' for hook in hooks))
    environment = {**os.environ, "APT_CONFIG": str(own)}

    def dump(*options: str) -> str:
        command = ["apt-config", *options, "dump"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert "touch /tmp/stamp" in dump()
    options = offers._options(str(tmp_path), "/dev/null")
    assert "APT::Update::Post-Invoke::" not in (told := dump(*options)), told
    assert "touch /tmp/stamp" not in told
