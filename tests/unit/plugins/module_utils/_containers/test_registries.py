# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers import registries

V2 = "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry"
V3 = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, ""),
        (f"{V3}]\nconfig_path = '/etc/containerd/certs.d'\n", ""),
        (f"{V2}.mirrors.'docker.io']\nendpoint = ['https://mirror.lan']\n", "mirrors"),
        (f"{V2}.configs.'mirror.lan'.tls]\ninsecure_skip_verify = true\n", "configs"),
        (
            f"{V3}]\nmirrors = {{ 'docker.io' = {{ endpoint = ['https://m'] }} }}\nauths.'m'.u = 'u'\n",
            "auths, mirrors",
        ),
        ("[mirrors]\nregistry = 'x'\n", ""),
        ("version = \n", ""),
    ],
)
def test_settings_that_containerd_2_4_does_not_read(text: str | None, names: str) -> None:
    found = registries.warning(text=text, path="/etc/containerd/config.toml")
    if names:
        assert str(found).startswith(f"/etc/containerd/config.toml has {names} of registries, which")
    else:
        assert found is None
