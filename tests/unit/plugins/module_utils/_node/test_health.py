# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._node import health
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures" / "node_health"


@pytest.mark.parametrize(
    ("vcgencmd", "sysfs", "expected"),
    [
        ("throttled=0x0\n", "", 0),
        ("throttled=0x50005\n", "", 0x50005),
        ("throttled=0x50000\n", "", 0x50000),
        ("throttled=0xe0008\n", "0\n", 0xE0008),
        # The kernel's file has no prefix.
        ("", "50005\n", 0x50005),
        ("", "0\n", 0),
        # No Raspberry Pi, or no right to ask the firmware.
        ("", "", None),
        ("VCHI initialization failed\n", "", None),
        ("Can't open device file: /dev/vcio\nTry creating a device file with: sudo mknod\n", "", None),
    ],
)
def test_throttled(vcgencmd: str, sysfs: str, expected: int | None) -> None:
    assert health.throttled(vcgencmd=vcgencmd, sysfs=sysfs) == expected


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_throttled_reads_what_both_write(bits: int) -> None:
    assert health.throttled(vcgencmd=f"throttled={bits:#x}\n", sysfs="") == bits
    assert health.throttled(vcgencmd="", sysfs=f"{bits:x}\n") == bits


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    health.throttled(vcgencmd=text, sysfs=text)
    health.temperature(text=text)
    health.memory(meminfo=text)
    health.uptime(text=text)
    health.units(text=text)


@pytest.mark.parametrize(
    ("text", "expected"), [("48312\n", 48.3), ("-5000\n", -5.0), ("", None), ("unknown\n", None)]
)
def test_temperature(text: str, expected: float | None) -> None:
    assert health.temperature(text=text) == expected


def test_memory() -> None:
    assert health.memory(meminfo=(FIXTURES / "meminfo").read_text()) == {
        "total": 24684092 * 1024,
        "available": 23241668 * 1024,
    }
    assert health.memory(meminfo="") == {"total": None, "available": None}


@pytest.mark.parametrize(("text", "expected"), [("2801.95 3853.63\n", 2801), ("", None)])
def test_uptime(text: str, expected: int | None) -> None:
    assert health.uptime(text=text) == expected


def test_units() -> None:
    units = health.units(text=(FIXTURES / "systemctl-show.docker-failed").read_text())
    assert list(units) == ["kubelet", "containerd", "docker", "cri-docker"]
    assert health.is_active(units["containerd"])
    assert not health.is_active(units["docker"])
    assert units["docker"]["Result"] == "exit-code"
    assert units["cri-docker"]["LoadState"] == "not-found"
    masked = health.units(text=(FIXTURES / "systemctl-show.kubelet-masked").read_text())
    assert masked["kubelet"]["UnitFileState"] == "masked"
    assert health.units(text="") == {}


def test_latency() -> None:
    assert health.latency(seconds=[]) is None
    assert health.latency(seconds=[0.004]) == {"writes": 1, "p50_ms": 4.0, "p99_ms": 4.0}
    hundred = health.latency(seconds=[0.001] * 98 + [0.05, 0.5])
    assert hundred == {"writes": 100, "p50_ms": 1.0, "p99_ms": 50.0}


@given(st.lists(st.floats(min_value=0, max_value=10), min_size=1))
def test_latency_is_one_of_those_measured(seconds: list[float]) -> None:
    measured = health.latency(seconds=seconds)
    assert measured is not None
    ranks = [round(each * 1000, 2) for each in sorted(seconds)]
    assert ranks[0] <= measured["p50_ms"] <= measured["p99_ms"] <= ranks[-1]
    assert measured["p99_ms"] in ranks


NODE = (FIXTURES / "node.json").read_text()


def test_membership() -> None:
    member = health.membership(code=0, output=NODE, errors="")
    assert member == {
        "address": "10.89.118.12",
        "kubelet": "v1.20.2",
        "runtime": "docker://20.10.24+dfsg1",
        "state": "ready",
        "message": "kubelet is posting ready status",
    }
    stopped = NODE.replace('"type":"Ready","status":"True"', '"type":"Ready","status":"Unknown"')
    assert stopped != NODE
    assert health.membership(code=0, output=stopped, errors="")["state"] == "not ready"


@pytest.mark.parametrize(
    ("code", "output", "errors", "expected"),
    [
        (1, "", 'Error from server (NotFound): nodes "pi-9" not found\n', ("missing", "pi-9")),
        (
            1,
            "",
            "Unable to connect to the server: dial tcp 10.0.0.1:6443: connect: no route to host\n",
            ("silent", "no route"),
        ),
        (1, "", "error: You must be logged in to the server (Unauthorized)\n", ("silent", "Unauthorized")),
        # What the command timeout says when it ends a command: nothing.
        (124, "", "", ("silent", "no answer within the time")),
        (0, "<html>a proxy</html>", "", ("silent", "not that of an API server")),
        (0, "[]", "", ("silent", "not that of an API server")),
        (0, '{"status": {}}', "", ("not ready", "not reported yet")),
    ],
)
def test_membership_without_an_answer(code: int, output: str, errors: str, expected: tuple[str, str]) -> None:
    member = health.membership(code=code, output=output, errors=errors)
    assert member["state"] == expected[0]
    assert expected[1] in member["message"]


@given(st.integers(), st.text(), st.text())
def test_membership_of_any_text(code: int, output: str, errors: str) -> None:
    assert health.membership(code=code, output=output, errors=errors)["state"] in ("missing", "silent")


# As kubelet's own tests have it (1.37): pkg kubelet_cri_losing_support.
LOSING = """\
# HELP kubelet_cri_losing_support [ALPHA] the Kubernetes version that the running CRI loses support on.
# TYPE kubelet_cri_losing_support gauge
kubelet_cri_losing_support{version="1.38.0"} 1
"""


@pytest.mark.parametrize(
    ("metrics", "version"),
    [
        (LOSING, "1.38.0"),
        ("# TYPE x gauge\nx 1\n" + LOSING + "kubelet_node_name 1\n", "1.38.0"),
        (LOSING.replace("} 1", "} 0"), None),
        ("", None),
    ],
)
def test_the_kubernetes_that_drops_a_runtime(metrics: str, version: str | None) -> None:
    assert health.unserved_from(metrics=metrics) == version
