# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each runtime is described whole, and in the names that the rest of the collection has for it."""

from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers import containerd, docker, runtime
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import compatibility


def test_the_table_of_versions_has_the_same_runtimes() -> None:
    assert set(RUNTIMES) == set(compatibility.RUNTIMES)


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_a_runtime_is_described_whole(name: str) -> None:
    found = RUNTIMES[name]
    assert found.name == name
    assert runtime.runtime_at(found.socket) is found
    assert set(found.daemons) <= set(runtime.DAEMONS)
    assert found.client.program == found.client.remove_command[0]


@pytest.mark.parametrize(
    ("socket", "name"),
    [
        ("/run/containerd/containerd.sock", "containerd"),
        ("unix:///var/run/containerd/containerd.sock", "containerd"),
        ("/var/run/dockershim.sock", "dockershim"),
        ("unix:///run/cri-dockerd.sock", "cri_dockerd"),
        ("unix:///run/crio/crio.sock", None),
        ("", None),
        (None, None),
    ],
)
def test_finds_the_runtime_of_a_socket(socket: str | None, name: str | None) -> None:
    found = runtime.runtime_at(socket)
    assert (found and found.name) == name


def test_what_there_is_of_all_of_them() -> None:
    assert runtime.packages() == ["containerd", "containerd.io", "docker.io", "docker-ce", "cri-dockerd"]
    assert runtime.data_folders() == ["/var/lib/containerd", "/var/lib/docker"]
    assert [daemon.service for daemon in runtime.DAEMONS] == ["containerd", "docker", "cri-docker"]


def test_docker_removes_its_containers_itself() -> None:
    ran: list[list[str]] = []

    def run(command: list[str]) -> tuple[int, str, str]:
        ran.append(command)
        return 0, "", ""

    for name in ("dockershim", "cri_dockerd"):
        RUNTIMES[name].remove_containers(run=run, has=lambda program: True)
        assert RUNTIMES[name].sandbox_image(run=run) is None
        assert RUNTIMES[name].daemons[:2] == (containerd.DAEMON, docker.DAEMON)
    assert ran == []
