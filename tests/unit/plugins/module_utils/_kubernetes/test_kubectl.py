# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import kubectl


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("", {}),
        ("namespace/kube-flannel created\n", {"namespace/kube-flannel": "created"}),
        (
            "clusterrole.rbac.authorization.k8s.io/flannel unchanged\n"
            "daemonset.apps/kube-flannel-ds configured\n",
            {
                "clusterrole.rbac.authorization.k8s.io/flannel": "unchanged",
                "daemonset.apps/kube-flannel-ds": "configured",
            },
        ),
        ("namespace/kube-flannel created (server dry run)\n", {"namespace/kube-flannel": "created"}),
        ("service/verify unchanged (dry run)\n", {"service/verify": "unchanged"}),
        ("Warning: resource x is missing the annotation\n", {}),
    ],
)
def test_what_became_of_the_objects(text: str, objects: dict[str, str]) -> None:
    assert kubectl.applied(text) == objects


@pytest.mark.parametrize(
    ("error", "only"),
    [
        ("", False),
        (
            'Error from server (NotFound): error when creating "STDIN": namespaces "x" not found\n',
            True,
        ),
        (
            'Error from server (NotFound): error when creating "STDIN": namespaces "a" not found\n'
            'Error from server (Forbidden): error when creating "STDIN": services is forbidden\n',
            False,
        ),
        (
            "The connection to the server pi-1:6443 was refused - did you specify the right host or port?\n",
            False,
        ),
    ],
)
def test_dry_run_without_the_namespace(error: str, only: bool) -> None:
    assert kubectl.only_namespace_missing(error) is only


OTHER_ROLE = (
    'The ClusterRoleBinding "bramble-remote-ada" is invalid: roleRef: Invalid value: '
    'rbac.RoleRef{APIGroup:"rbac.authorization.k8s.io", Kind:"ClusterRole", Name:"view"}: '
    "cannot change roleRef\n"
)
BINDING = "clusterrolebinding.rbac.authorization.k8s.io/bramble-remote-ada"


def answers(tmp_path: Path, *given: tuple[int, str, str], check_mode: bool = False) -> tuple[Any, list[str]]:
    """Apply with a kubectl that gives these answers; return the result and what was done."""
    kubeconfig_path = tmp_path / "admin.conf"
    kubeconfig_path.touch()
    left, done = list(given), []

    def run(command: list[str]) -> tuple[int, str, str]:
        assert command[:2] == ["timeout", "--kill-after=10"]
        assert "--request-timeout=60s" in command
        done.append(" ".join(command[7:]))
        return left.pop(0)

    result = kubectl.apply(run=run, kubeconfig=str(kubeconfig_path), check_mode=check_mode)
    assert not left
    return result, done


def test_a_binding_with_another_role_is_made_anew(tmp_path: Path) -> None:
    there = json.dumps({"kind": "ClusterRoleBinding", "metadata": {"name": "bramble-remote-ada"}})
    result, done = answers(
        tmp_path, (1, "", OTHER_ROLE), (0, there, ""), (0, "", ""), (0, f"{BINDING} created\n", "")
    )
    assert result == {"changed": True, "objects": {BINDING: "configured"}}
    get = "get --ignore-not-found --output=json clusterrolebinding/bramble-remote-ada"
    delete = "delete --ignore-not-found --timeout=60s clusterrolebinding/bramble-remote-ada"
    assert done == ["apply -f -", get, delete, "apply -f -"]


def test_check_mode_only_says_that_the_role_would_change(tmp_path: Path) -> None:
    result, done = answers(tmp_path, (1, "", OTHER_ROLE), check_mode=True)
    assert result == {"changed": True, "objects": {BINDING: "configured"}}
    assert done == ["apply -f - --dry-run=server"]


@pytest.mark.parametrize(
    "errors",
    [
        OTHER_ROLE + "Error from server (Forbidden): services is forbidden\n",
        'The ClusterRoleBinding "x" is invalid: subjects[0]: Required value\n',
    ],
)
def test_nothing_is_deleted_for_another_fault(tmp_path: Path, errors: str) -> None:
    with pytest.raises(CommandError, match="ended with 1"):
        answers(tmp_path, (1, "", errors))


def test_rights_that_cannot_be_given_again_are_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="refused"):
        answers(tmp_path, (1, "", OTHER_ROLE), (0, "", ""), (1, "", "refused\n"))


def test_an_api_server_that_does_not_end_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"^'kubectl .* did not end within 300 s; .*bramble\.pi\.doctor"):
        answers(tmp_path, (124, "", ""))
