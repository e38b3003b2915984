# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from tests.unit.preflight_rack import check_row, found

THREE = {"control_plane": ["pi-1", "pi-2", "pi-3"], "workers": []}
BESIDE_A_HEAD = {"control_plane": ["pi-1"], "workers": ["pi-2"], "nat_headnode": ["pi-3"]}


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"control_plane_endpoint": "https://k8s.lan:6443"},
            "control_plane_endpoint is 'https://k8s.lan:6443'",
        ),
        ({"control_plane_endpoint": "k8s.lan:64430"}, None),
        ({"control_plane_endpoint": "k8s.lan:65536"}, "control_plane_endpoint is 'k8s.lan:65536'"),
        ({"control_plane_endpoint": "k8s_lan"}, "control_plane_endpoint is 'k8s_lan'"),
        ({"control_plane_endpoint": 6443}, "control_plane_endpoint is 6443; expected a string in quotes"),
        (
            {"control_plane_endpoint": "6443"},
            "control_plane_endpoint is '6443'; expected a name or an IPv4 a",
        ),
        ({"control_plane_endpoint": "192.168.1.300:6443"}, "is '192.168.1.300:6443', which is not an IPv4 a"),
        ({"control_plane_endpoint": "192.168.1.3O:6443"}, "is '192.168.1.3O:6443', which is not an IPv4 add"),
        ({"control_plane_endpoint": "0.0.0.0"}, "is '0.0.0.0', which cannot be the address of a node"),
        ({"control_plane_endpoint": "127.0.0.1:6443"}, "which cannot be the address of a node in a network"),
        ({"control_plane_endpoint": "localhost:6443"}, "which is each machine's own name"),
        ({"control_plane_endpoint": "192.168.1.9:6443"}, None),
        ({"control_plane_endpoint": "k8s.lan"}, None),
        ({"control_plane_endpoint": "192.168.1.101:6443"}, None),
        ({"control_plane_endpoint": "pi-1"}, None),
        # A load balancer may be on a node; what answers at the API server's own port is one.
        ({"control_plane_endpoint": "192.168.1.102:8443"}, None),
        (
            {"control_plane_endpoint": "192.168.1.102:6443"},
            "control_plane_endpoint is '192.168.1.102:6443', which is pi-2, and no control plane; expected a "
            "name or an address that reaches the API server of pi-1: set it in group_vars/all.yml",
        ),
        ({"control_plane_endpoint": "pi-3"}, "is 'pi-3', which is pi-3, and no control plane; expected a"),
    ],
)
def test_what_the_endpoint_is(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text)


@pytest.mark.parametrize(
    ("endpoint", "hosts", "groups", "text"),
    [
        ("192.168.1.101", {}, THREE, None),
        ("192.168.1.9", {}, THREE, None),
        (
            "192.168.1.103:6443",
            {},
            THREE,
            "is '192.168.1.103:6443', which is pi-3, and the cluster begins on pi-1, the first of the group "
            "control_plane; expected a name or an address that reaches the API server of pi-1: set it in "
            "group_vars/all.yml, or put pi-3 first in the group",
        ),
        ("master", {"pi-2": {"os_prep_hostname": "master"}}, THREE, "is 'master', which is pi-2, and"),
        ("10.0.0.2", {"pi-2": {"os_prep_address": "10.0.0.2"}}, THREE, "is '10.0.0.2', which is pi-2, and"),
        ("10.0.0.2", {"pi-2": {"control_plane_advertise_address": "10.0.0.2"}}, THREE, "which is pi-2, and"),
        # A head that is not a node may pass requests on.
        ("192.168.1.103", {}, BESIDE_A_HEAD, None),
    ],
)
def test_whose_address_the_endpoint_is(
    endpoint: str, hosts: dict[str, Any], groups: dict[str, list[str]], text: str | None
) -> None:
    problems, _warnings = found(
        {"control_plane_endpoint": endpoint}, hosts=hosts, groups=groups, node_network="192.168.1.0/24"
    )
    assert "\n".join(problems) == "" if text is None else text in problems[0]
