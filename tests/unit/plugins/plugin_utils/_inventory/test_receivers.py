# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory.receivers import ReceiverError, receivers

HOSTS: dict[str, dict[str, Any]] = {
    "pi-1": {"ansible_host": "192.168.1.50", "os_prep_address": "10.0.0.1"},
    "pi-2": {"ansible_host": "192.168.1.51", "os_prep_address": "10.0.0.2", "ansible_port": 2222},
    "pi-3": {},
    "here": {"ansible_host": "localhost"},
    "loop": {"ansible_host": "127.0.1.1"},
    "alias": {"ansible_host": "10.0.0.1"},
    "a b": {},
}


def test_they_are_reached_where_other_nodes_reach_them() -> None:
    assert receivers(host="pi-1", names=["pi-2", "pi-1", "pi-3", "pi-2"], hosts=HOSTS) == [
        {"name": "pi-2", "address": "10.0.0.2", "port": 2222},
        {"name": "pi-3", "address": "pi-3", "port": 22},
    ]
    assert receivers(host="a b", names=[], hosts=HOSTS) == []


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["pi-1"], "backup_copy_to is ['pi-1'], which is pi-1 itself; expected another node as well"),
        (["pi-9"], "backup_copy_to has 'pi-9', which is no host of the inventory; expected the name of one"),
        (
            ["here"],
            "backup_copy_to has 'here', which is reached at localhost; expected an address at which pi-1",
        ),
        (
            ["loop"],
            "backup_copy_to has 'loop', which is reached at 127.0.1.1; expected an address at which pi-1",
        ),
        (
            ["alias"],
            "backup_copy_to has 'alias', which has the address of pi-1, 10.0.0.1; expected another nod",
        ),
        (
            ["a b"],
            "a host that sends or gets copies is called 'a b'; expected letters, digits and _.-: rename",
        ),
    ],
)
def test_nodes_that_are_none(names: list[str], text: str) -> None:
    with pytest.raises(ReceiverError) as refused:
        receivers(host="pi-1", names=names, hosts=HOSTS)
    assert str(refused.value).startswith(text)
