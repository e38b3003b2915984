# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role live_view deletes in a cluster, with a kubectl that only notes what it is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.run_module import REPOSITORY

KUBECTL = """#!/bin/sh
echo "$*" >>"$FAKE/asked"
case "$*" in
*--output=json*)
  separator='{"kind": "List", "items": ['
  for each; do
    case "$each" in
    /*) ;;
    */*)
      printf '%s{"kind": "%s", "metadata": {"name": "%s"}}' "$separator" "${each%%/*}" "${each#*/}"
      separator=,
      ;;
    esac
  done
  echo ']}'
  ;;
*"get namespace "*) test ! -e "$FAKE/namespace" || echo "namespace/there" ;;
*api-resources*) printf '%s\\n' pods secrets events events.events.k8s.io widgets.example.org ;;
*" get "*) cat "$FAKE/content" ;;
esac
"""
EMPTY = ["configmap/kube-root-ca.crt", "serviceaccount/default", "secret/default-token-x7k2p"]
OWN = [*EMPTY, "secret/live-view", "serviceaccount/live-view", "secret/live-view-token-abcde"]


@pytest.mark.some(2)
@pytest.mark.parametrize(
    ("namespace", "content", "deleted"),
    [
        ("live-view", EMPTY, True),
        # What was deleted may be seen for a moment more.
        ("live-view", OWN, True),
        ("monitoring", [*EMPTY, "pod/prometheus-0"], False),
        ("monitoring", [*EMPTY, "widget.example.org/one"], False),
        ("monitoring", [*EMPTY, "secret/live-view-of-mine"], False),
        ("default", EMPTY, False),
        ("kube-system", EMPTY, False),
        ("live-view", None, False),
    ],
)
def test_only_what_is_its_own_is_deleted(
    tmp_path: Path, namespace: str, content: list[str] | None, deleted: bool
) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    (tmp_path / "content").write_text("".join(f"{line}\n" for line in content or ()))
    if content is not None:
        (tmp_path / "namespace").touch()
    role = {"name": "bramble.pi.live_view", "tasks_from": "remove_account"}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"live_view_namespace": namespace},
        "tasks": [{"name": "Remove it", "ansible.builtin.include_role": role}],
    }
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps([play]))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local", playbook],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".collections"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "FAKE": str(tmp_path),
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    deletions = [line for line in asked if " delete " in f" {line} "]
    assert all("--timeout" in line for line in deletions)
    named = {word for line in deletions for word in line.split() if "/" in word[1:] and word[0] != "/"}
    assert named == {
        "clusterrolebinding/bramble-live-view",
        "clusterrole/bramble-live-view",
        "secret/live-view",
        "serviceaccount/live-view",
        *([f"namespace/{namespace}"] if deleted else []),
    }
    assert f"The namespace {namespace} stays" in done.stdout or deleted or content in (None, EMPTY)
