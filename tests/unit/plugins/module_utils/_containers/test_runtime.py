# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations of Docker and containerd are merged, and what they say of themselves is judged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._containers import runtime, toml
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures" / "containerd"
WANTED: dict[str, Any] = {
    "exec-opts": ["native.cgroupdriver=systemd"],
    "log-driver": "json-file",
    "log-opts": {"max-size": "100m"},
    "storage-driver": "overlay2",
}
WISHES = runtime.ContainerdWishes(cni_bin_dir="/opt/cni/bin")
SANDBOX_WISHES = WISHES._replace(sandbox_image="registry.k8s.io/pause:3.9")


def merge(present: dict[str, Any], wanted: dict[str, Any] | None = None) -> dict[str, Any]:
    merged: dict[str, Any] = json.loads(
        runtime.merge_daemon_json(text=json.dumps(present), wanted=wanted or WANTED)
    )
    return merged


@pytest.mark.parametrize("text", [None, "", "\n", "{}"])
def test_writes_settings_where_there_are_none(text: str | None) -> None:
    merged = runtime.merge_daemon_json(text=text, wanted=WANTED)
    assert json.loads(merged) == WANTED
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
    wanted = {"exec-opts": ["native.cgroupdriver=systemd", "native.cgroupdriver=cgroupfs"]}
    assert merge({}, wanted) == {"exec-opts": ["native.cgroupdriver=cgroupfs"]}


def test_other_lists_are_replaced() -> None:
    assert merge({"dns": ["192.168.1.1"]}, {"dns": ["9.9.9.9"]}) == {"dns": ["9.9.9.9"]}


def test_leaves_text_alone_that_has_the_settings() -> None:
    text = '{ "x": 1,\n  "log-driver": "json-file" }'
    assert runtime.merge_daemon_json(text=text, wanted={"log-driver": "json-file"}) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{\n  "debug": true,\n}',
            r"is not valid JSON: .*: line \d column \d",
        ),
        ('{"a": 1', "is not valid JSON: Expecting ',' delimiter: line 1 column 8"),
        ("[]", r"holds \[\], and a JSON object is wanted"),
    ],
)
def test_refuses_what_is_no_configuration(text: str, message: str) -> None:
    with pytest.raises(runtime.RuntimeConfigError, match=message):
        runtime.merge_daemon_json(text=text, wanted=WANTED)


json_values = st.recursive(
    st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
settings = st.dictionaries(st.sampled_from(["log-opts", "dns", "debug", "x"]), json_values)


@given(settings, settings)
def test_merging_again_changes_nothing(present: dict[str, Any], wanted: dict[str, Any]) -> None:
    once = runtime.merge_daemon_json(text=json.dumps(present), wanted=wanted)
    assert runtime.merge_daemon_json(text=once, wanted=wanted) == once
    assert {key: value for key, value in json.loads(once).items() if key not in wanted} == {
        key: value for key, value in present.items() if key not in wanted
    }


def sample(name: str) -> str:
    return (FIXTURES / name).read_text()


@pytest.mark.parametrize(
    ("dump", "shortcomings"),
    [
        ("default-1.6.20.toml", ["SystemdCgroup is false, wanted true"]),
        (
            "default-1.7.24.toml",
            [
                "SystemdCgroup is false, wanted true",
                "CNI plugins are looked for in /usr/lib/cni, wanted /opt/cni/bin",
            ],
        ),
        ("default-2.1.9.toml", ["SystemdCgroup is false, wanted true"]),
        ("docker-containerd.io.toml", ["disabled_plugins has 'cri', which kubelet needs enabled"]),
    ],
)
def test_tells_what_containerd_does_not_do(dump: str, shortcomings: list[str]) -> None:
    assert runtime.containerd_shortcomings(dump=sample(dump), wishes=WISHES) == shortcomings


# What `containerd config dump` of 1.6 says of a file that gives runc nothing but options.
def test_tells_of_a_runtime_that_lost_its_defaults() -> None:
    dump = sample("default-1.6.20.toml").replace(
        'runtime_type = "io.containerd.runc.v2"', 'runtime_type = ""'
    )
    shortcomings = runtime.containerd_shortcomings(dump=dump, wishes=SANDBOX_WISHES)
    assert 'runtime_type of runc is "", wanted a shim' in shortcomings
    assert "the sandbox image is registry.k8s.io/pause:3.6, wanted registry.k8s.io/pause:3.9" in shortcomings


@pytest.mark.parametrize("dump", sorted(path.name for path in FIXTURES.glob("default-*.toml")))
def test_tells_the_sandbox_image(dump: str) -> None:
    text = sample(dump)
    image = runtime.sandbox_image(dump=text)
    assert image is not None
    assert re.fullmatch(r"registry\.k8s\.io/pause:3\.\d+", image)
    assert runtime.sandbox_image(dump=text.replace(image, "10.0.0.1:5000/pause:1")) == "10.0.0.1:5000/pause:1"


def test_tells_of_no_sandbox_image_without_cri() -> None:
    assert runtime.sandbox_image(dump="version = 2\n") is None


CRI_V2 = ("plugins", "io.containerd.grpc.v1.cri")
CRI_V3 = ("plugins", "io.containerd.cri.v1.runtime")
IMAGES_V3 = ("plugins", "io.containerd.cri.v1.images")
RUNC = ("containerd", "runtimes", "runc")


@pytest.mark.parametrize(
    ("text", "dump", "expected"),
    [
        pytest.param(
            None,
            "default-1.6.20.toml",
            {
                ("version",): 2,
                (*CRI_V2, *RUNC, "runtime_type"): "io.containerd.runc.v2",
                (*CRI_V2, *RUNC, "options", "SystemdCgroup"): True,
                (*CRI_V2, "sandbox_image"): "registry.k8s.io/pause:3.9",
            },
            id="new-v2",
        ),
        pytest.param(
            None,
            "default-2.1.9.toml",
            {
                ("version",): 3,
                (*CRI_V3, *RUNC, "runtime_type"): "io.containerd.runc.v2",
                (*CRI_V3, *RUNC, "options", "SystemdCgroup"): True,
                (*IMAGES_V3, "pinned_images", "sandbox"): "registry.k8s.io/pause:3.9",
            },
            id="new-v3",
        ),
        pytest.param(
            "debian-12.toml",
            "default-1.7.24.toml",
            {
                ("version",): 2,
                (*CRI_V2, *RUNC, "runtime_type"): "io.containerd.runc.v2",
                (*CRI_V2, *RUNC, "options", "SystemdCgroup"): True,
                (*CRI_V2, "cni", "bin_dir"): "/opt/cni/bin",
                (*CRI_V2, "cni", "conf_dir"): "/etc/cni/net.d",
                (*CRI_V2, "sandbox_image"): "registry.k8s.io/pause:3.9",
                ("plugins", "io.containerd.internal.v1.opt", "path"): "/var/lib/containerd/opt",
            },
            id="debian",
        ),
        pytest.param(
            "docker-containerd.io.toml",
            "default-1.6.20.toml",
            {
                ("version",): 2,
                ("disabled_plugins",): [],
                (*CRI_V2, *RUNC, "runtime_type"): "io.containerd.runc.v2",
                (*CRI_V2, *RUNC, "options", "SystemdCgroup"): True,
                (*CRI_V2, "sandbox_image"): "registry.k8s.io/pause:3.9",
            },
            id="docker's-own-package",
        ),
    ],
)
def test_edits_in_the_version_of_the_file(
    text: str | None, dump: str, expected: dict[tuple[str, ...], Any]
) -> None:
    before = None if text is None else sample(text)
    edited = runtime.edit_containerd_config(text=before, dump=sample(dump), wishes=SANDBOX_WISHES)
    assert toml.parse(text=edited).values() == expected
    assert runtime.edit_containerd_config(text=edited, dump=sample(dump), wishes=SANDBOX_WISHES) == edited


def test_adds_a_folder_for_cni_plugins_where_there_may_be_several() -> None:
    dump = sample("default-2.1.9.toml").replace("['/usr/lib/cni', '/opt/cni/bin']", "['/usr/lib/cni']")
    edited = runtime.edit_containerd_config(text=None, dump=dump, wishes=WISHES)
    assert toml.parse(text=edited).values()[(*CRI_V3, "cni", "bin_dirs")] == ["/opt/cni/bin", "/usr/lib/cni"]


def test_keeps_the_rest_of_a_complete_configuration() -> None:
    before = sample("default-1.6.20.toml")
    edited = runtime.edit_containerd_config(text=before, dump=before, wishes=WISHES)
    assert edited == before.replace("SystemdCgroup = false", "SystemdCgroup = true")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[plugins.cri]\n", None),
        ("[plugins.cri]\nsandbox_image = 'x'\n", "is of config version 1, and version 2 or later is wanted"),
        ("version = \n", "is not valid TOML: line 1, column 11"),
        (
            "version = 2\nplugins = 'none'\n",
            'cannot be changed: plugins is "none", and a table is wanted there',
        ),
    ],
)
def test_refuses_what_it_cannot_edit(text: str, message: str | None) -> None:
    dump = sample("default-1.6.20.toml")
    if message is None:
        assert runtime.edit_containerd_config(text=text, dump=dump, wishes=WISHES).startswith("version = 2\n")
        return
    with pytest.raises(runtime.RuntimeConfigError, match=message):
        runtime.edit_containerd_config(text=text, dump=dump, wishes=WISHES)


PLUGINS = """\
TYPE                            ID                       PLATFORMS      STATUS
io.containerd.content.v1        content                  -              ok
io.containerd.grpc.v1           introspection            -              ok
io.containerd.grpc.v1           cri                      linux/amd64    ok
"""
LOG = """\
time="06:19:09.660Z" level=warning msg="failed to load plugin io.containerd.snapshotter.v1.devmapper" \
error="devmapper not configured"
time="06:19:09.706Z" level=info msg="loading plugin \\"io.containerd.grpc.v1.cri\\"..."
time="06:19:09.708Z" level=warning msg="failed to load plugin io.containerd.grpc.v1.cri" \
error="failed to create CRI service: failed to create fsnotify watcher: too many open files"
"""


def test_tells_whether_containerd_serves_cri() -> None:
    assert runtime.serves_cri(plugins=PLUGINS)
    assert not runtime.serves_cri(plugins=PLUGINS.replace("linux/amd64    ok", "linux/amd64    error"))
    assert not runtime.serves_cri(plugins=PLUGINS.replace("cri ", "xxx "))


def test_tells_why_it_does_not() -> None:
    cause = "failed to create CRI service: failed to create fsnotify watcher: too many open files"
    assert runtime.cri_failure(log=LOG) == cause
    assert runtime.cri_failure(log="") == "its log does not say why"


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
    ("changes", "wanted", "accepted", "shortcomings"),
    [
        pytest.param({"Warnings": None}, WANTED, [], [], id="good"),
        pytest.param({}, WANTED, ["No swap limit", "No kernel memory TCP limit"], [], id="accepted"),
        pytest.param(
            {},
            WANTED,
            ["No swap limit support"],
            ["it warns 'WARNING: No kernel memory TCP limit support', wanted no warning about limits"],
            id="limit",
        ),
        pytest.param(
            {"Warnings": None, "CgroupDriver": "cgroupfs", "Driver": "vfs", "LoggingDriver": "journald"},
            WANTED,
            [],
            [
                "cgroup driver is cgroupfs, wanted systemd",
                "storage driver is vfs, wanted overlay2",
                "logging driver is journald, wanted json-file",
            ],
            id="drivers",
        ),
        pytest.param({"Warnings": None, "Driver": "vfs"}, {}, [], [], id="nothing-wanted"),
    ],
)
def test_judges_docker_info(
    changes: dict[str, Any], wanted: dict[str, Any], accepted: list[str], shortcomings: list[str]
) -> None:
    info = runtime.read_docker_info(text=json.dumps({**INFO, **changes}))
    assert runtime.docker_shortcomings(info=info, wanted=wanted, accepted=accepted) == shortcomings


@pytest.mark.parametrize("name", ["20.10.24-debian-12", "26.1.5-debian-13"])
def test_judges_real_docker_info(name: str) -> None:
    info = runtime.read_docker_info(text=(FIXTURES.parent / "docker_info" / f"{name}.json").read_text())
    assert info.server_version.startswith(name.partition("-")[0])
    assert (info.cgroup_driver, info.cgroup_version, info.warnings) == ("systemd", "1", [])
    assert runtime.docker_shortcomings(info=info, wanted=WANTED, accepted=[]) == []


def test_tells_why_docker_says_nothing() -> None:
    errors = ["Cannot connect to the Docker daemon at unix:///var/run/docker.sock."]
    with pytest.raises(runtime.RuntimeConfigError, match="docker info: Cannot connect"):
        runtime.read_docker_info(text=json.dumps({"ID": "", "ServerErrors": errors}))
    with pytest.raises(runtime.RuntimeConfigError, match="docker info is not JSON: Client:"):
        runtime.read_docker_info(text="Client:\n Context: default\n")


def test_reads_units() -> None:
    text = """\
Id=docker.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
ActiveEnterTimestampMonotonic=5250000

Id=cri-docker.socket
LoadState=not-found
ActiveState=inactive
UnitFileState=
ActiveEnterTimestampMonotonic=0
"""
    assert runtime.read_units(text=text) == {
        "docker.service": runtime.Unit(loaded=True, enabled=True, active=True, active_since=5.25),
        "cri-docker.socket": runtime.Unit(loaded=False, enabled=False, active=False, active_since=0),
    }
