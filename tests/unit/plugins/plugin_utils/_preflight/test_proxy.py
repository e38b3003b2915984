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
        ({"os_prep_proxy": "http://proxy.example.org:3128", "os_prep_no_proxy": [".lan"]}, None),
        (
            {"os_prep_proxy": "proxy:3128"},
            "os_prep_proxy is 'proxy:3128'; expected an address such as http://",
        ),
        (
            {"os_prep_proxy": "http://ada:secret@proxy:3128"},
            "os_prep_proxy is 'proxy:3128'; expected a proxy without a login",
        ),
        (
            {"os_prep_no_proxy": ["*.lan"]},
            "os_prep_no_proxy has '*.lan'; expected a name, a domain such as .lan",
        ),
    ],
)
def test_the_proxy(variables: dict[str, Any], text: str | None) -> None:
    check_row(variables, text)
