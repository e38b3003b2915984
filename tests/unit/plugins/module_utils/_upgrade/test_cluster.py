# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a cluster is asked for the objects whose API goes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import drain
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes.compatibility import Version
from ansible_collections.bramble.pi.plugins.module_utils._upgrade import cluster, removed_apis


class ApiServer:
    """One whose aggregated API of metrics is away, so that kubectl api-resources fails."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.words: list[str] = []
        self.option = "--show-managed-fields"

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        words = command[command.index("kubectl") :]
        if "api-resources" in words:
            return 1, "", "error: unable to retrieve the complete list of server APIs: metrics.k8s.io/v1beta1"
        answer: Any = {"items": []}
        if "--raw=/apis" in words:
            answer = {
                "groups": [{"versions": [{"groupVersion": "batch/v1"}, {"groupVersion": "policy/v1beta1"}]}]
            }
        elif "--raw=/apis/batch/v1" in words:
            answer = {"resources": [{"name": "jobs"}, {"name": "cronjobs"}, {"name": "cronjobs/status"}]}
        elif "--raw=/apis/policy/v1beta1" in words:
            answer = {"resources": [{"name": "poddisruptionbudgets"}]}
        elif "--help" in words:
            return 0, f"Options:\n      {self.option}=false: If true, keep the managedFields\n", ""
        else:
            self.asked.append(words[-1])
            self.words = words
        return 0, json.dumps(answer), ""


@pytest.mark.parametrize("option", ["--show-managed-fields", "--show-kind"])
def test_objects_are_found_while_an_aggregated_api_is_away(option: str) -> None:
    server = ApiServer()
    server.option = option
    question = cluster.Question(Version(1, 25), "", None, (), drain.Consent(), "/etc/kubernetes/admin.conf")
    asked = cluster.Cluster(run=server, warn=lambda text: None, question=question)
    assert asked._objects(removed_apis.removed_between((1, 24), (1, 25))) == []
    # Older kubectls show them unasked.
    assert ("--show-managed-fields" in server.words) == (option == "--show-managed-fields")
    # PodSecurityPolicies are not served here.
    assert server.asked == ["cronjobs.v1.batch,poddisruptionbudgets.v1beta1.policy"]
