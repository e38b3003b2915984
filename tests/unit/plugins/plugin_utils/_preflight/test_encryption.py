# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from tests.unit.preflight_rack import found

FLAG = "encryption-provider-config"
OWN = {"apiServer": {"extraArgs": {FLAG: "/etc/kubernetes/pki/mine.yml"}}}
LISTED = {"apiServer": {"extraArgs": [{"name": FLAG, "value": "/etc/kubernetes/pki/mine.yml"}]}}
REFUSED = "has encryption-provider-config in apiServer.extraArgs, and control_plane_encrypt_secrets is true"


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({}, None),
        ({"control_plane_encrypt_secrets": True}, None),
        ({"control_plane_encrypt_secrets": True, "encryption_rotate": True}, None),
        ({"encryption_rotate": False}, None),
        (
            {"encryption_rotate": True},
            "encryption_rotate is true, and control_plane_encrypt_secrets is not; expected a key",
        ),
        (
            {"control_plane_encrypt_secrets": False, "encryption_rotate": True},
            "set control_plane_encrypt_secrets to true",
        ),
        ({"control_plane_cluster_configuration": OWN}, None),
        ({"control_plane_encrypt_secrets": True, "control_plane_cluster_configuration": OWN}, REFUSED),
        ({"control_plane_encrypt_secrets": True, "control_plane_cluster_configuration": LISTED}, REFUSED),
        ({"control_plane_encrypt_secrets": True, "control_plane_cluster_configuration": {}}, None),
    ],
)
def test_what_goes_together(variables: dict[str, Any], text: str | None) -> None:
    problems, _warnings = found(variables)
    assert problems == [] if text is None else any(text in each for each in problems)
