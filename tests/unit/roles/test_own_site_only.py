# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gets through to kubectl proxy: requests of programs and of its own pages, none of other sites' pages.

Where a kubectl is at hand, as in the cache of the virtual rack, the same is tried with kubectl proxy itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest

from tests.unit.run_module import REPOSITORY

GATE = REPOSITORY / "roles/remote_access/files/own_site_only.py"
UNITS = {
    "kubectl": REPOSITORY / "roles/remote_access/templates/proxy.service.j2",
    "live view": REPOSITORY / "roles/live_view/templates/unit.j2",
}
API = Path(__file__).with_name("own_site_api.py")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def kubectl(folder: Path) -> Path | None:
    """Return a kubectl: that of this machine, or the newest of the virtual rack's packages."""
    packages = sorted((Path.home() / ".cache/bramble/kubernetes").glob("*/repo/**/kubectl_*.deb"))
    if packages and shutil.which("dpkg-deb"):
        subprocess.run(["dpkg-deb", "-x", packages[-1], folder / "package"], check=True)
        return folder / "package/usr/bin/kubectl"
    found = shutil.which("kubectl")
    return Path(found) if found else None


class Proxy:
    """What listens, and what the API server behind it was asked."""

    def __init__(self, port: int, asked: Path) -> None:
        self.port = port
        self.asked = asked

    def connect(self) -> socket.socket:
        end = time.monotonic() + 30
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=30)
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def ask(self, request: str, *fields: str, body: bytes = b"", host: str = "") -> str:
        """Send a request, and return all that comes until the connection ends or its answer is complete."""
        self.asked.unlink(missing_ok=True)
        lines = [f"{request} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.port}'}", *fields, "", ""]
        data = b""
        with self.connect() as connection:
            connection.sendall("\r\n".join(lines).encode() + body)
            while not data.endswith((b"nodes\n", b" bytes\n", b"line\r\n", b"0\r\n\r\n")):
                more = connection.recv(65536)
                if not more:
                    break
                data += more
        return data.decode()


@contextlib.contextmanager
def started(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([str(word) for word in command])
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)


def command_of_the_unit(name: str, *, port: int, server: str, program: Path, run: Path) -> list[str]:
    """Return what a unit starts, but for the places that a test cannot have."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["bramble.pi.accepted_hosts"] = lambda _networks: "^127[.]0[.]0[.]1$"
    environment.filters["map"] = lambda texts, _replace, old, new: [text.replace(old, new) for text in texts]
    unit = environment.from_string(UNITS[name].read_text()).render(
        ansible_managed="test",
        remote_access_proxy_networks=["127.0.0.1/32"],
        __remote_access_own=[],
        __remote_access_rules_unit="rules",
        __remote_access_proxy_unit="unit",
        __remote_access_gate=GATE,
        remote_access_proxy_address="127.0.0.1",
        remote_access_proxy_port=port,
        __live_view_unit="unit",
        __live_view_gate=GATE,
        __live_view_etc="/etc/kubernetes",
        __live_view_www=run,
        live_view_address="127.0.0.1",
        live_view_hosts=["127.0.0.1"],
        live_view_port=port,
    )
    (start,) = re.findall(r"^ExecStart=((?:.*\\\n)*.*)$", unit, re.MULTILINE)
    words = start.replace("\\\n", "").replace("$$", "$").replace("'", "").split()
    cluster = f"/dev/null --server {server}"
    places = {
        "/usr/bin/python3": sys.executable,
        "/usr/bin/kubectl": str(program),
        "/etc/kubernetes/admin.conf": cluster,
        "/etc/kubernetes/kubeconfig": cluster,
    }
    text = " ".join(places.get(word, word) for word in words)
    return text.replace("/run/unit", str(run)).split()


@contextlib.contextmanager
def started_unit(name: str, folder: Path) -> Iterator[Proxy]:
    """Start what a unit does, with a stand-in for the API server behind it."""
    program = kubectl(folder)
    if program is None:
        pytest.skip("there is no kubectl")
    port, behind, asked = free_port(), free_port(), folder / "asked"
    server = f"http://127.0.0.1:{behind}"
    command = command_of_the_unit(name, port=port, server=server, program=program, run=folder)
    with started(sys.executable, API, str(behind), asked):
        wait_until_it_listens(behind)
        with started(*command):
            yield Proxy(port, asked)


def wait_until_it_listens(port: int) -> None:
    """Wait for a program that was just started."""
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens at port {port}"
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="module", params=["gate", "kubectl"])
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy")
    if request.param == "kubectl":
        with started_unit("kubectl", folder) as proxy:
            yield proxy
        return
    port, asked, path = free_port(), folder / "asked", folder / "socket"
    gate = [sys.executable, "-IS", str(GATE), "--address", "127.0.0.1", "--port", str(port)]
    with started(*gate, "--socket", path, "--", sys.executable, API, path, asked):
        yield Proxy(port, asked)


FOREIGN = "http://evil.example"
WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((), 200),
        (("Origin: http://{own}",), 200),
        (("Sec-Fetch-Site: same-origin",), 200),
        (("Sec-Fetch-Site: none",), 200),
        ((f"Origin: {FOREIGN}",), 403),
        # Written in any way, and beside one that is right.
        ((f"ORIGIN:{FOREIGN}  ",), 403),
        (("Origin: http://{own}", f"Origin: {FOREIGN}"), 403),
        (("Origin: null",), 403),
        (("Origin:",), 403),
        (("Origin: https://{own}",), 403),
        (("Origin: http://{own}.evil.example",), 403),
        (("Origin: http://127.0.0.1",), 403),
        (("Sec-Fetch-Site: cross-site",), 403),
        (("Sec-Fetch-Site: same-site",), 403),
        # As a page of another site can send it without asking first.
        ((*WEBSOCKET, f"Origin: {FOREIGN}"), 403),
        ((" Origin: x",), 400),
        (("Host: evil.example",), 400),
    ],
)
def test_who_gets_through(proxy: Proxy, fields: tuple[str, ...], status: int) -> None:
    own = f"127.0.0.1:{proxy.port}"
    answer = proxy.ask("GET /api/v1/nodes", *(field.replace("{own}", own) for field in fields))
    assert answer.startswith(f"HTTP/1.1 {status} "), answer
    assert proxy.asked.exists() is (status == 200)
    if status == 403 and FOREIGN in str(fields):
        assert f"the Origin of the request is {FOREIGN}; expected none or http://{own}" in answer


def test_a_page_of_another_site_makes_no_pod(proxy: Proxy) -> None:
    length = "Content-Length: 5"
    assert " 403 " in proxy.ask("POST /api/v1/pods", length, f"Origin: {FOREIGN}", body=b"{pod}")
    assert not proxy.asked.exists()
    assert "5 bytes" in proxy.ask("POST /api/v1/pods", length, body=b"{pod}")
    own = f"Origin: http://127.0.0.1:{proxy.port}"
    assert "5 bytes" in proxy.ask("POST /api/v1/pods", length, own, body=b"{pod}")


@pytest.mark.parametrize("origin", ["", FOREIGN])
@pytest.mark.parametrize("size", [2, 1_000_000])
@pytest.mark.parametrize("proxy", ["gate"], indirect=True)
def test_an_answer_arrives_whole_before_the_body_was_sent(proxy: Proxy, size: int, origin: str) -> None:
    """A client that is refused may still be sending, and who refused it may be gone already."""
    fields = [
        f"Host: 127.0.0.1:{proxy.port}",
        f"Content-Length: {size}",
        *([f"Origin: {origin}"] * bool(origin)),
    ]
    for attempt in range(40):
        with proxy.connect() as connection:
            connection.sendall("\r\n".join(["PUT /api/v1/pods HTTP/1.1", *fields, "", ""]).encode())
            time.sleep(attempt % 8 * 0.0005)
            connection.sendall(b"x" * size)
            data = b""
            while more := connection.recv(65536):
                data += more
        assert data.startswith(b"HTTP/1.1 403 "), data
        assert data.endswith(b"kept out\n" if origin else b"refused\n"), data


# Only kubectl knows the names.
@pytest.mark.parametrize("proxy", ["kubectl"], indirect=True)
def test_a_site_that_takes_a_name_for_the_address(proxy: Proxy) -> None:
    """Its page asks under its own name, which is kubectl's to refuse."""
    host = f"evil.example:{proxy.port}"
    answer = proxy.ask("GET /api/v1/nodes", f"Origin: http://{host}", host=host)
    assert answer.startswith("HTTP/1.1 403 "), answer
    assert not proxy.asked.exists()


def test_a_second_request_of_a_connection_is_looked_at_too(proxy: Proxy) -> None:
    foreign = f"POST /api/v1/pods HTTP/1.1\r\nHost: x\r\nOrigin: {FOREIGN}\r\nContent-Length: 0\r\n\r\n"
    for fields in ((), ("Connection: keep-alive",), ("Connection: Upgrade", "Upgrade: x")):
        with contextlib.suppress(ConnectionError):
            proxy.ask("GET /version", *fields, body=foreign.encode())
        time.sleep(0.2)
        assert proxy.asked.read_text().splitlines() == ["GET /version"]


def test_what_is_watched_comes_at_once(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.sendall(f"GET /watch HTTP/1.1\r\nHost: 127.0.0.1:{proxy.port}\r\n\r\n".encode())
        data = b""
        while b"event0" not in data:
            data += connection.recv(65536)
        assert b"event1" not in data
        while b"event1" not in data:
            data += connection.recv(65536)


def test_a_connection_that_is_upgraded_goes_both_ways(proxy: Proxy) -> None:
    lines = ("GET /proxy HTTP/1.1", f"Host: 127.0.0.1:{proxy.port}", *WEBSOCKET, "", "")
    with proxy.connect() as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        connection.sendall(b"a line\r\n")
        while b"\r\n\r\nsecret a line" not in answer:
            more = connection.recv(65536)
            assert more, answer
            answer += more


def test_the_live_view_is_no_other_site_s_either(tmp_path: Path) -> None:
    watch = "GET /k8s/api/v1/pods?watch=1"
    with started_unit("live view", tmp_path) as page:
        assert "nodes" in page.ask("GET /k8s/api/v1/nodes")
        assert "event1" in page.ask(watch, f"Origin: http://127.0.0.1:{page.port}")
        assert page.ask(watch, *WEBSOCKET, f"Origin: {FOREIGN}").startswith("HTTP/1.1 403 ")
        assert not page.asked.exists()


def test_the_live_view_says_how_old_temperatures_are(tmp_path: Path) -> None:
    """They lie elsewhere, in memory; the page compares two times of the server."""
    (tmp_path / "memory").mkdir()
    written = tmp_path / "memory/boards.json"
    written.write_text("{}")
    os.utime(written, (0, 1796000100))
    (tmp_path / "boards.json").symlink_to(written)
    with started_unit("live view", tmp_path) as page:
        answer = page.ask("GET /boards.json")
        assert answer.startswith("HTTP/1.1 200 "), answer
        assert answer.endswith("{}")
        assert "\r\nLast-Modified: Mon, 30 Nov 2026 00:55:00 GMT\r\n" in answer
        assert re.search(r"\r\nDate: .* GMT\r\n", answer)
        assert page.ask("GET /boards.json", f"Origin: {FOREIGN}").startswith("HTTP/1.1 403 ")


def test_it_ends_with_its_command_and_ends_it(tmp_path: Path) -> None:
    gate = [sys.executable, "-IS", str(GATE), "--address", "127.0.0.1", "--port", str(free_port())]
    gate += ["--socket", str(tmp_path / "socket"), "--"]
    assert subprocess.run([*gate, "sh", "-c", "exit 3"], check=False, timeout=30).returncode == 3
    with started(*gate, "sleep", "60") as process:
        time.sleep(1)
    assert process.returncode == 0
