# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is deleted and what stays, and what is said of it, with a kubectl that answers from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.run_module import run_module

KUBECTL = """#!/bin/sh
echo "$*" >>"${0%/*}/asked"
case "$*" in
*" get "*) cat "${0%/*}/there" ;;
*) cat "${0%/*}/errors" >&2; exit "$(cat "${0%/*}/code")" ;;
esac
"""
OURS = {"app.kubernetes.io/managed-by": "bramble-verify"}
GOING = "2026-10-01T12:00:00Z"
TIMED_OUT = "error: timed out waiting for the condition on namespaces/kube-verify"


class Cluster:
    """What there is, and what kubectl delete does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def delete(
        self, *things: dict[str, Any], code: int = 0, errors: str = "", check: bool = False, **options: Any
    ) -> dict[str, Any]:
        (self.folder / "asked").write_text("")
        answer = {"kind": "List", "items": things} if len(things) > 1 else things[0] if things else None
        (self.folder / "there").write_text(json.dumps(answer) if answer else "")
        (self.folder / "code").write_text(str(code))
        (self.folder / "errors").write_text(errors)
        given = {"objects": ["namespace/kube-verify"], "kubeconfig": str(self.folder / "there"), **options}
        return run_module("kubectl_delete", check=check, **given)

    @property
    def deleted(self) -> list[str]:
        asked = (self.folder / "asked").read_text().splitlines()
        return [line.partition(" delete ")[2] for line in asked if " delete " in line]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return Cluster(tmp_path)


def namespace(*, labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    metadata = {"name": "kube-verify", "labels": labels or {}, **more.pop("metadata", {})}
    return {"kind": "Namespace", "metadata": metadata, **more}


def test_what_is_there_is_deleted_within_a_time(cluster: Cluster) -> None:
    result = cluster.delete(namespace(labels=OURS), managed_by="bramble-verify", timeout=7)
    assert result["removed"] == ["namespace/kube-verify"]
    assert cluster.deleted == ["--ignore-not-found --timeout=7s namespace/kube-verify"]
    assert cluster.delete()["changed"] is False
    assert cluster.deleted == []
    assert cluster.delete(namespace(), check=True)["changed"] is True
    assert cluster.deleted == []


@pytest.mark.parametrize("labels", [{}, {"app.kubernetes.io/managed-by": "Helm"}])
@pytest.mark.parametrize("check", [False, True])
def test_what_somebody_else_has_made_stays(cluster: Cluster, labels: dict[str, str], check: bool) -> None:
    other = {"kind": "Secret", "metadata": {"name": "a", "labels": OURS}}
    result = cluster.delete(
        other, namespace(labels=labels), managed_by="bramble-verify", variable="verify_namespace", check=check
    )
    assert result["failed"]
    assert (
        "namespace/kube-verify is there and has no label app.kubernetes.io/managed-by=bramble-verify"
        in (result["msg"])
    )
    assert "set verify_namespace to a name that is free" in result["msg"]
    assert cluster.deleted == []


HELD = [
    (
        namespace(metadata={"deletionTimestamp": GOING, "finalizers": ["example.org/volume"]}),
        ["namespace/kube-verify is held by", "its finalizers example.org/volume"],
    ),
    (
        namespace(
            metadata={"deletionTimestamp": GOING},
            status={
                "conditions": [
                    {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "all well"},
                    {
                        "type": "NamespaceFinalizersRemaining",
                        "status": "True",
                        "message": "Some content has finalizers remaining: x.example.org",
                    },
                ]
            },
        ),
        ["Some content has finalizers remaining: x.example.org"],
    ),
    (namespace(), ["the API server has not begun to delete it"]),
    (namespace(metadata={"deletionTimestamp": GOING}), ["the API server does not say why"]),
]


@pytest.mark.parametrize(("thing", "parts"), HELD)
@pytest.mark.parametrize(("code", "errors"), [(1, TIMED_OUT), (124, "")])
def test_what_holds_it_is_named(
    cluster: Cluster, thing: dict[str, Any], parts: list[str], code: int, errors: str
) -> None:
    result = cluster.delete(thing, code=code, errors=errors, timeout=3)
    assert result["failed"]
    assert result["msg"].startswith("Not deleted after 3 s: ")
    assert all(part in result["msg"] for part in parts)
    assert "all well" not in result["msg"]


def test_another_fault_is_told_as_it_is(cluster: Cluster) -> None:
    result = cluster.delete(namespace(), code=1, errors="Error from server (Forbidden): no")
    assert "ended with 1: Error from server (Forbidden): no" in result["msg"]
