# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from tests.unit.preflight_rack import found, problem


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"image_cache_images": ["busybox", "me/app@sha256:00"]},
            "all nodes: image 'me/app@sha256:00' is not valid; expected a name with a tag, such as "
            "registry.k8s.io/pause:3.10, and without a digest. Set it in image_cache_images",
        ),
        (
            {"image_cache_source": "head"},
            "image_cache_source is 'head', which is no node of the cluster: set it in group_vars/all.yml to "
            "one of pi-1, pi-2, pi-3",
        ),
        ({"image_cache_address": "here"}, "all nodes: image_cache_address is 'here', which is not an IPv4"),
        ({"image_cache_address": "0.0.0.0"}, "all nodes: image_cache_address is '0.0.0.0', which cannot be"),
        (
            {"image_cache_port": 70000},
            "all nodes: image_cache_port is 70000; expected a port from 1 to 65535",
        ),
        (
            {"image_cache_dir": "images"},
            "all nodes: image_cache_dir is 'images': set a path from the root on",
        ),
        (
            {"image_cache_archives": [{"src": "/srv/a.tar", "sha256": "12ab"}]},
            "all nodes: sha256 of /srv/a.tar in image_cache_archives is '12ab'; expected the 64 digits",
        ),
    ],
)
def test_images(variables: dict[str, Any], text: str) -> None:
    assert problem(variables).startswith(text)


def test_images_have_one_source_in_the_rack() -> None:
    assert (
        problem(hosts={"pi-2": {"image_cache_source": "pi-2"}, "pi-3": {"image_cache_source": "pi-3"}})
        == "image_cache_source is pi-2 here and pi-3 there: set it once, in group_vars/all.yml"
    )
    hosts = {"pi-1": {"image_cache_address": "203.0.113.7"}}
    assert "set the node's own address in 192.168.1.0/24" in problem(
        hosts=hosts, node_network="192.168.1.0/24"
    )
    good = {
        "image_cache_images": ["ghcr.io/me/app:1", "busybox"],
        "image_cache_source": "pi-1",
        "image_cache_address": "192.168.1.101",
        "image_cache_archives": [{"src": "/srv/a.tar", "sha256": "0" * 64}, {"src": "/srv/b.tar"}],
    }
    assert found(good, node_network="192.168.1.0/24") == ([], [])
