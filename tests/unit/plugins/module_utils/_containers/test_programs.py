# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers import programs
from ansible_collections.bramble.pi.plugins.module_utils._containers.base import Runtime
from ansible_collections.bramble.pi.plugins.module_utils._containers.programs import Mount
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES

MOUNTS = [Mount("/run/work", writable=True), Mount("/etc/pki")]


@pytest.mark.parametrize(
    ("client", "detached", "expected"),
    [
        (
            "docker",
            False,
            "docker run --rm --name=tool --network=host --volume=/run/work:/run/work"
            " --volume=/etc/pki:/etc/pki:ro --entrypoint=etcdctl etcd:3 member list",
        ),
        (
            "docker",
            True,
            "docker run --detach --name=tool --network=host --volume=/run/work:/run/work"
            " --volume=/etc/pki:/etc/pki:ro --entrypoint=etcdctl etcd:3 member list",
        ),
        (
            "ctr",
            False,
            "ctr --namespace k8s.io run --rm --net-host"
            " --mount=type=bind,src=/run/work,dst=/run/work,options=rbind:rw"
            " --mount=type=bind,src=/etc/pki,dst=/etc/pki,options=rbind:ro etcd:3 tool etcdctl member list",
        ),
        (
            "ctr",
            True,
            "ctr --namespace k8s.io run --detach --null-io --net-host"
            " --mount=type=bind,src=/run/work,dst=/run/work,options=rbind:rw"
            " --mount=type=bind,src=/etc/pki,dst=/etc/pki,options=rbind:ro etcd:3 tool etcdctl member list",
        ),
    ],
)
def test_start(client: str, detached: bool, expected: str) -> None:
    command = programs.start_command(
        client=client,
        image="etcd:3",
        name="tool",
        mounts=MOUNTS,
        command=["etcdctl", "member", "list"],
        detached=detached,
    )
    assert " ".join(command) == expected


@pytest.mark.parametrize("client", ["docker", "ctr"])
def test_remove(client: str) -> None:
    assert all(
        command[0] == client and command[-1] == "tool"
        for command in programs.remove_commands(client=client, name="tool")
    )


@pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=lambda runtime: str(runtime.name))
def test_clients_are_those_of_the_runtimes(runtime: Runtime) -> None:
    assert programs.client_at(runtime.socket) == runtime.client.program


def test_without_a_socket_it_is_docker() -> None:
    assert programs.client_at(None) == "docker"
