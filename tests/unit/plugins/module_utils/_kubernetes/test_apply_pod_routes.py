# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files below a folder, and the commands that are run; tests/e2e tries the routes on real nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import apply_pod_routes, pod_routes

PLAN = pod_routes.make_plan(
    node="pi-1",
    nodes=[
        pod_routes.Node("pi-1", "10.244.0.0/24", "192.168.1.11"),
        pod_routes.Node("pi-2", "10.244.1.0/24", "192.168.1.12"),
    ],
    cluster_cidr="10.244.0.0/16",
)


class Node:
    """A kernel with its routes and rules, and a systemd with one unit."""

    def __init__(self, files: dict[str, Path], *, works: bool = True) -> None:
        self.files = files
        self.works = works
        self.routes: dict[str, str] = {}
        self.on = False
        self.log: list[str] = []

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        if command[0] == "ip":
            return 0, "".join(f"{cidr} via {address}\n" for cidr, address in self.routes.items()), ""
        if command[0] == "iptables":
            table, chain = command[3], command[5]
            hook, own = pod_routes.JUMPS[table]
            rules = [f"-A {hook} -j {own}"] if chain == hook else pod_routes.rules(PLAN)[table][own]
            return (0, "\n".join(rules), "") if self.routes else (1, "", "No chain by that name")
        if command[1] in ("is-enabled", "is-active"):
            return (0 if self.on else 1), "", ""
        self.log.append(" ".join(command).replace(str(self.files["script"]), "script"))
        if command[0] == str(self.files["script"]):
            if not self.works:
                return 2, "", "Error: Nexthop has invalid gateway.\n"
            self.routes = dict(PLAN.routes) if command[1] == "start" else {}
        if command[1] in ("enable", "disable"):
            self.on = command[1] == "enable"
        return 0, "", ""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    paths = {name: tmp_path / name for name in ("conflist", "script", "unit")}
    for name, path in paths.items():
        monkeypatch.setattr(pod_routes, name.upper(), str(path))
    return paths


def install(node: Node, *, check_mode: bool = False) -> list[str]:
    changes = Changes(check_mode=check_mode)
    apply_pod_routes.install(plan=PLAN, run=node, changes=changes)
    return changes.sentences


def test_routes_are_put_in_place_once_and_removed_again(files: dict[str, Path]) -> None:
    node = Node(files)
    announced = install(node, check_mode=True)
    assert announced[:4] == [
        *(f"write {path}" for path in files.values()),
        "add the route to 10.244.1.0/24 via 192.168.1.12",
    ]
    assert announced[-1] == "enable and start bramble-pod-network.service"
    assert not any(path.exists() for path in files.values())
    assert node.log == []

    assert install(node) == announced
    assert files["script"].stat().st_mode & 0o777 == 0o755
    unit = "bramble-pod-network.service"
    assert node.log == ["script start", "systemctl daemon-reload", f"systemctl enable --now {unit}"]
    assert install(node) == []

    node.log.clear()
    changes = Changes(check_mode=False)
    apply_pod_routes.remove(run=node, changes=changes)
    assert changes.sentences == [f"remove {path}" for path in files.values()]
    assert node.log == [f"systemctl disable --now {unit}", "script stop", "systemctl daemon-reload"]
    assert not any(path.exists() for path in files.values())
    again = Changes(check_mode=False)
    apply_pod_routes.remove(run=node, changes=again)
    assert not again


def test_a_kernel_that_was_changed_by_hand_is_put_right(files: dict[str, Path]) -> None:
    node = Node(files)
    install(node)
    node.routes = {**PLAN.routes, "10.244.9.0/24": "192.168.1.19"}
    assert install(node) == ["remove the route to 10.244.9.0/24"]
    assert node.routes == PLAN.routes


def test_nodes_that_are_not_on_one_switch(files: dict[str, Path]) -> None:
    with pytest.raises(CommandError, match=r"invalid gateway\..*192\.168\.1\.12.*pod_network_plugin"):
        install(Node(files, works=False))
