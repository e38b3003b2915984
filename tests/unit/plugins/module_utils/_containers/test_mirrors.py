# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomllib
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._containers import (
    containerd,
    docker,
    mirror_files,
    mirrors,
    toml,
)
from ansible_collections.bramble.pi.plugins.module_utils._containers.base import (
    Host,
    Runtime,
    RuntimeConfigError,
    RuntimeStateError,
    Wishes,
)
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES

FIXTURES = Path(__file__).parents[3] / "fixtures" / "containerd"
HUB = mirrors.Mirror("docker.io", "https://registry-1.docker.io", "https://10.0.0.1:5010")
QUAY = mirrors.Mirror("quay.io", "https://quay.io", "https://10.0.0.1:5011")
OURS = ["https://10.0.0.1:5010"]
HUB_FILE, QUAY_FILE = (f"/etc/containerd/certs.d/{name}/hosts.toml" for name in ("docker.io", "quay.io"))
DOCKER_FILE = "/etc/docker/certs.d/10.0.0.1:5010/bramble.crt"


def test_containerd_asks_the_mirror_and_then_the_registry() -> None:
    assert tomllib.loads(mirrors.hosts_toml(HUB)) == {
        "server": "https://registry-1.docker.io",
        "host": {
            "https://10.0.0.1:5010": {
                "capabilities": ["pull", "resolve"],
                "ca": "/etc/bramble/image-mirror-ca.crt",
                "dial_timeout": "3s",
            }
        },
    }


@pytest.mark.parametrize(
    ("present", "found", "expected"),
    [
        (None, False, "/etc/containerd/certs.d"),
        ("", False, "/etc/containerd/certs.d"),
        ("/etc/containerd/certs.d:/etc/docker/certs.d", True, None),
        ("/srv/certs.d", False, "/etc/containerd/certs.d:/srv/certs.d"),
    ],
)
def test_where_containerd_looks(present: str | None, *, found: bool, expected: str | None) -> None:
    assert mirrors.looked_for(present) is found
    assert found or mirrors.config_path(present) == expected


@pytest.mark.parametrize(
    ("settings", "present", "ours", "former", "expected"),
    [
        ({}, None, [], [], None),
        ({}, None, OURS, [], OURS),
        ({}, OURS, OURS, OURS, OURS),
        # The user's own mirrors stay, behind.
        ({}, ["https://mine"], OURS, [], [*OURS, "https://mine"]),
        ({"registry-mirrors": ["https://mine"]}, ["https://old"], OURS, [], [*OURS, "https://mine"]),
        # Ours go, and nothing else does.
        ({}, [*OURS, "https://mine"], [], OURS, ["https://mine"]),
        (
            {},
            ["https://10.0.0.9:5010/", "https://mine"],
            OURS,
            ["https://10.0.0.9:5010"],
            [*OURS, "https://mine"],
        ),
        ({}, ["https://mine"], [], [], None),
        ({"registry-mirrors": ["https://mine"]}, None, [], [], ["https://mine"]),
    ],
)
def test_what_docker_is_told(
    settings: dict[str, Any], present: Any, ours: list[str], former: list[str], expected: list[str] | None
) -> None:
    found = mirrors.daemon_settings({"a": 1, **settings}, present=present, ours=ours, former=former)
    assert (found["a"], found.get("registry-mirrors")) == (1, expected)


@pytest.mark.parametrize("fixture", sorted(FIXTURES.glob("default-*.toml")), ids=lambda path: path.stem)
def test_containerd_is_told_where_to_look(fixture: Path) -> None:
    default = fixture.read_text()
    wishes = Wishes(mirrors=[HUB])
    values = toml.parse(text=default).values()
    edited = containerd.edit_containerd_config(text=None, dump=default, wishes=wishes)
    # What containerd makes of a file is over its defaults.
    dump = default
    for path, value in toml.parse(text=edited).values().items():
        dump = toml.set_value(text=dump, path=path, value=value)
    missing = "settings of registries are looked for in"
    assert [
        each for each in containerd.containerd_shortcomings(dump=dump, wishes=wishes) if missing in each
    ] == []
    plain = containerd.containerd_shortcomings(dump=default, wishes=Wishes())
    assert not [each for each in plain if missing in each]
    assert mirrors.HOSTS in edited or any(mirrors.looked_for(value) for value in values.values())


def test_settings_that_containerd_does_not_take_beside() -> None:
    default = (FIXTURES / "default-1.6.20.toml").read_text()
    old = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["http://x"]\n'
    containerd.edit_containerd_config(text=old, dump=default, wishes=Wishes())
    with pytest.raises(
        RuntimeConfigError, match=r"has mirrors of registries, beside which .* set image_mirror_host"
    ):
        containerd.edit_containerd_config(text=old, dump=default, wishes=Wishes(mirrors=[HUB]))


Apply = Callable[..., list[str]]


@pytest.fixture
def apply(tmp_path: Path) -> Apply:
    """Bring the files of a node into step, as the module does; return what was changed."""

    def run(wishes: Wishes, *, runtime: Runtime = RUNTIMES["containerd"], check: bool = False) -> list[str]:
        changes = Changes(check_mode=check, root=str(tmp_path))
        warnings: list[str] = []
        host = Host(lambda _command: (0, "", ""), bool, changes, root=str(tmp_path), warn=warnings.append)
        asked = mirror_files.known(host=host, wishes=wishes)
        former = mirror_files.former(host=host)
        mirror_files.write(runtime=runtime, host=host, wishes=asked)
        docker.edit_daemon_json(host=host, wishes=asked, former=former)
        mirror_files.remove(runtime=runtime, host=host, wishes=asked)
        return [*changes.sentences, *warnings]

    return run


def files(folder: Path) -> set[str]:
    return {f"/{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file()}


def test_files_come_and_go(apply: Apply, tmp_path: Path) -> None:
    own = tmp_path / "etc/containerd/certs.d/mine/hosts.toml"
    own.parent.mkdir(parents=True)
    own.write_text('server = "https://mine"\n')
    wishes = Wishes(mirrors=[HUB, QUAY], mirror_ca="CA\n")
    announced = apply(wishes, check=True)
    assert files(tmp_path) == {"/etc/containerd/certs.d/mine/hosts.toml"}
    assert apply(wishes) == announced
    all_files = {
        mirrors.CA,
        HUB_FILE,
        QUAY_FILE,
        DOCKER_FILE,
        "/etc/docker/daemon.json",
        str(own)[len(str(tmp_path)) :],
    }
    assert files(tmp_path) == all_files
    assert apply(wishes, check=True) == apply(wishes) == []
    # The mirror's host is away: what is there stays.
    assert apply(Wishes(mirrors=[HUB, QUAY])) == []
    assert apply(Wishes(mirrors=[HUB], mirror_ca="CA\n")) == [f"Remove {QUAY_FILE}"]
    moved = HUB._replace(url="https://10.0.0.2:5010")
    assert f"Remove {DOCKER_FILE}" in apply(Wishes(mirrors=[moved], mirror_ca="CA\n"))
    assert json.loads((tmp_path / "etc/docker/daemon.json").read_text()) == {
        "registry-mirrors": ["https://10.0.0.2:5010"]
    }
    assert mirrors.CA not in files(tmp_path) - all_files
    announced = apply(Wishes(), check=True)
    assert apply(Wishes()) == announced != []
    assert files(tmp_path) == {"/etc/containerd/certs.d/mine/hosts.toml", "/etc/docker/daemon.json"}
    assert json.loads((tmp_path / "etc/docker/daemon.json").read_text()) == {"registry-mirrors": []}
    assert apply(Wishes()) == []


def test_docker_as_the_runtime_has_no_files_for_containerd(apply: Apply, tmp_path: Path) -> None:
    apply(Wishes(mirrors=[HUB, QUAY], mirror_ca="CA\n"))
    apply(Wishes(mirrors=[HUB, QUAY], mirror_ca="CA\n"), runtime=RUNTIMES["dockershim"])
    assert files(tmp_path) == {mirrors.CA, DOCKER_FILE, "/etc/docker/daemon.json"}


def test_a_mirror_that_is_yet_unknown(apply: Apply, tmp_path: Path) -> None:
    _daemon_json, warning = apply(Wishes(mirrors=[QUAY]))
    assert warning.startswith("images are not asked for at the image mirror yet")
    assert files(tmp_path) == {"/etc/docker/daemon.json"}
    assert f"Write {QUAY_FILE}" in apply(Wishes(mirrors=[QUAY]), check=True)


def test_a_file_of_the_users_own_is_kept(apply: Apply, tmp_path: Path) -> None:
    own = tmp_path / QUAY_FILE[1:]
    own.parent.mkdir(parents=True)
    own.write_text('server = "https://mine"\n')
    with pytest.raises(
        RuntimeStateError, match=r"quay.io/hosts.toml was not written by this collection; expected"
    ):
        apply(Wishes(mirrors=[HUB, QUAY], mirror_ca="CA\n"))
    assert files(tmp_path) == {QUAY_FILE}
