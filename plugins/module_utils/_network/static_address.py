# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An interface's static address: what would have to change for it, and the trial of that change."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.addresses import without_prefix
from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED
from ansible_collections.bramble.pi.plugins.module_utils._common.secrets import file_diff
from ansible_collections.bramble.pi.plugins.module_utils._network import detect, netplan, trial, trial_script
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import (
    NETPLAN,
    Claim,
    Commands,
    File,
)
from ansible_collections.bramble.pi.plugins.module_utils._network.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._network.probe import check_free
from ansible_collections.bramble.pi.plugins.module_utils._network.resolvers import (
    Keeper,
    find_keeper,
    resolver_file,
)
from ansible_collections.bramble.pi.plugins.module_utils._network.session import ssh_session
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import (
    Settings,
    State,
    check_cluster,
    shortcomings,
)

# Without it cloud-init writes its own network configuration again, at the latest with the next instance-id.
CLOUD_INIT_FOLDER = "/etc/cloud/cloud.cfg.d"
CLOUD_INIT_FILE = f"{CLOUD_INIT_FOLDER}/99-bramble-network.cfg"
CLOUD_INIT_TEXT = f"{MANAGED}network: {{config: disabled}}\n"

_PARAMETERS = ("interface", "address", "gateway", "resolvers", "search")


class Plan(NamedTuple):
    """What is to be done, and what is to be told about it."""

    settings: Settings
    before: State
    claim: Claim
    keeper: Keeper | None
    files: list[File]
    commands: Commands
    # Whether the interface lacks what it is to have, be the files right or not.
    missing: bool
    warnings: list[str]

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.files or self.missing)


def render(*, node: Node, settings: Settings, claim: Claim) -> tuple[list[File], Commands]:
    """Return the files that the manager needs, and what brings them into effect."""
    manager = detect.MANAGERS[claim.name]
    manager.check_installed(node=node, claim=claim)
    detect.MANAGERS[claim.backend].check_installed(node=node, claim=claim)
    files = manager.render(node=node, settings=settings, claim=claim)
    return files, manager.apply(node=node, settings=settings, claim=claim)


def make_plan(*, node: Node, settings: Settings, manager: str, kubernetes: str) -> Plan:
    """Find out what has to change; refuse what would harm the node, or another machine."""
    name = settings.interface
    before = node.state(name)
    check_cluster(settings=settings, state=before, kubernetes=kubernetes)
    claim, warnings = detect.choose(
        interface=name, manager=manager, found=detect.find(node=node, interface=name)
    )
    files, commands = render(node=node, settings=settings, claim=claim)
    if node.exists(CLOUD_INIT_FOLDER):
        files.append(File(CLOUD_INIT_FILE, CLOUD_INIT_TEXT))
    files = [file for file in files if node.differs(file.path, file.text)]
    missing = bool(shortcomings(settings=settings, state=before))
    if not files and not missing:
        # Only the resolvers may be left to do; the interface is not touched for them.
        commands = Commands()
    keeper = find_keeper(node=node, settings=settings, claim=claim)
    if keeper:
        file = resolver_file(settings=settings, keeper=keeper, present=node.read(keeper.file))
        if node.differs(file.path, file.text):
            reload = (trial_script.command(keeper.reload),) if keeper.reload else ()
            commands = commands._replace(
                after=(*commands.after, *reload), restore_after=(*commands.restore_after, *reload)
            )
            files.append(file)
    if files or missing:
        check_free(settings, before)
        if not settings.resolvers and not settings.search:
            warnings.append(
                f"{name} gets a static address without resolvers, so that those of a lease are gone: set "
                "node_network_resolvers"
            )
    if claim.name == NETPLAN and files:
        netplan.check(node=node, files=files)
    return Plan(settings, before, claim, keeper, files, commands, missing, warnings)


def result(*, node: Node, plan: Plan) -> dict[str, Any]:
    """Say what would change, as the module returns it."""
    return {
        "changed": plan.changed,
        "manager": plan.claim.name,
        "why": plan.claim.why,
        "resolver_keeper": plan.keeper.name if plan.keeper else plan.claim.backend,
        "before": {"addresses": list(plan.before.addresses), "gateways": list(plan.before.gateways)},
        "files": [file.path for file in plan.files],
        "diff": [
            file_diff(
                path=file.path, before=node.read(file.path), after=file.text, private=not file.mode & 0o004
            )
            for file in plan.files
        ],
    }


def start(*, node: Node, plan: Plan, parameters: Mapping[str, Any], timeout: int) -> dict[str, str]:
    """Let the node try the change; return the trial, and where the node is reached if that changes."""
    kept = {key: parameters[key] for key in _PARAMETERS}
    session = ssh_session()
    identifier = hashlib.sha256(f"{time.time_ns()} {kept}".encode()).hexdigest()[:16]
    trial.start(
        node,
        identifier=identifier,
        # A file that is a link is changed where it lies.
        files=[
            file._replace(path=os.path.realpath(file.path)) if os.path.exists(file.path) else file
            for file in plan.files
        ],
        commands=plan.commands,
        timeout=timeout,
        session=session.process,
        parameters={**kept, "identifier": identifier},
    )
    started = {"trial": identifier}
    address = str(plan.settings.address.ip)
    if session.address in map(without_prefix, plan.before.addresses) and session.address != address:
        started["reach_at"] = address
    return started
