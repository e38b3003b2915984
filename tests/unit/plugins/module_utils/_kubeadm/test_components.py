# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import components, state
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.components import (
    crashed,
    health_url,
    last_words,
    silent,
    tail,
)

MANIFEST = """\
spec:
  containers:
  - command:
    - {program}
{flags}    image: registry.k8s.io/x
"""
UNKNOWN_FLAG = "2026-11-29T10:00:00.1Z stderr F Error: unknown flag: --pod-eviction-timeout\n"


def manifest(program: str, *flags: str) -> str:
    return MANIFEST.format(program=program, flags="".join(f"    - --{flag}\n" for flag in flags))


@pytest.mark.parametrize(
    ("program", "flags", "url"),
    [
        (
            "kube-controller-manager",
            ["bind-address=127.0.0.1", "leader-elect=true"],
            "https://127.0.0.1:10257/healthz",
        ),
        ("kube-scheduler", [], "https://127.0.0.1:10259/healthz"),
        ("kube-scheduler", ["bind-address=0.0.0.0", "secure-port=1"], "https://127.0.0.1:1/healthz"),
        ("kube-apiserver", ["secure-port=6444"], "https://127.0.0.1:6444/livez"),
        ("etcd", ["listen-metrics-urls=http://127.0.0.1:2381"], "http://127.0.0.1:2381/health"),
        ("etcd", [], None),
        # Somebody's own.
        ("kube-scheduler", ["bind-address=localhost"], None),
    ],
)
def test_where_a_program_is_asked(program: str, flags: list[str], url: str | None) -> None:
    assert health_url(manifest=manifest(program, *flags), program=program) == url


def test_a_command_of_somebody_s_own_is_not_asked() -> None:
    assert health_url(manifest=manifest("sh"), program="kube-scheduler") is None


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(state, "MANIFESTS", str(tmp_path))
    monkeypatch.setattr(state, "APISERVER_MANIFEST", str(tmp_path / "kube-apiserver.yaml"))
    monkeypatch.setattr(state, "POD_LOGS", str(tmp_path / "pods"))
    for program in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        (tmp_path / f"{program}.yaml").write_text(manifest(program))
    return tmp_path


def log(node: Path, program: str, text: str, *, age: int = 0, start: int = 0) -> None:
    path = node / "pods" / f"kube-system_{program}-pi-1_abc" / program / f"{start}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - age, time.time() - age))


def test_the_last_words_of_what_does_not_answer(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "answers", lambda url: ":10257/" not in url)
    url = "https://127.0.0.1:10257/healthz"
    assert silent() == {"kube-controller-manager": url}
    assert last_words(programs=silent()) == {}
    log(node, "kube-controller-manager", UNKNOWN_FLAG)
    log(node, "kube-controller-manager", "starting\n", start=1)
    # This one runs.
    log(node, "kube-scheduler", UNKNOWN_FLAG)
    assert last_words(programs=silent()) == {"kube-controller-manager": UNKNOWN_FLAG}


def test_what_a_former_cluster_has_left_does_not_count(node: Path) -> None:
    log(node, "kube-controller-manager", UNKNOWN_FLAG, age=3600)
    assert last_words(programs={"kube-controller-manager": "url"}) == {}
    assert crashed(since=0) == {"kube-controller-manager": UNKNOWN_FLAG}


def test_tail(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_text("x" * 100_000 + "end")
    assert len(tail(str(log))) == 16384
    assert tail(str(log)).endswith("end")
    assert tail(str(tmp_path / "none")) == ""
