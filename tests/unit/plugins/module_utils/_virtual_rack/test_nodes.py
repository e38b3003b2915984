# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rack against a podman that remembers; molecule's scenario default runs it against the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError
from ansible_collections.bramble.pi.plugins.module_utils._virtual_rack import nodes
from ansible_collections.bramble.pi.plugins.module_utils._virtual_rack.podman import RackError

KEY = "ssh-ed25519 AAAAC3Nz root@pi"


class Podman:
    """As much of podman as the module uses."""

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.networks: dict[str, str] = {}
        self.changes: list[str] = []
        self.booting = 2
        self.refuses: dict[str, str] = {}
        self.refuses_once: dict[str, bool] = {}

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        program, *arguments = command
        assert program == "podman"
        verb = " ".join(arguments[:2]) if arguments[0] == "network" else arguments[0]
        if verb in self.refuses:
            return 125, "", self.refuses[verb]
        if self.refuses_once.pop(verb, False):
            return 2, "", "cannot remove container as it could not be stopped: container state improper"
        if verb in ("run", "start", "rm", "network create", "network rm"):
            self.changes.append(verb)
        return getattr(self, verb.replace(" ", "_"))(arguments)

    def ps(self, arguments: list[str]) -> tuple[int, str, str]:
        return 0, json.dumps([{"Names": [name], **rest} for name, rest in self.containers.items()]), ""

    def run(self, arguments: list[str]) -> tuple[int, str, str]:
        name = arguments[arguments.index("--name") + 1]
        labels = [b for a, b in zip(arguments, arguments[1:]) if a == "--label"]
        self.containers[name] = {
            "State": "running",
            "Labels": dict(label.split("=") for label in labels),
        }
        return 0, "id", ""

    def start(self, arguments: list[str]) -> tuple[int, str, str]:
        self.containers[arguments[1]]["State"] = "running"
        return 0, arguments[1], ""

    def rm(self, arguments: list[str]) -> tuple[int, str, str]:
        for name in arguments[arguments.index("--volumes") + 1 :]:
            del self.containers[name]
        return 0, "", ""

    def exec(self, arguments: list[str]) -> tuple[int, str, str]:
        if arguments[2] == "cat":
            return 0, KEY + "\n", ""
        if self.booting:
            self.booting -= 1
            return 1, "", "Failed to connect to bus: No such file or directory"
        return 0, "running\n", ""

    def network_exists(self, arguments: list[str]) -> tuple[int, str, str]:
        return (0 if arguments[2] in self.networks else 1), "", ""

    def network_inspect(self, arguments: list[str]) -> tuple[int, str, str]:
        return 0, json.dumps([{"subnets": [{"subnet": self.networks[arguments[2]]}]}]), ""

    def network_create(self, arguments: list[str]) -> tuple[int, str, str]:
        self.networks[arguments[-1]] = arguments[arguments.index("--subnet") + 1]
        return 0, "", ""

    def network_rm(self, arguments: list[str]) -> tuple[int, str, str]:
        del self.networks[arguments[2]]
        return 0, "", ""


@pytest.fixture
def podman() -> Podman:
    return Podman()


@pytest.fixture
def parameters(tmp_path: Path) -> dict[str, Any]:
    public_key = tmp_path / "id_ed25519.pub"
    public_key.write_text("ssh-ed25519 AAAA rack demo\n")
    return {
        "name": "demo",
        "subnet": "10.89.60.0/24",
        "nodes": [
            {
                "name": f"pi-{number}",
                "address": f"10.89.60.1{number}",
                "image": "i",
                "memory": None,
                "cpus": None,
            }
            for number in (1, 2)
        ],
        "repository": {"directory": "/srv", "address": "10.89.60.2", "image": "i"},
        "public_key": str(public_key),
        "known_hosts": str(tmp_path / "ssh_known_hosts"),
        "timeout": 5,
    }


def test_created_once(podman: Podman, parameters: dict[str, Any]) -> None:
    first = nodes.present(podman, parameters, check_mode=False)
    assert first["changed"]
    assert first["created"] == ["demo-pi-1", "demo-pi-2", "demo-repo"]
    assert Path(parameters["known_hosts"]).read_text().splitlines() == [
        "10.89.60.11 ssh-ed25519 AAAAC3Nz",
        "10.89.60.12 ssh-ed25519 AAAAC3Nz",
    ]
    podman.changes.clear()
    second = nodes.present(podman, parameters, check_mode=False)
    assert not second["changed"]
    assert podman.changes == []


def test_check_mode_says_the_same_and_changes_nothing(podman: Podman, parameters: dict[str, Any]) -> None:
    Path(parameters["public_key"]).unlink()
    result = nodes.present(podman, parameters, check_mode=True)
    assert result["changed"]
    assert result["created"] == ["demo-pi-1", "demo-pi-2", "demo-repo"]
    assert podman.changes == []
    assert not Path(parameters["known_hosts"]).exists()


def test_what_is_missing_or_stopped_is_repaired(podman: Podman, parameters: dict[str, Any]) -> None:
    nodes.present(podman, parameters, check_mode=False)
    podman.containers["demo-pi-1"]["State"] = "exited"
    del podman.containers["demo-repo"]
    result = nodes.present(podman, parameters, check_mode=False)
    assert (result["created"], result["started"]) == (["demo-repo"], ["demo-pi-1"])


def test_another_subnet_is_refused(podman: Podman, parameters: dict[str, Any]) -> None:
    podman.networks["demo"] = "10.89.7.0/24"
    with pytest.raises(
        RackError, match=r"demo is 10\.89\.7\.0/24, but virtual_rack_subnet is 10\.89\.60\.0/24"
    ):
        nodes.present(podman, parameters, check_mode=False)
    assert podman.changes == []


def test_what_podman_says_is_handed_on(podman: Podman, parameters: dict[str, Any]) -> None:
    podman.refuses["run"] = "Error: no space left on device"
    with pytest.raises(CommandError, match=r"'podman run .* --name demo-pi-1 .* no space left on device"):
        nodes.present(podman, parameters, check_mode=False)


def test_a_subnet_in_use_names_the_variable(podman: Podman, parameters: dict[str, Any]) -> None:
    podman.refuses["network create"] = (
        "Error: subnet 10.89.60.0/24 is already used on the host or by another config"
    )
    with pytest.raises(
        CommandError, match=r"already used.*; set virtual_rack_subnet to a network that is free"
    ):
        nodes.present(podman, parameters, check_mode=False)


def test_a_node_that_does_not_boot_is_named(podman: Podman, parameters: dict[str, Any]) -> None:
    podman.booting = 1000
    parameters["timeout"] = 0
    with pytest.raises(
        RackError, match=r"demo-pi-1 has not booted.*Failed to connect to bus.*virtual_rack_boot_timeout"
    ):
        nodes.present(podman, parameters, check_mode=False)


def test_removed_once(podman: Podman, parameters: dict[str, Any]) -> None:
    nodes.present(podman, parameters, check_mode=False)
    podman.changes.clear()
    assert nodes.absent(podman, parameters, check_mode=True)["changed"]
    assert podman.changes == []
    first = nodes.absent(podman, parameters, check_mode=False)
    assert first["removed"] == ["demo-pi-1", "demo-pi-2", "demo-repo"]
    assert (podman.containers, podman.networks) == ({}, {})
    assert not nodes.absent(podman, parameters, check_mode=False)["changed"]


def test_what_podman_refuses_to_remove_at_first_is_removed(
    podman: Podman, parameters: dict[str, Any]
) -> None:
    nodes.present(podman, parameters, check_mode=False)
    podman.refuses_once["rm"] = True
    assert nodes.absent(podman, parameters, check_mode=False)["changed"]
    assert (podman.containers, podman.networks) == ({}, {})


def test_a_node_without_a_process_is_refused_before_anything_is_made(
    podman: Podman, parameters: dict[str, Any]
) -> None:
    nodes.present(podman, parameters, check_mode=False)
    podman.containers["demo-pi-1"]["Pid"] = 1 << 30
    del podman.containers["demo-pi-2"]
    podman.changes.clear()
    with pytest.raises(RackError, match=r"demo-pi-1 ended, but podman says that it runs"):
        nodes.present(podman, parameters, check_mode=False)
    assert podman.changes == []
