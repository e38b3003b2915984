# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
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
