# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils import _nat as core

EXISTING = ["lo", "eth0", "wlan0", "eth0.10"]


@pytest.mark.parametrize(("inner", "outer"), [("eth0", "wlan0"), ("eth0.10", "wlan0")])
def test_check_interfaces(inner: str, outer: str) -> None:
    core.check_interfaces(inner=inner, outer=outer, existing=EXISTING)


@pytest.mark.parametrize(
    ("inner", "outer", "existing", "why"),
    [
        ("eth0", "eth0", EXISTING, "both eth0; .* set nat_headnode_inner_interface and nat_headnode_outer"),
        (
            "eth1",
            "wlan0",
            EXISTING,
            "inner_interface is 'eth1'.*wanted is one of eth0, eth0.10, wlan0: set nat_he",
        ),
        ("eth0", "wlan1", EXISTING, "outer_interface is 'wlan1'.*set nat_headnode_outer_interface"),
        ("eth0", "wlan0", ["lo"], "wanted is one of none"),
        ('e"h0', "wlan0", ['e"h0', "wlan0"], "inner_interface is"),
        ("eth+", "wlan0", ["eth+", "wlan0"], "inner_interface is"),
        ("", "wlan0", EXISTING, "inner_interface is ''"),
    ],
)
def test_check_interfaces_refuses(inner: str, outer: str, existing: list[str], why: str) -> None:
    with pytest.raises(core.NatError, match=why):
        core.check_interfaces(inner=inner, outer=outer, existing=existing)


def test_rules_are_apart_from_all_others() -> None:
    files = core.files(
        inner="eth0",
        outer="wlan0",
        nft="/usr/sbin/nft",
        iptables="/usr/sbin/iptables",
        iptables_restore="/usr/sbin/iptables-restore",
    )
    everything = "".join(files.values())
    assert "flush ruleset" not in everything
    assert "--flush FORWARD" not in everything
    assert "-save" not in everything
    assert 'oifname "wlan0" masquerade' in files[core.RULES]
    assert "--noflush" in files[core.UNIT_PATH]
    assert files[core.SYSCTL].endswith("net.ipv4.ip_forward = 1\n")


def test_unit_loads_the_same_at_start_and_reload_and_can_be_loaded_again() -> None:
    unit = core.unit_text(nft="/nft", iptables="/iptables", iptables_restore="/iptables-restore")
    start, reload = (
        [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}=")]
        for key in ("ExecStart", "ExecReload")
    )
    assert start == reload
    # The jump is taken out before it is put in, else each load would leave one more.
    assert start[0].startswith("-/iptables")
    assert "--delete FORWARD" in start[0]
