# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.filter.addresses import service_url


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("192.168.1.50", "https://192.168.1.50:6443"),
        ("pi-1.lan", "https://pi-1.lan:6443"),
        ("cluster.lan:8443", "https://cluster.lan:8443"),
        ("fd00::1", "https://[fd00::1]:6443"),
        ("[fd00::1]", "https://[fd00::1]:6443"),
        ("[fd00::1]:8443", "https://[fd00::1]:8443"),
    ],
)
def test_service_url(address: str, url: str) -> None:
    assert service_url(address) == url


def test_another_service() -> None:
    assert service_url("10.0.0.11", port=8001, scheme="http") == "http://10.0.0.11:8001"
