# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import UNKNOWN
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.preflight_rack import NODES, SPECS, check_row, found, problem


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"pod_network_plugin": "calico"},
            "pod_network_plugin is 'calico'; expected one of flannel, routed, none: set pod_network_",
        ),
        ({"docker_daemon_json": "[1]"}, "docker_daemon_json is '[1]'; expected a dictionary: set docker_"),
        ({"control_plane_pod_cidr": UNKNOWN, "kube_packages_version": UNKNOWN}, None),
    ],
)
def test_variables_of_all_hosts(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text)


def test_a_good_rack_has_no_problem() -> None:
    assert found(node_network="192.168.1.0/24") == ([], [])


def test_all_problems_come_at_once() -> None:
    problems, _warnings = found(
        {
            "kube_packages_version": 1.3,
            "control_plane_pod_cidr": "10.244.0.1/16",
            "pod_network_plugin": "calico",
        }
    )
    assert len(problems) == 3


def test_secrets_stay_secret() -> None:
    assert problem({"control_plane_token": "abcdef.0123456789abcdef"}) == (
        "all nodes: control_plane_token is a secret that is not shown here; expected one of not-the-secret: "
        "set control_plane_token in group_vars or host_vars"
    )


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.dates())

VALUES = st.one_of(
    st.just(UNKNOWN),
    st.recursive(
        SCALARS,
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.one_of(st.text(), st.integers()), inner)),
        max_leaves=5,
    ),
)

VARIABLES = st.dictionaries(
    st.one_of(st.sampled_from([name for options in SPECS.values() for name in options]), st.text()), VALUES
)

ONE_OF_EACH = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"]}


# What was found, once by chance.
@example({"live_view_hosts": 1}, {}, ONE_OF_EACH, "")
@example({"control_plane_failure_detection": {1: 1, "a": 1}}, {}, ONE_OF_EACH, "")
@example({"image_cache_port": float("inf")}, {}, ONE_OF_EACH, "")
@example({"image_cache_archives": [{"src": "/a", "sha256": [1]}]}, {}, ONE_OF_EACH, "")
@given(
    variables=VARIABLES,
    of_host=VARIABLES,
    groups=st.dictionaries(
        st.sampled_from(
            [
                "all",
                "control_plane",
                "workers",
                "nat_headnode",
                "netboot",
                "netboot_server",
                "node_network",
                "rack_services",
            ]
        ),
        st.lists(st.sampled_from(list(NODES))),
    ),
    node_network=st.one_of(st.just("192.168.1.0/24"), VALUES),
)
def test_whatever_the_inventory_holds_the_answer_is_a_list_of_lines(
    variables: dict[str, Any], of_host: dict[str, Any], groups: dict[str, list[str]], node_network: Any
) -> None:
    for lines in found(variables, hosts={"pi-2": of_host}, groups=groups, node_network=node_network):
        assert all(isinstance(line, str) and line for line in lines)
