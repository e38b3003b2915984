# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add-ons in a real cluster: a made-up one through its life, and what the API server says of the presets.

The images of presets cannot be pulled in a rack without a registry, so that they are accepted, and not run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._add_ons import entries, objects

from tests.e2e.conftest import Rack, assert_unchanged, wait_for

pytestmark = pytest.mark.long

PLAYBOOK = "playbooks/add_ons.yml"
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
IMAGE = "localhost/hello:1"
#: Nowhere to be had.
MISSING = "localhost/none:1"
NAME = "widgets"
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: ${image}
          imagePullPolicy: IfNotPresent
          readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: first}
spec: {size: 1}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: "${settings}"}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: widgets}
rules: [{apiGroups: [example.com], resources: [widgets], verbs: [get]}]
"""
#: What a user makes of the kind that the add-on defines.
MINE = json.dumps(
    {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "mine", "namespace": "default"}}
)


class AddOn:
    """The made-up add-on, and the runs that are to have it in the cluster."""

    def __init__(self, rack: Rack, folder: Path) -> None:
        self.rack = rack
        self.manifest = folder / "widgets.yml"
        self.manifest.write_text(MANIFEST)

    def entry(self, **values: Any) -> dict[str, Any]:
        """Return its entry of the variable."""
        return {
            "name": NAME,
            "manifest": str(self.manifest),
            "namespace": NAME,
            "values": {"replicas": 2, "image": IMAGE, "settings": "settings-1", **values},
        }

    def arguments(self, *entries_of: Any, **variables: Any) -> list[str]:
        """Return the arguments of a run with these add-ons."""
        return ["-e", json.dumps({"add_ons": list(entries_of), **variables})]

    def kubectl(self, text: str) -> str:
        """Run kubectl, and return what it prints."""
        return self.rack.shell("pi-1", f"{KUBECTL} {text}")

    def names(self, kinds: str) -> set[str]:
        """Return the names of what there is of some kinds in its namespace."""
        return set(self.kubectl(f"-n {NAME} get {kinds} -o name").split())

    def is_gone(self) -> bool:
        """Tell whether nothing of it is left."""
        label = f"-l bramble.pi/add-on={NAME}"
        kinds = "ns,crd,clusterroles,deployments.apps,services,configmaps"
        return not self.kubectl(f"get {kinds} --all-namespaces {label} -o name").strip()


@pytest.fixture(scope="module")
def add_on(cluster: Rack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AddOn]:
    """Return the add-on, of which nothing is left afterwards."""
    add_on = AddOn(cluster, tmp_path_factory.mktemp("add-on"))
    yield add_on
    cluster.playbook(PLAYBOOK, *add_on.arguments(add_ons_remove_objects=[NAME]))
    assert add_on.is_gone()


def changes(run: Any) -> int:
    """Return how many tasks of a run changed something."""
    return sum(counts["changed"] for counts in run.recap().values())


def test_four_steps(add_on: AddOn) -> None:
    asked = add_on.arguments(add_on.entry())
    assert changes(add_on.rack.playbook(PLAYBOOK, *asked, "--check")) == 1
    assert add_on.is_gone()
    assert changes(add_on.rack.playbook(PLAYBOOK, *asked)) == 1
    address = add_on.kubectl(f"-n {NAME} get service web -o jsonpath={{.spec.clusterIP}}")
    assert add_on.rack.shell("pi-2", f"curl -fsS --max-time 10 http://{address}/")
    # It comes last, when what serves its kind runs.
    assert add_on.names("widgets") == {"widget.example.com/first"}
    assert_unchanged(add_on.rack.playbook(PLAYBOOK, *asked, "--check").recap())
    assert_unchanged(add_on.rack.playbook(PLAYBOOK, *asked).recap())
    # site.yml has it as well.
    site = add_on.rack.playbook("site.yml", *asked, "--tags", "add_ons")
    assert changes(site) == 0
    assert "Apply add-ons, and remove those that are no longer listed" in site.output


def test_an_image_that_is_nowhere_is_told_beforehand(add_on: AddOn) -> None:
    failed = add_on.rack.playbook(PLAYBOOK, *add_on.arguments(add_on.entry(image=MISSING)), code=2)
    assert f"{MISSING} for amd64, needed by" in failed.output
    assert "Correct add_ons" in failed.output
    # Nothing was touched.
    assert_unchanged(add_on.rack.playbook(PLAYBOOK, *add_on.arguments(add_on.entry())).recap())


def test_a_rollout_that_fails_is_told_with_its_cause_and_goes_on(add_on: AddOn) -> None:
    changed = add_on.entry(image=MISSING, settings="settings-2")
    asked = add_on.arguments(changed, add_ons_timeout=20, add_ons_image_cache=False)
    failed = add_on.rack.playbook(PLAYBOOK, *asked, code=2)
    assert f"add-on {NAME} is not rolled out after 20 s: deployment/web in the namespace" in failed.output
    assert f"the image {MISSING} is not there" in failed.output
    # The pods before go on, and so does what they may need.
    settings = {"configmap/settings-1", "configmap/settings-2"}
    assert settings <= add_on.names("configmaps")
    asked = add_on.arguments(add_on.entry(settings="settings-2", replicas=1))
    assert changes(add_on.rack.playbook(PLAYBOOK, *asked, "--check")) == 1
    assert settings <= add_on.names("configmaps")
    assert changes(add_on.rack.playbook(PLAYBOOK, *asked)) == 1
    assert settings & add_on.names("configmaps") == {"configmap/settings-2"}
    assert_unchanged(add_on.rack.playbook(PLAYBOOK, *asked).recap())


def test_what_is_somebody_elses_is_left_alone(add_on: AddOn) -> None:
    add_on.kubectl(f"-n {NAME} create configmap settings-3")
    asked = add_on.arguments(add_on.entry(settings="settings-3", replicas=1))
    refused = add_on.rack.playbook(PLAYBOOK, *asked, code=2)
    assert f"configmap/settings-3 in the namespace {NAME} is there and has no label" in refused.output
    assert "configmap/settings-2" in add_on.names("configmaps")
    # As the message says.
    add_on.kubectl(f"label --namespace {NAME} --overwrite configmap settings-3 bramble.pi/add-on={NAME}")
    add_on.rack.playbook(PLAYBOOK, *asked)
    assert "configmap/settings-2" not in add_on.names("configmaps")


@contextlib.contextmanager
def killed(add_on: AddOn, asked: list[str], when: str) -> Iterator[None]:
    """Kill the module of a run once a script finds something."""
    with add_on.rack.beside(*add_on.rack.playbook_command(PLAYBOOK, *asked)) as process:
        wait_for(lambda: bool(add_on.rack.shell("pi-1", f"{when} || true").strip()), 120, when)
        add_on.rack.shell("pi-1", "kill -9 $(pgrep -xf /usr/bin/python3)")
        assert process.wait(60) == 2
    yield


def test_killed_while_it_is_applied(add_on: AddOn) -> None:
    """The next run knows also what only the killed one has brought."""
    asked = add_on.arguments(add_on.entry(image=MISSING, settings="settings-4"), add_ons_image_cache=False)
    with killed(add_on, asked, f"{KUBECTL} -n {NAME} get configmap settings-4 -o name 2>/dev/null"):
        asked = add_on.arguments(add_on.entry(settings="settings-5"))
        assert changes(add_on.rack.playbook(PLAYBOOK, *asked)) == 1
    found = {name for name in add_on.names("configmaps") if "settings" in name}
    assert found == {"configmap/settings-5"}
    assert_unchanged(add_on.rack.playbook(PLAYBOOK, *asked).recap())


def test_objects_of_its_kind_keep_it(add_on: AddOn) -> None:
    add_on.rack.shell("pi-1", f"echo '{MINE}' | {KUBECTL} apply -f -")
    before = add_on.names("deployments,services,configmaps,widgets")
    for arguments in (["--check"], []):
        refused = add_on.rack.playbook(PLAYBOOK, *add_on.arguments(), *arguments, code=2)
        assert f"the add-on {NAME} is needed by widget/mine in the namespace default" in refused.output
        assert "add_ons_remove_objects" in refused.output
    assert add_on.names("deployments,services,configmaps,widgets") == before


def test_removed_also_when_a_run_was_killed(add_on: AddOn) -> None:
    asked = add_on.arguments(add_ons_remove_objects=[NAME])
    # What the kind's own program would do before an object goes.
    held = f"-n {NAME} patch widget first --type=merge -p"
    add_on.kubectl(held + """ '{"metadata":{"finalizers":["example.com/wait"]}}'""")
    deleted = f"{KUBECTL} -n {NAME} get widget first -o jsonpath={{.metadata.deletionTimestamp}}"
    with killed(add_on, asked, deleted):
        add_on.kubectl(held + """ '{"metadata":{"finalizers":null}}'""")
        assert changes(add_on.rack.playbook(PLAYBOOK, *asked)) == 1
    assert add_on.is_gone()
    assert "widgets.example.com" not in add_on.kubectl("get crd -o name")
    assert_unchanged(add_on.rack.playbook(PLAYBOOK, *asked).recap())


def manifest(url: str, sha256: str) -> str:
    """Return a manifest of a preset: one of ours, a copy in E2E_MANIFESTS, or the one at its URL."""
    path = entries.path_of(url)
    if path is not None:
        return Path(path).read_text()
    for copy in Path(os.environ.get("E2E_MANIFESTS", "/nowhere")).glob("*"):
        if hashlib.sha256(copy.read_bytes()).hexdigest() == sha256:
            return copy.read_text()
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return str(answer.read().decode())
    except OSError as error:
        pytest.skip(f"{url} is out of reach ({error}), and no copy of it is in the folder E2E_MANIFESTS")


@pytest.mark.parametrize(
    "preset",
    [
        "csi-driver-nfs",
        {"name": "metallb", "values": {"addresses": ["10.0.0.200-10.0.0.220"]}},
        "metrics-server",
        "traefik",
    ],
    ids=str,
)
def test_presets_are_accepted_by_the_api_server(cluster: Rack, preset: Any, tmp_path: Path) -> None:
    asked = entries.read([preset])
    (entry,) = asked
    texts = {source.url: manifest(*source) for source in entry.sources}
    (told,) = json.loads(objects.definitions(asked, texts))
    # What others are tried in is made, and goes again.
    first = [each for each in told["objects"] if each["kind"] in ("Namespace", "CustomResourceDefinition")]

    def kubectl(words: str, things: list[dict[str, Any]]) -> list[str]:
        path = tmp_path / "objects.yml"
        path.write_text("".join(f"---\n{json.dumps(thing)}\n" for thing in things))
        cluster.run("podman", "cp", str(path), f"{cluster.container('pi-1')}:/root/objects.yml")
        # The definitions of 1.20 lack what newer ones have.
        return cluster.shell("pi-1", f"{KUBECTL} {words} -f /root/objects.yml").splitlines()

    try:
        if first:
            kubectl("apply --validate=false", first)
        for each in first:
            if each["kind"] == "CustomResourceDefinition":
                name = each["metadata"]["name"]
                cluster.shell("pi-1", f"{KUBECTL} wait --for condition=Established crd/{name} --timeout=60s")
        tried = kubectl("apply --validate=false --dry-run=server", told["objects"])
        assert len([line for line in tried if line.endswith("(server dry run)")]) == len(told["objects"])
    finally:
        if first:
            kubectl("delete --ignore-not-found --wait", first)
