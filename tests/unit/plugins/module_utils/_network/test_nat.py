# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._network import nat

EXISTING = ["lo", "eth0", "wlan0", "eth0.10"]


@pytest.mark.parametrize(("inner", "outer"), [("eth0", "wlan0"), ("eth0.10", "wlan0")])
def test_check_interfaces(inner: str, outer: str) -> None:
    nat.check_interfaces(inner=inner, outer=outer, existing=EXISTING)


@pytest.mark.parametrize(
    ("inner", "outer", "existing", "why"),
    [
        ("eth0", "eth0", EXISTING, "both 'eth0'; .* set nat_headnode_inner_interface and nat_headnode_outer"),
        (
            "eth1",
            "wlan0",
            EXISTING,
            "inner_interface is 'eth1'.*expected one of eth0, eth0.10, wlan0: set nat_he",
        ),
        ("eth0", "wlan1", EXISTING, "outer_interface is 'wlan1'.*set nat_headnode_outer_interface"),
        ("eth0", "wlan0", ["lo"], "expected one of none"),
        ('e"h0', "wlan0", ['e"h0', "wlan0"], "inner_interface is"),
        ("eth+", "wlan0", ["eth+", "wlan0"], "inner_interface is"),
        ("", "wlan0", EXISTING, "inner_interface is ''"),
    ],
)
def test_check_interfaces_refuses(inner: str, outer: str, existing: list[str], why: str) -> None:
    with pytest.raises(nat.NatError, match=why):
        nat.check_interfaces(inner=inner, outer=outer, existing=existing)


PROGRAMS = nat.Programs(
    nft="/nft",
    iptables="/iptables",
    iptables_restore="/iptables-restore",
    ip6tables="/ip6tables",
    ip6tables_restore="/ip6tables-restore",
)


def files(ipv6: str = nat.OFF) -> dict[str, str]:
    return nat.files(inner="eth0", outer="wlan0", ipv6=ipv6, programs=PROGRAMS)


@pytest.mark.parametrize(
    "addresses",
    [
        {"eth0": ["10.0.0.1/24"], "wlan0": ["192.168.1.50/24"]},
        {"eth0": ["10.0.0.1/24"], "wlan0": []},
        {"eth0": [], "wlan0": []},
        {"lo": ["127.0.0.1/8"]},
    ],
)
def test_check_networks(addresses: dict[str, list[str]]) -> None:
    nat.check_networks(
        inner="eth0",
        outer="wlan0",
        addresses=addresses,
        cluster_networks=["10.244.0.0/16", "10.96.0.0/12"],
    )


@pytest.mark.parametrize(
    ("inner", "outer", "why"),
    [
        ("192.168.1.1/24", "192.168.1.50/24", r"eth0 has .* 192.168.1.1/24 and wlan0 has 192.168.1.50/24; "),
        ("192.168.1.1/24", "192.168.0.50/16", "expected two networks that do not overlap: .*preflight_no"),
        ("10.244.7.1/24", "192.168.1.50/24", "eth0 has the address 10.244.7.1/24, which overlaps 10.244.0.0"),
        ("192.168.7.1/24", "10.0.0.50/8", "wlan0 has .* set another control_plane_pod_cidr or control_plane"),
    ],
)
def test_check_networks_refuses(inner: str, outer: str, why: str) -> None:
    with pytest.raises(nat.NatError, match=why):
        nat.check_networks(
            inner="eth0",
            outer="wlan0",
            addresses={"eth0": [inner], "wlan0": [outer]},
            cluster_networks=["10.244.0.0/16", "10.96.0.0/12"],
        )


def test_rules_are_apart_from_all_others() -> None:
    everything = "".join(files().values())
    assert "flush ruleset" not in everything
    assert "--flush FORWARD" not in everything
    assert "-save" not in everything
    assert 'oifname "wlan0" masquerade' in files()[nat.RULES]
    assert "--noflush" in files()[nat.UNIT_PATH]
    assert files()[nat.SYSCTL].endswith("net/ipv4/ip_forward = 1\n")


def test_ipv6_ends_at_the_head_or_is_routed() -> None:
    off, routed = files(nat.OFF), files(nat.ROUTED)
    assert 'meta nfproto ipv6 iifname "eth0" oifname "wlan0" reject' in off[nat.RULES]
    assert "ipv6" not in off[nat.SYSCTL]
    assert "ip6tables" not in off[nat.UNIT_PATH]
    assert "nfproto ipv6" not in routed[nat.RULES]
    assert "net/ipv6/conf/all/forwarding = 1" in routed[nat.SYSCTL]
    assert "net/ipv6/conf/wlan0/accept_ra = 2" in routed[nat.SYSCTL]
    assert "ip6tables-restore" in routed[nat.UNIT_PATH]


@pytest.mark.parametrize("ipv6", [nat.OFF, nat.ROUTED])
def test_unit_loads_the_same_at_start_and_reload_and_can_be_loaded_again(ipv6: str) -> None:
    unit = nat.unit_text(ipv6=ipv6, programs=PROGRAMS)
    start, reload = (
        [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}=")]
        for key in ("ExecStart", "ExecReload")
    )
    assert start == reload
    # What filters comes first, so that whatever fails after it leaves nothing open.
    assert start[0].startswith("/nft --file")
    # The jump is taken out before it is put in, else each load would leave one more.
    assert start[1].startswith("-/iptables")
    assert "--delete FORWARD" in start[1]


@pytest.mark.parametrize("ipv6", [nat.OFF, nat.ROUTED])
def test_nftables_takes_the_rules(ipv6: str, tmp_path: Path) -> None:
    rules = tmp_path / "nat.nft"
    rules.write_text(files(ipv6)[nat.RULES])
    # Twice, as at each reload; in a network of its own.
    script = f"nft --file {rules} && nft --file {rules} && nft list table inet {nat.TABLE}"
    listing = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert listing.count("masquerade") == 1
