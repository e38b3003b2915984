# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import resource
import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = (
    Path(__file__).parents[3]
    / "roles/virtual_rack/files/node/overlay/usr/local/lib/rack-node/runc_within_limits.py"
)
ALL = (1 << 41) - 1
WITHOUT_SYS_RESOURCE = ALL & ~(1 << 24)


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        # as containerd's shim and docker's call runc
        (
            ["--root", "/run/runc", "create", "--bundle", "/run/bundle", "--pid-file", "p", "id"],
            "/run/bundle",
        ),
        (["create", "--bundle=/run/bundle", "id"], "/run/bundle"),
        (["create", "-b", "/run/bundle", "id"], "/run/bundle"),
        (["create", "id"], None),
        (["create", "--bundle"], None),
    ],
)
def test_option(script: dict[str, Any], arguments: list[str], value: str | None) -> None:
    assert script["option"](arguments=arguments, names=("--bundle", "-b")) == value


@pytest.mark.parametrize(
    ("desired", "given"),
    [(-998, 0), (0, 0), (500, 500), (None, None)],
    ids=["below", "equal", "above", "unset"],
)
def test_oom_score_adj(script: dict[str, Any], desired: int | None, given: int | None) -> None:
    process = {} if desired is None else {"oomScoreAdj": desired}
    script["clamp"](process=process, oom_score_adj=0, bounding_set=ALL, hard_limits={})
    assert process == ({} if given is None else {"oomScoreAdj": given})


@pytest.mark.parametrize(
    ("bounding_set", "left"),
    [(ALL, ["CAP_CHOWN", "CAP_SYS_RESOURCE"]), (WITHOUT_SYS_RESOURCE, ["CAP_CHOWN"])],
)
def test_capabilities(script: dict[str, Any], bounding_set: int, left: list[str]) -> None:
    process: dict[str, Any] = {
        "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "inheritable": None, "ambient": []}
    }
    script["clamp"](process=process, oom_score_adj=0, bounding_set=bounding_set, hard_limits={})
    assert process["capabilities"] == {"bounding": left, "inheritable": None, "ambient": []}


def test_limits(script: dict[str, Any]) -> None:
    limits = [
        {"type": "RLIMIT_NOFILE", "hard": 1048576, "soft": 1024},
        {"type": "RLIMIT_NPROC", "hard": 4194304, "soft": 4194304},
        {"type": "RLIMIT_CORE", "hard": 18446744073709551615, "soft": 0},
    ]
    script["clamp"](
        process={"rlimits": limits},
        oom_score_adj=0,
        bounding_set=ALL,
        hard_limits={
            "RLIMIT_NOFILE": 20000,
            "RLIMIT_NPROC": 96365,
            "RLIMIT_CORE": resource.RLIM_INFINITY,
        },
    )
    assert [(limit["soft"], limit["hard"]) for limit in limits] == [
        (1024, 20000),
        (96365, 96365),
        (0, 18446744073709551615),
    ]


def test_files(script: dict[str, Any], tmp_path: Path) -> None:
    limit = {"type": "RLIMIT_NOFILE", "hard": 1 << 40, "soft": 1 << 40}
    whole, process = tmp_path / "config.json", tmp_path / "process.json"
    whole.write_text(json.dumps({"ociVersion": "1.0.2", "process": {"args": ["sh"], "rlimits": [limit]}}))
    process.write_text(json.dumps({"args": ["sh"], "rlimits": [limit]}))
    script["clamp_file"](path=str(whole), inside=True)
    script["clamp_file"](path=str(process), inside=False)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert json.loads(whole.read_text())["process"]["rlimits"][0]["hard"] == hard
    assert json.loads(process.read_text())["rlimits"][0]["hard"] == hard
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "process.json"]
