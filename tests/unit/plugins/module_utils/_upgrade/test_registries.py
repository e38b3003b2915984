# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a registry has an image, asked of one that answers, and of none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._upgrade.registries import Registries, has_mirrors


class _Registry(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        name = self.path.split("/")[2]
        self.send_response({"there": 200, "token": 401}.get(name, 404))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Registry)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_asks_the_registry(registry: HTTPServer, tmp_path: Path) -> None:
    place = f"127.0.0.1:{registry.server_port}"
    registries = Registries(scheme="http", root=str(tmp_path))
    assert registries.problem(f"{place}/there:v1.21.0") == ""
    # It wants a token, which the runtime gets.
    assert registries.problem(f"{place}/token:v1.21.0") == ""
    assert registries.problem(f"{place}/gone:v1.21.0") == f"{place} does not have it"
    assert registry.asked == [  # type: ignore[attr-defined]
        f"/v2/{name}/manifests/v1.21.0" for name in ("there", "token", "gone")
    ]


def test_one_that_is_out_of_reach_is_asked_once(tmp_path: Path) -> None:
    registries = Registries(scheme="http", root=str(tmp_path))
    first = registries.problem("127.0.0.1:9/a:v1")
    assert first.startswith("127.0.0.1:9 cannot be reached (")
    assert registries.problem("127.0.0.1:9/b:v1") is first


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("etc/containerd/certs.d/registry.k8s.io/hosts.toml", '[host."http://mirror.lan"]\n'),
        ("etc/docker/daemon.json", '{"registry-mirrors": ["http://mirror.lan"]}'),
        (
            "etc/systemd/system/containerd.service.d/proxy.conf",
            '[Service]\nEnvironment="HTTPS_PROXY=http://proxy.lan:3128"\n',
        ),
        ("etc/docker/certs.d/registry.lan/ca.crt", "-----BEGIN CERTIFICATE-----\n"),
    ],
)
def test_with_a_mirror_nobody_is_asked(name: str, text: str, tmp_path: Path) -> None:
    assert not has_mirrors(root=str(tmp_path))
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(text)
    assert has_mirrors(root=str(tmp_path))
    assert Registries(root=str(tmp_path)).problem("127.0.0.1:9/a:v1") == ""
