# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._rack import discovery


@pytest.mark.parametrize(
    ("network", "why"),
    [
        ("10.0.0.1/24", "expected one such as"),
        ("10.0.0.0/16", "has 65536 addresses; expected 1024 at the most"),
    ],
)
def test_networks_that_are_not_searched(network: str, why: str) -> None:
    with pytest.raises(discovery.ScanError, match=why):
        discovery.wake(network)
