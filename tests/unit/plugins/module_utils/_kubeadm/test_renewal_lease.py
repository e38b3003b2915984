# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose turn it is, with an API server that keeps a Lease as the real one does."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import renewal_lease
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import KubeadmError, Node
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.renewal_lease import turn

NOW = datetime(2026, 10, 1, 12, 0, 0, tzinfo=timezone.utc)


class Server:
    """Runs kubectl's commands on one Lease."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] = {}
        self.version = 0
        self.commands: list[str] = []
        #: Runs once, before the next write comes.
        self.before_write: Any = None
        self.failures = 0

    def __call__(self, command: list[str], *, data: str = "", **_options: Any) -> tuple[int, str, str]:
        verb = command[4]
        self.commands.append(verb)
        if self.failures:
            self.failures -= 1
            return 1, "", "The connection to the server was refused"
        if verb == "get":
            return 0, json.dumps(self.lease) if self.lease else "", ""
        if self.before_write:
            action, self.before_write = self.before_write, None
            action()
        given = json.loads(data)
        if verb == "create" and self.lease:
            return 1, "", 'Error from server (AlreadyExists): leases "bramble-certificates" already exists'
        if verb == "replace" and given["metadata"]["resourceVersion"] != str(self.version):
            return 1, "", "Error from server (Conflict): Operation cannot be fulfilled"
        self.version += 1
        given["metadata"]["resourceVersion"] = str(self.version)
        self.lease = given
        return 0, "", ""

    def held_by(self, name: str, *, ago: timedelta = timedelta()) -> None:
        self.version += 1
        begun = datetime.now(timezone.utc) - ago
        self.lease = {
            "metadata": {"name": "bramble-certificates", "resourceVersion": str(self.version)},
            "spec": {"holderIdentity": name, "renewTime": f"{begun:%Y-%m-%dT%H:%M:%S.%fZ}"},
        }

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(renewal_lease.time, "sleep", lambda _seconds: None)
    return Server()


def take(server: Server, name: str = "pi-1", *, timeout: int = 0) -> None:
    with turn(Node(run=server), name=name, timeout=timeout):
        assert server.holder == name


def test_it_is_made_taken_and_given_back(server: Server) -> None:
    take(server)
    assert server.holder == ""
    take(server, "pi-2")
    assert server.commands == ["get", "create", "get", "replace", "get", "replace", "get", "replace"]


def test_one_waits_for_the_other(server: Server) -> None:
    server.held_by("pi-2")
    with pytest.raises(KubeadmError, match="pi-2 has been renewing its certificates for more than 0 s"):
        take(server)
    assert server.holder == "pi-2"


def test_one_that_was_killed_goes_on_at_once_and_others_after_a_while(server: Server) -> None:
    server.held_by("pi-1")
    take(server, "pi-1")
    server.held_by("pi-1", ago=timedelta(minutes=31))
    take(server, "pi-2")


def test_of_two_at_once_one_is_quicker(server: Server) -> None:
    server.before_write = lambda: server.held_by("pi-2")
    with pytest.raises(KubeadmError, match=r"pi-2|another control plane"):
        take(server)
    assert server.holder == "pi-2"
    server.held_by("")
    server.before_write = lambda: server.held_by("pi-2")
    with pytest.raises(KubeadmError, match=r"pi-2|another control plane"):
        take(server)
    assert server.holder == "pi-2"


def test_after_an_error_the_others_wait(server: Server) -> None:
    with pytest.raises(ValueError, match="etcd"), turn(Node(run=server), name="pi-1", timeout=0):
        raise ValueError("etcd did not answer")
    assert server.holder == "pi-1"


def test_it_is_given_back_although_the_api_server_has_just_been_restarted(server: Server) -> None:
    with turn(Node(run=server), name="pi-1", timeout=0):
        server.failures = 3
    assert server.holder == ""


def test_an_api_server_that_refuses_is_an_error(server: Server) -> None:
    def forbid(*_words: Any, **_options: Any) -> tuple[int, str, str]:
        raise CommandError("Error from server (Forbidden)")

    server.before_write = forbid
    with pytest.raises(CommandError, match="Forbidden"):
        take(server)


@pytest.mark.parametrize("spec", [{}, {"renewTime": "soon", "holderIdentity": "pi-2"}, {"renewTime": None}])
def test_what_is_no_turn(spec: dict[str, Any]) -> None:
    assert renewal_lease.holder({"spec": spec}, now=NOW) == ""
