# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from tests.unit.preflight_rack import check_row


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"live_view_address": "0.0.0.0"}, "live_view_address is '0.0.0.0', which is open on every network"),
        ({"live_view_hosts": ["rack.lan", ".*"]}, "live_view_hosts has '.*'; expected names and addresses"),
        ({"remote_access_proxy_address": "0.0.0.0"}, None),
        ({"remote_access_proxy": True}, "remote_access_proxy_networks is []"),
        (
            {"remote_access_proxy": True, "remote_access_proxy_networks": ["192.168.1"]},
            "remote_access_proxy_networks: '192.168.1' is not an IPv4 network",
        ),
        (
            {
                "remote_access_proxy": True,
                "remote_access_proxy_networks": ["192.168.1.0/24"],
                "remote_access_proxy_address": "0.0.0.0",
            },
            "or remote_access_proxy_everywhere as well",
        ),
        (
            {
                "remote_access_proxy": True,
                "remote_access_proxy_networks": ["192.168.1.0/24"],
                "remote_access_proxy_address": "0.0.0.0",
                "remote_access_proxy_everywhere": True,
            },
            None,
        ),
    ],
)
def test_variables_of_all_hosts(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text)


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"ssh_access_authorized_keys": ["ssh-ed25519 AAAA"]},
            "pi-2: ssh_access_authorized_keys, entry 1, is not a whole public key; expected a line of",
        ),
        ({"ssh_access_jump": "pi-3"}, None),
        ({"ssh_access_jump": ""}, None),
        ({"ssh_access_jump": "pi-9"}, "pi-2: ssh_access_jump is 'pi-9', which is not a host: set it to the"),
        ({"ssh_access_jump": "pi-2"}, "pi-2: ssh_access_jump is 'pi-2', which leads back to it"),
    ],
)
def test_variables_of_one_host(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text, host="pi-2")
