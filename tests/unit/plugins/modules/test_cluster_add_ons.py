# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module where there is no cluster, or one whose kubectl fails; what it does is in "
"_add_ons/test_apply.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.run_module import run_module

SECRET = "correct-horse-battery"
DEFINITIONS = json.dumps(
    [
        {
            "name": "web",
            "objects": [
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": "web", "labels": {}},
                    "stringData": {"password": SECRET},
                }
            ],
            "wait_for": None,
        }
    ]
)


def test_check_mode_before_there_is_a_cluster(tmp_path: Path) -> None:
    kubeconfig = str(tmp_path / "admin.conf")
    result = run_module("cluster_add_ons", check=True, definitions=DEFINITIONS, kubeconfig=kubeconfig)
    assert (result["changed"], result["add_ons"]) == (True, {"web": "applied"})
    result = run_module("cluster_add_ons", check=True, definitions="[]", kubeconfig=kubeconfig)
    assert (result["changed"], result["add_ons"]) == (False, {})


def test_a_kubectl_that_fails_and_no_secret_in_what_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'The connection to the server was refused' >&2; exit 1\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    result = run_module("cluster_add_ons", definitions=DEFINITIONS, kubeconfig=str(tmp_path / "admin.conf"))
    assert result["failed"]
    assert "ended with 1: The connection to the server was refused" in result["msg"]
    assert result["add_ons"] == {}
    assert SECRET not in json.dumps(result)
