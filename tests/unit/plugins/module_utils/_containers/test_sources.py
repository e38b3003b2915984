# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each source of containerd takes on a node, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.apt import Package
from ansible_collections.bramble.pi.plugins.module_utils._containers import sources

NEW = Package("2.2.1-1~debian.13~trixie", held=False, broken=False)
OLD = NEW._replace(version="1.7.28-1~debian.13~trixie")
HELD = NEW._replace(version="26.1.5+dfsg1-9", held=True)
DOCKERS = dict.fromkeys(sources.DOCKERS_OWN, NEW)
ARCHIVES = {part: {"url": f"http://x/{part}", "sha256": f"AB-{part}"} for part in sources.PARTS}
RECEIPT = {part: f"ab-{part}" for part in sources.PARTS}


@pytest.mark.parametrize(
    ("installed", "missing"),
    [
        ({}, ["containerd.io", "docker-ce", "docker-ce-cli"]),
        ({"docker.io": HELD, "containerd": OLD}, ["containerd.io", "docker-ce", "docker-ce-cli"]),
        (DOCKERS, []),
        ({**DOCKERS, "containerd.io": OLD}, ["containerd.io"]),
        ({**DOCKERS, "docker-ce": NEW._replace(broken=True)}, ["docker-ce"]),
        ({"containerd.io": NEW}, ["docker-ce", "docker-ce-cli"]),
    ],
)
def test_which_of_dockers_packages_are_missing(installed: dict[str, Package], missing: list[str]) -> None:
    assert sources.missing_packages(installed=installed) == missing


# Of apt 3.0 on trixie.
SIMULATED = """\
NOTE: This is only a simulation!
Remv docker.io [26.1.5+dfsg1-9+b10]
Remv containerd [1.7.24~ds1-6+b4]
Remv runc [1.1.15+ds1-2+b4]
Inst containerd.io (2.2.1-1~debian.13~trixie Docker CE:trixie [amd64])
Conf containerd.io (2.2.1-1~debian.13~trixie Docker CE:trixie [amd64])
"""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (SIMULATED, []),
        (SIMULATED + "Remv podman [5.4.2+ds1-2+b1]\nPurg whale [1]\n", ["podman", "whale"]),
        ("", []),
    ],
)
def test_what_apt_would_remove_beside(text: str, names: list[str]) -> None:
    assert sources.in_the_way(simulated=text) == names


@pytest.mark.parametrize(
    ("archives", "receipt", "installed", "due"),
    [
        (ARCHIVES, {}, [], ["containerd", "runc", "cni_plugins"]),
        (ARCHIVES, {}, ["kubernetes-cni"], ["containerd", "runc"]),
        (ARCHIVES, RECEIPT, [], []),
        (ARCHIVES, {**RECEIPT, "runc": "cd"}, [], ["runc"]),
        ({**ARCHIVES, "cni_plugins": {"url": "", "sha256": ""}}, {}, [], ["containerd", "runc"]),
        ({}, {}, [], []),
    ],
)
def test_which_archives_are_due(
    archives: dict[str, dict[str, str]], receipt: dict[str, str], installed: list[str], due: list[str]
) -> None:
    assert sources.due_parts(archives=archives, receipt=receipt, installed=installed) == due


@pytest.mark.parametrize("text", [None, "", "{", "[]", '"x"'])
def test_a_receipt_that_says_nothing(text: str | None) -> None:
    assert sources.parse_receipt(text) == {}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("containerd github.com/containerd/containerd/v2 v2.3.1 0e4b4a3\n", (2, 3, 1)),
        ("containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+b4\n", (1, 7, 24)),
        ("containerd github.com/containerd/containerd/v2 2.1.9 2.1.9-1\n", (2, 1, 9)),
        ("env: 'containerd': Exec format error", None),
    ],
)
def test_the_version_that_a_containerd_reports(text: str, version: tuple[int, int, int] | None) -> None:
    assert sources.reported_version(text) == version


@pytest.mark.parametrize("source", sources.SOURCES)
@pytest.mark.parametrize("runtime", ["containerd", "cri_dockerd", "dockershim"])
def test_dockers_api_is_warned_of_where_cri_dockerd_asks_it(source: str, runtime: str) -> None:
    warning = sources.source_warning(source=source, runtime=runtime)
    assert (warning is not None) is ((source, runtime) == ("docker", "cri_dockerd"))
    assert warning is None or "from 1.44 on" in warning


def problems(**changed: Any) -> list[str]:
    asked: dict[str, Any] = {
        **{"source": "os", "runtime": "containerd", "installed": {}, "receipt": {}, "archives": {}},
        **{"remedy": "rm -r /x"},
        **changed,
    }
    return list(sources.problems(**asked))


@pytest.mark.parametrize(
    ("changed", "texts"),
    [
        ({}, []),
        ({"runtime": "dockershim"}, []),
        ({"installed": DOCKERS}, []),
        ({"source": "docker"}, []),
        ({"source": "docker", "runtime": "cri_dockerd", "installed": {"containerd": OLD}}, []),
        ({"source": "docker", "runtime": "dockershim"}, ["is 'docker', and the runtime is dockershim"]),
        ({"source": "archive", "archives": ARCHIVES, "receipt": RECEIPT}, []),
        ({"source": "archive", "runtime": "dockershim", "archives": ARCHIVES}, ["whose Docker API"]),
        ({"receipt": RECEIPT}, ["docker_containerd_source is 'os'; expected archive, as an older"]),
        ({"source": "docker", "receipt": RECEIPT}, ["or reset the node and run there: rm -r /x"]),
        (
            {"source": "docker", "installed": {"docker.io": HELD}},
            ["docker.io is held, and Docker's packages"],
        ),
        (
            {"source": "docker", "installed": {"docker.io": HELD, "runc": HELD}},
            ["run apt-mark unhold runc docker.io, or set docker_containerd_source to os"],
        ),
        ({"source": "docker", "installed": {"kubernetes-cni": HELD}}, []),
        (
            {"source": "docker", "installed": {name: OLD._replace(held=True) for name in DOCKERS}},
            ["are held"],
        ),
        ({"source": "docker", "installed": {name: NEW._replace(held=True) for name in DOCKERS}}, []),
        (
            {"source": "archive", "archives": {"runc": {"url": "http://x", "sha256": ""}}},
            ["docker_containerd_url is empty", "docker_containerd_sha256 is empty", "docker_runc_sha256 is"],
        ),
    ],
)
def test_what_is_refused_before_anything_is_touched(changed: dict[str, Any], texts: list[str]) -> None:
    seen = problems(**changed)
    assert len(seen) == len(texts)
    assert all(text in each for text, each in zip(texts, seen, strict=True))
