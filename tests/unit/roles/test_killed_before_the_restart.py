# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role that is killed between writing a unit's files and starting it again is finished by the next run."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.unit.namespace_node import NamespaceNode
from tests.unit.plays import loaded_once
from tests.unit.run_module import REPOSITORY


class Role(NamedTuple):
    """The part of a role that writes files and has a unit read them."""

    name: str
    tasks: str
    #: The first task of that part, and the first after it.
    first: str
    after: str
    variables: dict[str, Any]
    #: What is other the second time, and the unit that reads it.
    then: dict[str, Any]
    unit: str
    #: Tasks of that part that have nothing to do with it.
    without: tuple[str, ...] = ()
    #: How it is had read; no change is told of where that is done in each run.
    verb: str = "start"
    told: int = 1


TOKEN = json.dumps({"data": {"ca.crt": "YQ==", "token": "YQ=="}})
ROLES = {
    f"{role.name}, {role.unit}": role
    for role in (
        Role(
            "live_view",
            "present",
            "Make the user that serves the page",
            "Wait until the page answers",
            {
                "live_view_address": "10.0.0.1",
                "live_view_hosts": ["10.0.0.1"],
                "__live_view_secret": {"stdout": TOKEN},
                "__live_view_server": {"stdout": "https://10.0.0.1:6443"},
            },
            # In its kubeconfig; in check mode nobody asks where the server is.
            {"__live_view_server": {"stdout": "https://10.0.0.2:6443"}},
            "bramble-live-view.service",
            ("Write the page", "Write the rack's order for the page"),
        ),
        Role(
            "live_view",
            "readings",
            "Write what asks Prometheus for temperatures",
            "",
            {"monitoring_address": "10.0.0.1"},
            {"monitoring_port": 9091},
            "bramble-live-view-readings.service",
            ("Put the temperatures beside the page",),
        ),
        Role(
            "remote_access",
            "proxy",
            "Write what keeps pages of other sites out",
            "",
            {"remote_access_proxy_address": "10.0.0.1", "remote_access_proxy_networks": ["10.0.0.0/24"]},
            {"remote_access_proxy_port": 8082},
            "bramble-kubectl-proxy.service",
        ),
        Role(
            "remote_access",
            "rules",
            "Make the folder of the rules",
            "",
            {
                "__remote_access_ways": {"forwards": False, "restricts": False, "proxies": True},
                "remote_access_proxy_networks": ["10.0.0.0/24"],
            },
            {"remote_access_proxy_networks": ["10.0.1.0/24"]},
            "bramble-remote-access",
            verb="reload",
            told=0,
        ),
        Role(
            "netboot_server",
            "main",
            "Configure where to boot from",
            "Let each node in to its own tree",
            {
                "netboot_tree_dir": "/srv/netboot",
                "netboot_server_interface": "eth0",
                "netboot_server_address": "10.0.0.1",
                "netboot_server_dhcp": "leases",
                "__netboot_server_clients": {"nodes": [], "exports": []},
            },
            {"__netboot_server_clients": {"nodes": [{"tag": "pi-2"}], "exports": []}},
            "dnsmasq.service",
        ),
    )
}


def playbook(role: Role, folder: Path) -> Path:
    """Make a playbook of that part, with what belongs to it in the role."""
    source = REPOSITORY / "roles" / role.name
    tasks = yaml.safe_load((source / "tasks" / f"{role.tasks}.yml").read_text())
    names = [task["name"] for task in tasks]
    part = tasks[names.index(role.first) : names.index(role.after) if role.after else None]
    part = [task for task in part if task["name"] not in role.without]
    for name in ("files", "templates"):
        (folder / name).symlink_to(source / name)
    play = {
        "hosts": loaded_once("localhost"),
        "gather_facts": False,
        "vars_files": [
            str(folder / "main.yml")
            for folder in (
                REPOSITORY / "roles/cluster_defaults/defaults",
                source / "defaults",
                source / "vars",
            )
        ],
        "tasks": part,
        # Where there are any.
        "handlers": [
            handler
            for path in (source / "handlers").glob("main.yml")
            for handler in yaml.safe_load(path.read_text())
        ],
    }
    path = folder / "play.yml"
    path.write_text(json.dumps([play]))
    return path


def command(playbook: Path, **variables: Any) -> str:
    environment = {
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".collections"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    ansible = Path(sys.executable).with_name("ansible-playbook")
    # A play has none.
    given_role = {"role_path": str((playbook.parent / "templates").resolve().parent)}
    variables = {**given_role, **variables}
    words = [ansible, "-i", "localhost,", "-c", "local", "-e", json.dumps(variables), playbook]
    given = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    return f"{given} {' '.join(shlex.quote(str(word)) for word in words)} 2>&1"


def counts(output: str) -> dict[str, int]:
    return {name: int(number) for name, number in re.findall(r"(changed|failed)=(\d+)", output)}


@pytest.fixture
def node(tmp_path: Path) -> NamespaceNode:
    node = NamespaceNode(tmp_path, folders=["/etc/systemd/system", "/usr/local/sbin", "/usr/local/share"])
    node.systemd()
    node.write("/etc/dnsmasq.d/README", "")
    return node


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
@pytest.mark.some(1)
@pytest.mark.parametrize("role", ROLES.values(), ids=ROLES)
def test_the_next_run_finishes_it(node: NamespaceNode, tmp_path: Path, role: Role) -> None:
    play = playbook(role, tmp_path)
    then = {**role.variables, **role.then}
    outputs = node.run(
        command(play, **role.variables),
        f"echo {'stop' if role.verb == 'start' else role.verb} >/run/kill-at",
        command(play, **then),
        ": >/run/systemctl",
        command(play, **then),
        "cat /run/systemctl",
        command(play, **then),
    )
    assert counts(outputs[0])["failed"] == 0, outputs[0]
    assert counts(outputs[2])["failed"] == 1, "the run was not killed"
    assert counts(outputs[4]) == {"changed": role.told, "failed": 0}, outputs[4]
    assert f"{role.verb} {role.unit}" in outputs[5].splitlines()
    assert counts(outputs[6]) == {"changed": 0, "failed": 0}, outputs[6]
