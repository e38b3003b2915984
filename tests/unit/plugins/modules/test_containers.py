# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The four modules for runtimes and their images, in check mode on a node that has none yet."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.bramble.pi.plugins.module_utils._containers.runtime import RUNTIMES
from ansible_collections.bramble.pi.plugins.modules import (
    container_images_fetch,
    container_images_info,
    container_runtime,
    image_archives,
)

BUSYBOX = "docker.io/library/busybox:latest"


def run_command(_module: AnsibleModule, command: list[str], **_options: Any) -> tuple[int, str, str]:
    if command[0] == "dpkg":
        return 0, "arm64\n", ""
    if command[0] == "dpkg-query":
        return 1, "", "no packages found\n"
    if command[0] == "apt-cache":
        return 100, "", "E: No packages found\n"
    assert command[:2] == ["systemctl", "show"]
    units = (
        f"Id={name}\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\nActiveEnterTimestampMonotonic=0\n"
        for name in command[4:]
    )
    return 0, "\n".join(units), ""


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the commands of a node without a runtime."""
    monkeypatch.setattr(AnsibleModule, "run_command", run_command)
    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda *_arguments, **_options: None)


def result(module: ModuleType, capsys: pytest.CaptureFixture[str], **parameters: Any) -> dict[str, Any]:
    with patch_module_args({**parameters, "_ansible_check_mode": True}), pytest.raises(SystemExit):
        module.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_announces_a_runtime(capsys: pytest.CaptureFixture[str], runtime: str) -> None:
    package = {"url": "http://x/cri-dockerd.deb", "sha256": "abc"} if runtime == "cri_dockerd" else None
    answer = result(container_runtime, capsys, runtime=runtime, cri_dockerd=package)
    assert answer["cri_socket"] == RUNTIMES[runtime].socket
    assert "docker_info" not in answer
    announced = [
        "Install docker.io",
        "Enable and start containerd.service",
        "Enable and start docker.service",
    ]
    if package:
        announced.insert(1, "Install http://x/cri-dockerd.deb")
        announced += ["Enable and start cri-docker.socket", "Enable and start cri-docker.service"]
    assert [change for change in answer["changes"] if not change.startswith("Write ")] == announced


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_says_which_images_a_node_needs(capsys: pytest.CaptureFixture[str], runtime: str) -> None:
    answer = result(
        container_images_info, capsys, runtime=runtime, images={"image_cache_images": ["busybox"]}
    )
    assert answer["images"] == [{"name": BUSYBOX, "variable": "image_cache_images", "id": None}]
    assert (answer["changed"], answer["architecture"], len(answer["unknown"])) == (False, "arm64", 2)


def test_an_error_is_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    answer = result(container_images_info, capsys, runtime="containerd", images={"mine": ["busybox@x"]})
    assert answer["failed"]
    assert "image 'busybox@x' is not valid" in answer["msg"]
    assert "exception" not in answer


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_announces_what_is_fetched_and_imported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, runtime: str
) -> None:
    needed = {"architecture": "arm64", "images": [{"name": BUSYBOX, "variable": "mine", "id": None}]}
    answer = result(
        container_images_fetch,
        capsys,
        runtime=runtime,
        nodes={"pi-2": needed},
        source="pi-1",
        directory=str(tmp_path / "served"),
        url="http://x",
    )
    assert (answer["changed"], answer["fetched"]) == (True, [f"{BUSYBOX} for arm64"])
    (archive,) = answer["archives"]["pi-2"]
    answer = result(image_archives, capsys, runtime=runtime, archives=[archive])
    assert (answer["changed"], answer["imported"]) == (True, [BUSYBOX])
    assert not (tmp_path / "served").exists()


@pytest.mark.parametrize(
    ("cluster", "drained", "required"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_what_pods_would_feel_waits_until_the_node_is_drained(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    cluster: bool,
    drained: bool,
    required: bool,
) -> None:
    attempts: list[bool] = []

    def provision(*, runtime: Any, host: Any, wishes: Any) -> dict[str, Any]:
        del runtime, wishes
        attempts.append(host.changes.check_mode)
        host.changes.note("Restart containerd.service")
        return {**host.changes.result(), "felt_by_pods": True}

    prepared: list[bool] = []
    monkeypatch.setattr(
        container_runtime.origin, "prepare", lambda *, host, **_more: prepared.append(host.changes.check_mode)
    )
    monkeypatch.setattr(container_runtime, "provision", provision)
    monkeypatch.setattr(container_runtime, "in_cluster", lambda: cluster)
    with patch_module_args({"runtime": "containerd", "drained": drained}), pytest.raises(SystemExit):
        container_runtime.main()
    answer = json.loads(capsys.readouterr().out)
    assert (answer["changed"], answer["drain_required"]) == (True, required)
    assert attempts == [required]
    # What may fail does so before the drain.
    assert prepared == ([False] if required else [])
    assert "felt_by_pods" not in answer


@pytest.mark.parametrize("changed", [True, False])
def test_what_pods_do_not_feel_is_done_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    attempts: list[bool] = []

    def provision(*, runtime: Any, host: Any, wishes: Any) -> dict[str, Any]:
        del runtime, wishes
        attempts.append(host.changes.check_mode)
        host.warn("mirrors are old")
        if changed:
            host.changes.note("Restart docker.service")
        return {**host.changes.result(), "felt_by_pods": False}

    warnings: list[str] = []
    monkeypatch.setattr(container_runtime, "provision", provision)
    monkeypatch.setattr(container_runtime, "in_cluster", lambda: True)
    monkeypatch.setattr(container_runtime.AnsibleModule, "warn", lambda _module, text: warnings.append(text))
    with patch_module_args({"runtime": "containerd"}), pytest.raises(SystemExit):
        container_runtime.main()
    answer = json.loads(capsys.readouterr().out)
    assert (answer["changed"], answer["drain_required"]) == (changed, False)
    assert attempts == ([True, False] if changed else [True])
    assert warnings == ["mirrors are old"]


def test_check_mode_prepares_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_runtime, "in_cluster", lambda: True)
    monkeypatch.setattr(container_runtime.origin, "prepare", lambda **_more: pytest.fail("prepared"))
    monkeypatch.setattr(
        container_runtime, "provision", lambda **_more: {"changed": True, "changes": [], "felt_by_pods": True}
    )
    assert result(container_runtime, capsys, runtime="containerd")["drain_required"] is True
