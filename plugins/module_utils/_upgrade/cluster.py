# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads, on a control plane, all of the cluster by which its upgrade is planned and decided."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError, Runner
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import drain, kubectl
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import Version
from ansible_collections.bramble.pi.plugins.module_utils._upgrade import answers, offers, plan, removed_apis
from ansible_collections.bramble.pi.plugins.module_utils._upgrade.registries import Registries

#: How long one question may take, in seconds; metrics are megabytes.
_QUESTION = 60
_CONFIGURATION = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"
#: kubectl from 1.21 on leaves the managed fields out, unless asked for them; one before does not know this.
_FIELDS = "--show-managed-fields"


@dataclass(frozen=True)
class Question:
    """What is asked for; the options of the module upgrade_info."""

    target: Version
    repository: str
    key: str | None
    #: Images that come from archives.
    archived: Collection[str]
    consent: drain.Consent
    kubeconfig: str


class Cluster:
    """The cluster, through the API servers."""

    def __init__(self, *, run: Runner, warn: Callable[[str], None], question: Question) -> None:
        self._run = run
        self._warn = warn
        self._question = question

    def _kubectl(self, *words: str, server: str | None = None) -> str:
        command = kubectl.limited(self._question.kubeconfig, seconds=_QUESTION)
        if server:
            command.append(f"--server={server}")
        command += words
        code, output, errors = self._run(command)
        if code != 0:
            raise kubectl.failure(command, code, errors)
        return output

    def read(self) -> dict[str, Any]:
        """Return all of it."""
        target = self._question.target
        things = json.loads(
            self._kubectl("get", "--all-namespaces", "--output=json", ",".join(answers.KINDS))
        )["items"]
        document = json.loads(self._kubectl("get", f"--raw={_CONFIGURATION}"))
        configured, repository = answers.configured(document["data"].get("ClusterConfiguration", ""))
        nodes = answers.nodes(things)
        oldest = plan.base(nodes=nodes, configured=configured)
        offer = offers.read(
            minors=[(oldest.major, minor) for minor in range(oldest.minor, target.minor + 1)],
            repository=self._question.repository,
            key=self._question.key,
            run=self._run,
            warn=self._warn,
        )
        steps = [
            step.version
            for step in plan.make(nodes=nodes, configured=configured, target=target, offer=offer).steps
        ]
        removals = removed_apis.removed_between(oldest.short, target.short)
        pods = answers.of_kind(things, "Pod")
        return {
            "configured": str(configured),
            "nodes": [answers.describe(node) for node in answers.of_kind(things, "Node")],
            "static": {
                node: {program: str(version) for program, version in programs.items()}
                for node, programs in answers.static_versions(pods).items()
            },
            "offered": {
                f"{minor[0]}.{minor[1]}": [str(version) for version in versions]
                for minor, versions in offer.versions.items()
            },
            "unread": {f"{minor[0]}.{minor[1]}": reason for minor, reason in offer.unread.items()},
            "drains": answers.drains(things, consent=self._question.consent),
            "etcd": answers.etcd_problems(things),
            "flags": answers.removed_flags(pods),
            # Before the objects are asked for, which may itself be by an API that goes.
            "requested": self._requested(pods) if removals else [],
            "objects": self._objects(removals) if removals else [],
            "images": self._images(things, nodes, repository=repository, steps=steps),
        }

    def _requested(self, pods: Sequence[Any]) -> list[dict[str, Any]]:
        """Ask each API server for itself, as each tells of its own requests."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for server in answers.api_servers(pods):
            try:
                metrics = self._kubectl("get", "--raw=/metrics", server=server)
            except CommandError as error:
                self._warn(f"which APIs are in use at {server} is not known: {error}")
                continue
            for each in removed_apis.requested(metrics):
                before = found.setdefault((each["api"], each["resource"]), {**each, "watched": 0})
                before["watched"] += each["watched"]
        return list(found.values())

    def _objects(self, removals: Sequence[removed_apis.Removal]) -> list[dict[str, Any]]:
        groups = json.loads(self._kubectl("get", "--raw=/apis"))["groups"]
        served = {version["groupVersion"] for group in groups for version in group["versions"]}
        names = self._known(removed_apis.to_read(removals, served))
        if not names:
            return []
        fields = [_FIELDS] if _FIELDS in self._kubectl("get", "--help") else []
        output = self._kubectl("get", "--all-namespaces", "--output=json", *fields, ",".join(names))
        return removed_apis.found(json.loads(output)["items"], removals)

    def _known(self, names: Sequence[str]) -> list[str]:
        """Leave out what this API server has not, as one that is asked for and not there fails all."""
        known = set()
        # Not by kubectl api-resources, which fails as a whole while any other API of the cluster is away,
        # such as that of a metrics-server that does not run.
        for version, group in sorted({tuple(name.split(".", 2)[1:]) for name in names}):
            document = json.loads(self._kubectl("get", f"--raw=/apis/{group}/{version}"))
            known |= {f"{each['name']}.{version}.{group}" for each in document["resources"]}
        return [name for name in names if name in known]

    def _images(
        self, things: Sequence[Any], nodes: Sequence[plan.Node], *, repository: str, steps: Sequence[Version]
    ) -> dict[str, dict[str, Any]]:
        """Return the images that some node lacks and no archive has, and why they do not come, if so."""
        lacking: dict[str, list[str]] = {}
        present = {
            node["metadata"]["name"]: answers.node_images(node) for node in answers.of_kind(things, "Node")
        }
        for node in nodes:
            for name in answers.image_names(
                repository=repository, steps=steps, control_plane=node.control_plane
            ):
                if name not in present[node.name] and name not in self._question.archived:
                    lacking.setdefault(name, []).append(node.name)
        registries = Registries()
        return {
            name: {"nodes": lacking[name], "problem": registries.problem(name)} for name in sorted(lacking)
        }
