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
        ({}, None),
        ({"monitoring_host": "pi-2", "monitoring_ntfy": "https://ntfy.sh/rack"}, None),
        ({"monitoring_host": "{{ groups.workers | first }}"}, None),
        ({"monitoring_host": "pi-9"}, "monitoring_host is 'pi-9'; expected a host of the inventory"),
        ({"monitoring_scrape_interval": 1}, "monitoring_scrape_interval is 1; expected 5 seconds or more"),
        ({"monitoring_address": "rack.lan"}, "monitoring_address is 'rack.lan'; expected an IPv4 address"),
        ({"monitoring_mail": {"to": "ada"}}, "monitoring_mail is"),
    ],
)
def test_how_the_rack_is_watched(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text)
