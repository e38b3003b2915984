# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations of containerd are edited, what it says of itself is checked, and pods' containers go."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import CommandError
from ansible_collections.bramble.pi.plugins.module_utils._containers import (
    containerd,
    containerd_images,
    toml,
)
from ansible_collections.bramble.pi.plugins.module_utils._containers.base import (
    RuntimeConfigError,
    RuntimeStateError,
    Wishes,
)

FIXTURES = Path(__file__).parents[3] / "fixtures" / "containerd"
WISHES = Wishes(cni_bin_dir="/opt/cni/bin")
SANDBOX_WISHES = replace(WISHES, sandbox_image="registry.k8s.io/pause:3.9")


def sample(name: str) -> str:
    return (FIXTURES / name).read_text()


@pytest.mark.parametrize(
    ("dump", "shortcomings"),
    [
        ("default-1.6.20.toml", ["SystemdCgroup is false, expected true"]),
        (
            "default-1.7.24.toml",
            [
                "SystemdCgroup is false, expected true",
                "CNI plugins are looked for in /usr/lib/cni, expected /opt/cni/bin",
            ],
        ),
        ("default-2.1.9.toml", ["SystemdCgroup is false, expected true"]),
        ("default-2.3.0.toml", ["SystemdCgroup is false, expected true"]),
        ("docker-containerd.io.toml", ["disabled_plugins has 'cri', which kubelet needs enabled"]),
    ],
)
def test_tells_what_containerd_does_not_do(dump: str, shortcomings: list[str]) -> None:
    assert containerd.containerd_shortcomings(dump=sample(dump), wishes=WISHES) == shortcomings


# What `containerd config dump` of 1.6 says of a file that gives runc nothing but options.
def test_tells_of_a_runtime_that_lost_its_defaults() -> None:
    dump = sample("default-1.6.20.toml").replace(
        'runtime_type = "io.containerd.runc.v2"', 'runtime_type = ""'
    )
    shortcomings = containerd.containerd_shortcomings(dump=dump, wishes=SANDBOX_WISHES)
    assert 'runtime_type of runc is "", expected a shim' in shortcomings
    assert (
        "the sandbox image is registry.k8s.io/pause:3.6, expected registry.k8s.io/pause:3.9" in shortcomings
    )


@pytest.mark.parametrize("dump", sorted(path.name for path in FIXTURES.glob("default-*.toml")))
def test_tells_the_sandbox_image(dump: str) -> None:
    text = sample(dump)
    image = containerd.sandbox_image(dump=text)
    assert image is not None
    assert re.fullmatch(r"registry\.k8s\.io/pause:3\.\d+", image)
    assert (
        containerd.sandbox_image(dump=text.replace(image, "10.0.0.1:5000/pause:1")) == "10.0.0.1:5000/pause:1"
    )


def test_tells_of_no_sandbox_image_without_cri() -> None:
    assert containerd.sandbox_image(dump="version = 2\n") is None


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
            None,
            "default-2.3.0.toml",
            {
                ("version",): 4,
                (*CRI_V3, *RUNC, "runtime_type"): "io.containerd.runc.v2",
                (*CRI_V3, *RUNC, "options", "SystemdCgroup"): True,
                (*IMAGES_V3, "pinned_images", "sandbox"): "registry.k8s.io/pause:3.9",
            },
            id="new-v4",
        ),
        # What containerd 1 was configured with is kept in its version, which the newer ones read.
        *(
            pytest.param(
                "docker-containerd.io.toml",
                dump,
                {
                    ("version",): 2,
                    ("disabled_plugins",): [],
                    (*CRI_V2, *RUNC, "runtime_type"): "io.containerd.runc.v2",
                    (*CRI_V2, *RUNC, "options", "SystemdCgroup"): True,
                    (*CRI_V2, "sandbox_image"): "registry.k8s.io/pause:3.9",
                },
                id=f"v2-read-by-{dump}",
            )
            for dump in ("default-2.1.9.toml", "default-2.3.0.toml")
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
    edited = containerd.edit_containerd_config(text=before, dump=sample(dump), wishes=SANDBOX_WISHES)
    assert toml.parse(text=edited).values() == expected
    assert containerd.edit_containerd_config(text=edited, dump=sample(dump), wishes=SANDBOX_WISHES) == edited


def test_adds_a_folder_for_cni_plugins_where_there_may_be_several() -> None:
    dump = sample("default-2.1.9.toml").replace("['/usr/lib/cni', '/opt/cni/bin']", "['/usr/lib/cni']")
    edited = containerd.edit_containerd_config(text=None, dump=dump, wishes=WISHES)
    assert toml.parse(text=edited).values()[(*CRI_V3, "cni", "bin_dirs")] == ["/opt/cni/bin", "/usr/lib/cni"]


def test_keeps_the_rest_of_a_complete_configuration() -> None:
    before = sample("default-1.6.20.toml")
    edited = containerd.edit_containerd_config(text=before, dump=before, wishes=WISHES)
    assert edited == before.replace("SystemdCgroup = false", "SystemdCgroup = true")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[plugins.cri]\n", None),
        ("[plugins.cri]\nsandbox_image = 'x'\n", "is of config version 1; expected version 2 or later"),
        ("version = \n", "is not valid TOML: line 1, column 11"),
        (
            "version = 2\nplugins = 'none'\n",
            'cannot be changed: plugins is "none", and a table is expected there',
        ),
    ],
)
def test_refuses_what_it_cannot_edit(text: str, message: str | None) -> None:
    dump = sample("default-1.6.20.toml")
    if message is None:
        assert containerd.edit_containerd_config(text=text, dump=dump, wishes=WISHES).startswith(
            "version = 2\n"
        )
        return
    with pytest.raises(RuntimeConfigError, match=message):
        containerd.edit_containerd_config(text=text, dump=dump, wishes=WISHES)


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
    assert containerd.serves_cri(plugins=PLUGINS)
    assert not containerd.serves_cri(plugins=PLUGINS.replace("linux/amd64    ok", "linux/amd64    error"))
    assert not containerd.serves_cri(plugins=PLUGINS.replace("cri ", "xxx "))


def test_tells_why_it_does_not() -> None:
    cause = "failed to create CRI service: failed to create fsnotify watcher: too many open files"
    assert containerd.cri_failure(log=LOG) == cause
    assert containerd.cri_failure(log="") == "its log does not say why"


class Ctr:
    """A containerd with containers."""

    def __init__(self, *containers: str, stubborn: bool = False) -> None:
        self.containers = list(containers)
        self.stubborn = stubborn
        self.run: list[list[str]] = []
        self.started = time.monotonic() - 60
        #: The word of a command at which the module is killed.
        self.killed_at = ""

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        if command[:2] == ["systemctl", "show"]:
            return 0, f"ActiveState=active\nActiveEnterTimestampMonotonic={int(self.started * 1e6)}\n", ""
        if self.killed_at in command:
            self.killed_at = ""
            raise KeyboardInterrupt
        if command[:2] == ["systemctl", "restart"]:
            self.started = time.monotonic()
        self.run.append([word for word in command if word not in ("timeout", "30", "--namespace=k8s.io")])
        if "list" in command:
            return 0, "\n".join(self.containers), ""
        if command[-3:-1] == ["containers", "delete"] and not self.stubborn:
            self.containers.remove(command[-1])
        return 0, "", ""


@pytest.fixture(autouse=True)
def removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containerd, "_REMOVED", str(tmp_path / "removed"))


def remove_containers(ctr: Ctr, *, installed: bool = True) -> None:
    containerd.Containerd().remove_containers(run=ctr, has=lambda program: installed)


def test_removes_the_containers_that_kubeadm_leaves() -> None:
    ctr = Ctr("a1", "b2")
    remove_containers(ctr)
    assert ["ctr", "tasks", "kill", "--signal=SIGKILL", "a1"] in ctr.run
    assert ctr.run[-1] == ["systemctl", "restart", "containerd"]
    assert ctr.containers == []


def test_restarts_nothing_where_there_are_none() -> None:
    ctr = Ctr()
    remove_containers(ctr)
    assert ctr.run == [["ctr", "containers", "list", "--quiet"]]
    remove_containers(ctr, installed=False)
    assert len(ctr.run) == 1


@pytest.mark.parametrize("moment", ["list", "kill", "delete", "restart"])
def test_a_run_that_was_killed_is_finished(moment: str) -> None:
    ctr = Ctr("a1", "b2")
    ctr.killed_at = moment
    runtime = containerd.Containerd()
    with pytest.raises(KeyboardInterrupt):
        remove_containers(ctr)
    assert runtime.leaves_containers(run=ctr, has=lambda program: True)
    remove_containers(ctr)
    assert ctr.run[-1] == ["systemctl", "restart", "containerd"]
    assert ctr.containers == []
    assert not runtime.leaves_containers(run=ctr, has=lambda program: True)
    restarts = ctr.run.count(["systemctl", "restart", "containerd"])
    remove_containers(ctr)
    assert ctr.run.count(["systemctl", "restart", "containerd"]) == restarts == 1


def test_nothing_is_left_where_nobody_can_be_asked() -> None:
    runtime = containerd.Containerd()
    assert not runtime.leaves_containers(run=Ctr("a1"), has=lambda program: False)
    refused = (1, "", "ctr: failed to dial")
    assert not runtime.leaves_containers(run=lambda command: refused, has=lambda program: True)


def test_containers_that_stay_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containerd, "_CONTAINERS_SECONDS", 0)
    with pytest.raises(RuntimeStateError, match="containers a1 cannot be removed from containerd; reboot"):
        remove_containers(Ctr("a1", stubborn=True))


# containerd 1.7.24, of which the second line is an image whose layers were thrown away after unpacking.
CHECKED = """\
REF                        TYPE                                    DIGEST                                                                  STATUS            SIZE            UNPACKED 
10.0.0.1:5000/hello:1      application/vnd.oci.image.index.v1+json sha256:09d56599b3f582974208dddd5498d5238d1fe25de0c31223e12ccb3f4022c743 complete (2/2)    308.0 B/308.0 B true
registry.k8s.io/pause:3.6  application/vnd.oci.image.index.v1+json sha256:3f1d0963486ca29cb1ad9a6282c7b18e0edfc82dd8d0328ca603892d46b670ab incomplete (1/2)  10.0 B/690.4 KiB true
10.0.0.1:5000/spoilt:1     application/vnd.oci.image.index.v1+json sha256:896c1056aa99fc2a346d13c033fa8cd4e9b3c233a79ee81a16137c5d5cb292a5 complete (2/2)    46.3 MiB/46.3 MiB false
10.0.0.1:5000/only-arm:1   application/vnd.oci.image.index.v1+json sha256:be2580bf998bf6970b8fd967663a115488f67af5bdc6800928307ac510163671 unavailable (0/?) 0.0 B/?         false
"""  # noqa: E501, W291


def test_tells_which_images_can_be_used() -> None:
    usable = containerd_images.usable(text=CHECKED)
    assert list(usable) == ["10.0.0.1:5000/hello:1", "registry.k8s.io/pause:3.6"]
    assert usable["10.0.0.1:5000/hello:1"].startswith("sha256:09d56599")
    assert containerd_images.usable(text="") == {}


def test_tells_why_there_is_no_list_of_images() -> None:
    client = containerd_images.ContainerdImages(
        run=lambda command: (1, "", "ctr: failed to dial: connection refused\n"), architecture="arm64"
    )
    with pytest.raises(CommandError, match=r"images check' ended with 1: ctr: failed to dial"):
        client.images(names={"x:1"})


class Registry:
    """A ctr that has or fetches one image, and notes what it was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fails: str = "") -> None:
        monkeypatch.setattr(os.path, "isdir", lambda path: path == "/etc/containerd/certs.d")
        self.fails = fails
        self.log: list[str] = []
        self.client = containerd_images.ContainerdImages(run=self, architecture="arm64")

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        self.log.append(" ".join(command).removeprefix("ctr --namespace "))
        if "check" in command:
            return 0, CHECKED, ""
        failed = self.fails and self.fails in command
        return (1, "elapsed: 0.1 s\n", "resolving\nctr: not found\n") if failed else (0, "", "")


def test_an_image_of_another_architecture_is_fetched_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(monkeypatch)
    registry.client.fetch_aside("x:1", "arm", "/x.tar")
    assert registry.log == [
        "bramble-images content fetch --hosts-dir /etc/containerd/certs.d --platform linux/arm/v7 x:1",
        "bramble-images images export --platform linux/arm/v7 /x.tar x:1",
        "bramble-images images rm --sync x:1",
        "ctr namespaces rm bramble-images",
    ]
    registry = Registry(monkeypatch, fails="fetch")
    with pytest.raises(CommandError, match="ended with 1: ctr: not found"):
        registry.client.fetch_aside("x:1", "arm", "/x.tar")
    assert registry.log[1:] == ["bramble-images images rm --sync x:1", "ctr namespaces rm bramble-images"]


def test_nothing_stays_of_an_image_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(monkeypatch)
    assert registry.client.pull("x:1") is None
    assert registry.log == [
        "k8s.io images pull --hosts-dir /etc/containerd/certs.d --platform linux/arm64 x:1",
        "k8s.io images check",
        "k8s.io images rm x:1",
    ]
    registry = Registry(monkeypatch, fails="import")
    with pytest.raises(CommandError, match="ended with 1: ctr: not found"):
        registry.client.load("/x.tar", names={"x:1"})
    assert registry.log == [
        "k8s.io images import --platform linux/arm64 /x.tar",
        "k8s.io images check",
        "k8s.io images rm x:1",
    ]
