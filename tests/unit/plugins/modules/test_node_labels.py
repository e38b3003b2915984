# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels and taints of nodes, with a kubectl that keeps nodes in a file and merges patches into them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.run_module import run_module

KUBECTL = f"""#!{sys.executable}
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
with open(folder / "asked", "a") as log:
    log.write(" ".join(sys.argv[1:]) + chr(10))
nodes = json.loads((folder / "nodes").read_text())
if "get" in sys.argv:
    print(json.dumps({{"items": list(nodes.values())}}))
    sys.exit()
patch = json.loads(sys.argv[-1].partition("=")[2])
node = nodes[sys.argv[sys.argv.index("node") + 1]]
metadata = node["metadata"]
if (folder / "busy").exists():
    (folder / "busy").unlink()
    metadata["resourceVersion"] += "1"
if patch["metadata"].get("resourceVersion", metadata["resourceVersion"]) != metadata["resourceVersion"]:
    (folder / "nodes").write_text(json.dumps(nodes))
    sys.exit("Error from server (Conflict): the object has been modified")
for kind in ("labels", "annotations"):
    merged = {{**metadata.get(kind, {{}}), **patch["metadata"].get(kind, {{}})}}
    metadata[kind] = {{name: value for name, value in merged.items() if value is not None}}
node["spec"].update(patch.get("spec", {{}}))
(folder / "nodes").write_text(json.dumps(nodes))
"""
TAINT = {"key": "disk", "value": "slow", "effect": "NoSchedule"}


class Cluster:
    """The nodes of a cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.put(
            {
                name: {
                    "metadata": {
                        "name": name,
                        "labels": {"kubernetes.io/os": "linux", "theirs": name},
                        "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
                        "resourceVersion": "1",
                    },
                    "spec": {},
                }
                for name in ("pi-1", "pi-2")
            }
        )

    def put(self, nodes: dict[str, Any]) -> None:
        (self.folder / "nodes").write_text(json.dumps(nodes))

    @property
    def nodes(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "nodes").read_text())
        return found

    def label(self, *, check: bool = False, timeout: int = 10, **nodes: Any) -> dict[str, Any]:
        (self.folder / "asked").write_text("")
        desired = {f"pi-{name[-1]}": {"labels": {}, "taints": [], **given} for name, given in nodes.items()}
        kubeconfig = str(self.folder / "nodes")
        return run_module("node_labels", check=check, nodes=desired, kubeconfig=kubeconfig, timeout=timeout)

    @property
    def patches(self) -> int:
        return (self.folder / "asked").read_text().count(" patch node ")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return Cluster(tmp_path)


def test_labels_and_taints_come_and_go(cluster: Cluster) -> None:
    before = cluster.nodes
    wish = {"labels": {"disk": "ssd"}, "taints": [TAINT]}
    told = ["pi-2: set the label disk=ssd", "pi-2: set the taint disk=slow:NoSchedule"]
    assert cluster.label(pi2=wish, check=True)["changes"] == told
    assert cluster.nodes == before
    assert cluster.label(pi1={}, pi2=wish)["changes"] == told
    assert cluster.patches == 1
    assert cluster.nodes["pi-1"] == before["pi-1"]
    assert cluster.nodes["pi-2"]["spec"] == {"taints": [TAINT]}
    assert cluster.nodes["pi-2"]["metadata"]["labels"]["theirs"] == "pi-2"
    assert cluster.label(pi1={}, pi2=wish)["changed"] is False
    assert cluster.patches == 0
    gone = cluster.label(pi1={}, pi2={})
    assert gone["changes"] == ["pi-2: remove the label disk", "pi-2: remove the taint disk:NoSchedule"]
    assert cluster.nodes == {**before, "pi-2": {**before["pi-2"], "spec": {"taints": []}}}


def test_another_s_change_of_the_taints_meanwhile_is_kept(cluster: Cluster) -> None:
    (cluster.folder / "busy").touch()
    assert cluster.label(pi2={"taints": [TAINT]})["changed"] is True
    assert cluster.patches == 2
    assert cluster.nodes["pi-2"]["spec"] == {"taints": [TAINT]}


def test_a_node_that_is_not_there_is_named_after_the_others_are_done(cluster: Cluster) -> None:
    result = cluster.label(pi2={"labels": {"disk": "ssd"}}, pi9={}, timeout=1)
    assert result["failed"]
    assert "the cluster has no node pi-9; expected all that have labels: run site" in result["msg"]
    assert cluster.nodes["pi-2"]["metadata"]["labels"]["disk"] == "ssd"


def test_before_there_is_a_cluster_check_mode_says_what_would_be(cluster: Cluster) -> None:
    options: dict[str, Any] = {"nodes": {"pi-2": {"labels": {"a": "b"}, "taints": []}}}
    result = run_module("node_labels", check=True, kubeconfig=str(cluster.folder / "none"), **options)
    assert result["changes"] == ["pi-2: set the label a=b"]


def test_what_kubernetes_keeps_is_refused_before_anything_is_asked(cluster: Cluster) -> None:
    result = cluster.label(pi2={"labels": {"kubernetes.io/arch": "arm"}})
    assert "a label is 'kubernetes.io/arch', which Kubernetes keeps itself" in result["msg"]
    assert (cluster.folder / "asked").read_text() == ""
