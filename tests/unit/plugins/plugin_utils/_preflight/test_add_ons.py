# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.inventory import named_files

from tests.unit.preflight_rack import found

GROUPS = {"control_plane": ["pi-1"], "workers": ["pi-2", "pi-3"], "rack_services": ["pi-1"]}
BOOTPTAB = "%%\nprinter 1 b8:27:eb:00:00:09 192.168.1.30\n"
WEB = {"name": "web", "manifest": "/srv/web.yml"}
MANIFEST = "{apiVersion: v1, kind: ConfigMap, metadata: {name: web}}"


def problems(add_ons: Any, **variables: Any) -> list[str]:
    files = {"/bootptab": BOOTPTAB, "/srv/web.yml": MANIFEST, "/srv/bad.yml": "a: ["}

    told, _warnings = found(
        {"add_ons": add_ons, **variables},
        groups=GROUPS,
        node_network="192.168.1.0/24",
        # Those of ours are there.
        files={**named_files({"pi-1": {"add_ons": add_ons}}), **files},
    )
    return told


@pytest.mark.parametrize(
    ("add_ons", "text"),
    [
        ([], None),
        ([WEB], None),
        (["traefik", "metrics-server", "csi-driver-nfs"], None),
        (["traefk"], "traefk in add_ons has no manifest, and is none of csi-driver-nfs"),
        (
            [{**WEB, "manifest": "/srv/wb.yml"}],
            "manifest of web in add_ons is '/srv/wb.yml', and there is no such",
        ),
        ([{**WEB, "manifest": "/srv/bad.yml"}], "file:///srv/bad.yml of the add-on web is not YAML"),
        (
            [{**WEB, "values": {"a": 1}}],
            "values of web in add_ons has a, for which its manifest has no place",
        ),
    ],
)
def test_entries(add_ons: list[Any], text: str | None) -> None:
    told = problems(add_ons)
    assert told == [] if text is None else any(text in each for each in told)


@pytest.mark.parametrize(
    ("addresses", "variables", "text"),
    [
        (["192.168.1.200-192.168.1.220"], {}, None),
        (["192.168.1.192/28", "192.168.1.240-192.168.1.240"], {}, None),
        (
            "192.168.1.200-192.168.1.220",
            {},
            "add_ons is '192.168.1.200-192.168.1.220'; expected a list of ranges",
        ),
        (["192.168.1.200"], {}, "has '192.168.1.200'; expected ranges of addresses, such as"),
        (["192.168.1.220-192.168.1.200"], {}, "expected ranges of addresses, such as"),
        (["192.168.1.201/28"], {}, "expected ranges of addresses, such as"),
        (["10.9.0.0/28"], {}, "which is not in preflight_node_network 192.168.1.0/24; expected"),
        (["192.168.1.240/28"], {}, "with an address that no host can have in 192.168.1.0/24"),
        (
            ["192.168.1.100-192.168.1.110"],
            {},
            "with 192.168.1.102, the address of pi-2; expected addresses that",
        ),
        (["192.168.1.102-192.168.1.102"], {}, "192.168.1.102-192.168.1.102, the address of pi-2; expected"),
        (
            ["192.168.1.190-192.168.1.205"],
            {"rack_services_dhcp_range": "192.168.1.200-192.168.1.220"},
            "in rack_services_dhcp_range 192.168.1.200-192.168.1.220; expected addresses that nobody",
        ),
        (
            ["192.168.1.20-192.168.1.40"],
            {"rack_services_bootptab": "/bootptab"},
            "with 192.168.1.30, the address of printer in rack_services_bootptab; expected",
        ),
        (
            ["192.168.1.20-192.168.1.40"],
            {"control_plane_vip": "192.168.1.25"},
            "with 192.168.1.25, which is control_plane_vip; expected",
        ),
        (
            ["192.168.1.200-192.168.1.210", "192.168.1.210-192.168.1.220"],
            {},
            "has 192.168.1.210-192.168.1.220, of which a part is listed before",
        ),
    ],
)
def test_addresses_of_metallb(addresses: Any, variables: dict[str, Any], text: str | None) -> None:
    told = problems([{"name": "metallb", "values": {"addresses": addresses}}], **variables)
    assert told == [] if text is None else any(text in each for each in told), told


def test_networks_of_the_cluster() -> None:
    add_ons = [{"name": "metallb", "values": {"addresses": ["192.168.1.200-192.168.1.220"]}}]
    told = problems(add_ons, control_plane_pod_cidr="192.168.0.0/16")
    assert any("in control_plane_pod_cidr 192.168.0.0/16; expected" in each for each in told)
