# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of Docker are merged, and what it says of itself is checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers import docker
from ansible_collections.bramble.pi.plugins.module_utils._containers.base import RuntimeConfigError
from hypothesis import given
from hypothesis import strategies as st

INFOS = Path(__file__).parents[3] / "fixtures" / "docker_info"
DESIRED: dict[str, Any] = {
    "exec-opts": ["native.cgroupdriver=systemd"],
    "log-driver": "json-file",
    "log-opts": {"max-size": "100m"},
    "storage-driver": "overlay2",
}


def merge(present: dict[str, Any], desired: dict[str, Any] | None = None) -> dict[str, Any]:
    merged: dict[str, Any] = json.loads(
        docker.merge_daemon_json(text=json.dumps(present), desired=desired or DESIRED)
    )
    return merged


@pytest.mark.parametrize("text", [None, "", "\n", "{}"])
def test_writes_settings_where_there_are_none(text: str | None) -> None:
    merged = docker.merge_daemon_json(text=text, desired=DESIRED)
    assert json.loads(merged) == DESIRED
    assert merged.endswith("}\n")


def test_keeps_what_a_user_has() -> None:
    present = {
        "registry-mirrors": ["http://mirror:5000"],
        "exec-opts": ["isolation=default", "native.cgroupdriver=cgroupfs", "native.cgroupdriver=none"],
        "log-opts": {"max-file": "3", "max-size": "1g"},
    }
    assert merge(present) == {
        "registry-mirrors": ["http://mirror:5000"],
        "exec-opts": ["isolation=default", "native.cgroupdriver=systemd"],
        "log-opts": {"max-file": "3", "max-size": "100m"},
        "log-driver": "json-file",
        "storage-driver": "overlay2",
    }


def test_later_option_takes_the_place_of_an_earlier_one() -> None:
    desired = {"exec-opts": ["native.cgroupdriver=systemd", "native.cgroupdriver=cgroupfs"]}
    assert merge({}, desired) == {"exec-opts": ["native.cgroupdriver=cgroupfs"]}


def test_other_lists_are_replaced() -> None:
    assert merge({"dns": ["192.168.1.1"]}, {"dns": ["9.9.9.9"]}) == {"dns": ["9.9.9.9"]}


def test_leaves_text_alone_that_has_the_settings() -> None:
    text = '{ "x": 1,\n  "log-driver": "json-file" }'
    assert docker.merge_daemon_json(text=text, desired={"log-driver": "json-file"}) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{\n  "debug": true,\n}',
            r"is not valid JSON: .*: line \d column \d",
        ),
        ('{"a": 1', "is not valid JSON: Expecting ',' delimiter: line 1 column 8"),
        ("[]", r"holds \[\]; expected a JSON object"),
    ],
)
def test_refuses_what_is_no_configuration(text: str, message: str) -> None:
    with pytest.raises(RuntimeConfigError, match=message):
        docker.merge_daemon_json(text=text, desired=DESIRED)


# Small ones: most of the time would go into the making of large ones.
words = st.text(max_size=5)
json_values = st.recursive(
    st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
settings = st.dictionaries(st.sampled_from(["log-opts", "dns", "debug", "x"]), json_values)


@given(settings, settings)
def test_merging_again_changes_nothing(present: dict[str, Any], desired: dict[str, Any]) -> None:
    once = docker.merge_daemon_json(text=json.dumps(present), desired=desired)
    assert docker.merge_daemon_json(text=once, desired=desired) == once
    assert {key: value for key, value in json.loads(once).items() if key not in desired} == {
        key: value for key, value in present.items() if key not in desired
    }


INFO: dict[str, Any] = {
    "ServerVersion": "20.10.24+dfsg1",
    "CgroupDriver": "systemd",
    "CgroupVersion": "1",
    "Driver": "overlay2",
    "LoggingDriver": "json-file",
    "Warnings": [
        "WARNING: No swap limit support",
        "WARNING: No kernel memory TCP limit support",
        "WARNING: bridge-nf-call-iptables is disabled",
        "WARNING: No blkio throttle.read_bps_device support",
    ],
}


@pytest.mark.parametrize(
    ("changes", "desired", "accepted", "shortcomings"),
    [
        pytest.param({"Warnings": None}, DESIRED, [], [], id="good"),
        pytest.param({}, DESIRED, ["No swap limit", "No kernel memory TCP limit"], [], id="accepted"),
        pytest.param(
            {},
            DESIRED,
            ["No swap limit support"],
            ["it warns 'WARNING: No kernel memory TCP limit support', expected no warning about limits"],
            id="limit",
        ),
        pytest.param(
            {"Warnings": None, "CgroupDriver": "cgroupfs", "Driver": "vfs", "LoggingDriver": "journald"},
            DESIRED,
            [],
            [
                "cgroup driver is cgroupfs, expected systemd",
                "storage driver is vfs, expected overlay2",
                "logging driver is journald, expected json-file",
            ],
            id="drivers",
        ),
        pytest.param({"Warnings": None, "Driver": "vfs"}, {}, [], [], id="nothing-desired"),
    ],
)
def test_checks_docker_info(
    changes: dict[str, Any], desired: dict[str, Any], accepted: list[str], shortcomings: list[str]
) -> None:
    info = docker.read_docker_info(text=json.dumps({**INFO, **changes}))
    assert docker.docker_shortcomings(info=info, desired=desired, accepted=accepted) == shortcomings


@pytest.mark.parametrize("name", ["20.10.24-debian-12", "26.1.5-debian-13"])
def test_checks_real_docker_info(name: str) -> None:
    info = docker.read_docker_info(text=(INFOS / f"{name}.json").read_text())
    assert info.server_version.startswith(name.partition("-")[0])
    assert (info.cgroup_driver, info.cgroup_version, info.warnings) == ("systemd", "1", [])
    assert docker.docker_shortcomings(info=info, desired=DESIRED, accepted=[]) == []


def test_tells_why_docker_says_nothing() -> None:
    errors = ["Cannot connect to the Docker daemon at unix:///var/run/docker.sock."]
    with pytest.raises(RuntimeConfigError, match="docker info: Cannot connect"):
        docker.read_docker_info(text=json.dumps({"ID": "", "ServerErrors": errors}))
    with pytest.raises(RuntimeConfigError, match="docker info is not JSON: Client:"):
        docker.read_docker_info(text="Client:\n Context: default\n")
