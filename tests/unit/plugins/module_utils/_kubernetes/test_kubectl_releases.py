# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node is drained and given back with is accepted by kubectl as Debian's releases have it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import drain

from tests import debian
from tests.unit.plugins.module_utils._kubernetes.test_drain import DAEMON, DEPLOYED, EMPTYDIR, pod
from tests.unit.plugins.module_utils._kubernetes.test_maintenance import Cluster

#: The package that has kubectl, and its version; that of sid grows.
RELEASES = {
    "bookworm": ("kubernetes-client", r"v1\.20\."),
    "trixie": ("kubectl", r"v1\.32\."),
    "sid": ("kubectl", r"v1\.(3[6-9]|[4-9]\d)\."),
}


class Words(Cluster):
    """Notes down all that kubectl is given."""

    def __init__(self) -> None:
        super().__init__(pod(DEPLOYED, volumes=EMPTYDIR), pod(DAEMON))
        self.given: list[list[str]] = []

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.given.append(command)
        return super().run(command)


@pytest.mark.long
@pytest.mark.parametrize("release", RELEASES)
def test_debian_s_kubectl_accepts_what_it_is_given(release: str, tmp_path: Path) -> None:
    package, version = RELEASES[release]
    kubectl = debian.package(package, release=release) / "usr/bin/kubectl"
    told = json.loads(subprocess.check_output([kubectl, "version", "--client", "--output=json"]))
    assert re.match(version, told["clientVersion"]["gitVersion"])
    cluster = Words()
    cluster.minor = told["clientVersion"]["minor"]
    cluster.begin(consent=drain.Consent(bare_pods=True, emptydir_data=True))
    cluster.end()
    # Nobody listens there: what is not refused before is accepted.
    nowhere = {"cluster": {"server": "http://127.0.0.1:9"}, "name": "nowhere"}
    context = {"context": {"cluster": "nowhere", "user": ""}, "name": "nowhere"}
    kubeconfig = {"clusters": [nowhere], "contexts": [context], "current-context": "nowhere"}
    (tmp_path / "conf").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **kubeconfig}))
    verbs = set()
    for command in cluster.given:
        words = [str(kubectl), *command[4:]]
        assert words[1:3] == ["--kubeconfig", "/k"]
        words[2] = str(tmp_path / "conf")
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        verbs.add(words[4])
        if words[4] == "version":
            assert done.returncode == 0, done.stderr
        else:
            assert "127.0.0.1:9 was refused" in done.stderr, (words, done.stderr)
            assert not re.search("deprecated|unknown flag|invalid", done.stderr, re.IGNORECASE), done.stderr
    assert verbs == {"get", "patch", "drain", "version"}
