# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs are told of a web proxy."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import proxy

URL = "http://proxy.example.org:3128"
GROUPS = {"control_plane": ["pi-1"], "workers": ["Pi-2"], "all": ["pi-1", "Pi-2", "nas"]}
HOSTVARS: dict[str, dict[str, Any]] = {
    "pi-1": {"ansible_host": "192.168.1.11"},
    "Pi-2": {"ansible_host": "pi-2.lan", "os_prep_address": "192.168.1.12", "os_prep_hostname": "pi-2"},
    "nas": {"ansible_host": "192.168.1.9"},
}


def test_the_rack_is_reached_without_it() -> None:
    found = proxy.environment(hostvars=HOSTVARS, groups=GROUPS, url=URL, direct=["", "10.96.0.0/12", ".lan"])
    assert found == {
        "http_proxy": URL,
        "https_proxy": URL,
        "no_proxy": "localhost,127.0.0.1,::1,.svc,.cluster.local,192.168.1.11,pi-1,192.168.1.12,pi-2,Pi-2,"
        "10.96.0.0/12,.lan",
    }


def test_without_one_nothing_is_told() -> None:
    assert proxy.environment(hostvars=HOSTVARS, groups=GROUPS, url="", direct=[".lan"]) == {}


@pytest.mark.parametrize(
    ("host", "direct"),
    [("192.168.1.12", True), ("pi-2", True), ("nas.lan", True), ("deb.example.org", False), ("pi-22", False)],
)
def test_python_reads_it_so(host: str, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules' downloads go by it."""
    for name, value in proxy.environment(hostvars=HOSTVARS, groups=GROUPS, url=URL, direct=[".lan"]).items():
        monkeypatch.setenv(name, value)
    assert bool(urllib.request.proxy_bypass(host)) is direct


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (URL, ""),
        ("http://10.0.0.1:8080/", ""),
        ("http://proxy", ""),
        ("proxy.example.org:3128", "an address such as"),
        ("https://proxy.example.org:3128", "an address such as"),
        ("http://proxy.example.org:70000", "an address such as"),
        ("http://proxy.example.org:0", "an address such as"),
        ('http://proxy";rm', "an address such as"),
        ("http://ada:secret@proxy.example.org:3128", "without a login"),
    ],
)
def test_addresses(url: str, problem: str) -> None:
    assert problem in proxy.url_problem(url)
    assert bool(proxy.url_problem(url)) == bool(problem)


def test_what_is_reached_directly() -> None:
    right = ["pi-1", ".lan", "192.168.1.0/24", "fd00::1"]
    wrong = ["a,b", "a b", "*.lan", 'a"', ""]
    assert list(proxy.direct_problems([*right, *wrong])) == wrong
