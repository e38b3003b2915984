# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._network import uplink
from ansible_collections.bramble.pi.plugins.module_utils._network.detect import MANAGERS
from ansible_collections.bramble.pi.plugins.module_utils._network.dhcpcd import Dhcpcd
from ansible_collections.bramble.pi.plugins.module_utils._network.manager import (
    DHCPCD,
    IFUPDOWN,
    File,
    Manager,
)
from ansible_collections.bramble.pi.plugins.module_utils._network.wifi import Wifi

from tests.unit.network_node import FolderNode

HOME = Wifi(ssid="IEEE", psk="as told by word", country="DE", hidden=False)
KEY = hashlib.pbkdf2_hmac("sha1", HOME.psk.encode(), HOME.ssid.encode(), 4096, 32).hex()


@pytest.mark.parametrize("manager", MANAGERS.values(), ids=MANAGERS)
def test_no_key_is_in_a_file_that_others_may_read(manager: Manager) -> None:
    files = uplink.files(manager=manager, interface="wlan0", wifi=HOME)
    assert [file.mode for file in files if KEY in file.text] == [0o600]
    assert not any(HOME.psk in file.text for file in files)
    assert uplink.commands(manager=manager, interface="wlan0", wifi=HOME)


@pytest.mark.parametrize("manager", MANAGERS.values(), ids=MANAGERS)
def test_a_wired_uplink_has_nothing_of_wifi(manager: Manager) -> None:
    files = uplink.files(manager=manager, interface="eth1", wifi=None)
    assert not any("wpa" in file.text or "regdom" in file.text for file in files)
    assert bool(files) == (manager.name != DHCPCD)


def test_ifupdown_as_in_the_guide() -> None:
    stanza = uplink.files(manager=MANAGERS[IFUPDOWN], interface="wlan0", wifi=HOME)[0]
    assert stanza.path == "/etc/network/interfaces.d/wlan0"
    assert "allow-hotplug wlan0\niface wlan0 inet dhcp\n    wpa-conf /etc/wpa_sup" in stanza.text


class OneFile(Dhcpcd):
    """A manager whose only file is in a folder of the test."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def render_uplink(self, *, interface: str, wifi: Wifi | None) -> list[File]:
        return [File(self.path, f"interface {interface}\n", 0o600)]


def ensure(node: FolderNode, path: Path, *, check_mode: bool = False) -> tuple[list[str], list[str]]:
    changes = Changes(check_mode=check_mode)
    warnings: list[str] = []
    uplink.ensure(
        node=node,
        changes=changes,
        manager=OneFile(path),
        interface="wlan0",
        wifi=None,
        force=False,
        warn=warnings.append,
    )
    return changes.sentences, warnings


def test_the_interface_is_brought_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uplink, "PENDING", f"{tmp_path}/pending-")
    node = FolderNode(tmp_path)
    path = tmp_path / "uplink.conf"
    said = [f"write {path}", "bring wlan0 up"]
    assert ensure(node, path, check_mode=True) == (said, [])
    assert not path.exists()
    changes, warnings = ensure(node, path)
    assert changes == said
    assert path.stat().st_mode & 0o777 == 0o600
    # That it does not come up now is no failure.
    assert "dhcpcd --rebind wlan0 ended with 1" in warnings[0]
    assert ensure(node, path) == ([], [])
    # A key that others may read is one that they have read.
    path.chmod(0o644)
    assert ensure(node, path)[0] == said
    assert path.stat().st_mode & 0o777 == 0o600
