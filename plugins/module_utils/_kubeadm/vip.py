# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one address of all control planes: what keepalived, nftables and systemd are told of it.

Who holds it sends advertisements to the others (VRRP, RFC 3768, from node to node); who hears none takes it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.state import CA_CERTIFICATE

CONFIGURATION = "/etc/bramble/vip.conf"
RULES = "/etc/bramble/vip.nft"
UNIT = "bramble-vip.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
TABLE = "bramble_vip"
#: By its number, as nothing says that the node has /etc/protocols.
_VRRP = 112
#: What is asked for again when the rules have been flushed.
LIST_RULES = ("/usr/sbin/nft", "list", "table", "inet", TABLE)

#: Where each API server answers, on each of its node's addresses.
PORT = 6443

#: Seconds between advertisements, and how many of them have to be missing.
ADVERTISEMENT = 1
MISSING = 3
#: Seconds between questions to the API server, and for how long one may take.
QUESTION = 1
ANSWER = 2
#: So many bad answers in a row make a node give the address up, so many good ones let it take it. etcd has no
#: leader for a second or two when it elects one, which is no reason to move.
BAD = 3
GOOD = 2
#: The first host of the group control_plane has this priority, each after it less by the step.
_FIRST, _STEP = 250, 10
_RANGE = 256

_SET = "set control_plane_vip in group_vars/all.yml"


class VipError(BrambleError):
    """An address that the control planes cannot have."""


class Place(NamedTuple):
    """Which address is on which interface."""

    address: str
    interface: str


def parse_address(text: str) -> ipaddress.IPv4Address:
    """Read the address; refuse what is none of a host."""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        address = ipaddress.IPv4Address(0)
    if not int(address) or address.is_loopback or address.is_multicast or address.is_reserved:
        raise VipError(
            f"control_plane_vip is {text!r}; expected an IPv4 address of the nodes' network that nobody has, "
            f"such as 192.168.1.10: {_SET}"
        )
    return address


def check_network(address: str, network: ipaddress.IPv4Network, *, name: str) -> None:
    """Refuse an address that no host of the nodes' network can have; ``name`` says which network that is."""
    parsed = parse_address(address)
    # From /31 on a network has no address of its own, nor one for broadcast.
    special = (network.network_address, network.broadcast_address) if network.prefixlen < 31 else ()
    if parsed not in network or parsed in special:
        raise VipError(
            f"control_plane_vip is {address}; expected an address that a host can have in {name} {network}: "
            f"{_SET}"
        )


def place(address: str, *, own: str, addresses: Mapping[str, Collection[str]]) -> Place:
    """Find the interface for the address: the one that has the node's own, in a network with both.

    ``addresses`` are those of each interface, with their prefixes.
    """
    for interface, found in addresses.items():
        for each in map(ipaddress.IPv4Interface, found):
            if str(each.ip) == own:
                check_network(address, each.network, name=f"the network of {interface}")
                return Place(address, interface)
    seen = ", ".join(each for found in addresses.values() for each in found)
    raise VipError(
        f"the node has the addresses {seen}; expected {own} among them, by which the other control planes "
        "know it: set os_prep_address for this host"
    )


def priority(own: str, control_planes: Sequence[str]) -> int:
    """Return the node's priority, which only counts when several want the address at the same moment."""
    if own not in control_planes:
        raise VipError(
            f"the node's own address is {own}; expected one of {', '.join(control_planes)}, those of the "
            "group control_plane: set os_prep_address for this host"
        )
    return max(1, _FIRST - _STEP * control_planes.index(own))


def takes_over_after(own_priority: int) -> float:
    """Predict after how many seconds without a word from the holder a node takes the address."""
    return MISSING * ADVERTISEMENT + (_RANGE - own_priority) / _RANGE


def gives_up_after(*, silent: bool) -> int:
    """Predict within how many seconds a node gives the address up, with an API server that is ill.

    One that is ``silent`` lets each question wait, another refuses it at once.
    """
    return QUESTION + BAD * max(QUESTION, ANSWER if silent else 0)


def _router_id(address: str) -> int:
    """Return the number of the group, from 1 to 255.

    Nothing else on the network hears it, as advertisements go to the peers alone.
    """
    return int(ipaddress.IPv4Address(address)) % 255 + 1


def _configuration(place: Place, *, own: str, control_planes: Sequence[str]) -> str:
    # Without a peer keepalived would tell the whole network; the only one tells itself.
    peers = "".join(f"        {each}\n" for each in control_planes if each != own or len(control_planes) == 1)
    question = (
        f"/usr/bin/curl --silent --fail --output /dev/null --noproxy * --max-time {ANSWER}"
        f" --cacert {CA_CERTIFICATE} --connect-to ::127.0.0.1:{PORT} https://kubernetes:{PORT}/livez"
    )
    return f"""{MANAGED}
global_defs {{
    script_user root
    enable_script_security
    # Who has missed the first ones, such as a switch that was off, hears of the address again.
    vrrp_garp_master_refresh 60
}}

# It has etcd's check, which fails without a majority. "kubernetes" is in each API server's certificate.
vrrp_script api_server {{
    script "{question}"
    interval {QUESTION}
    timeout {ANSWER}
    fall {BAD}
    rise {GOOD}
    init_fail
}}

vrrp_instance control_plane {{
    # All the same, and nobody takes it from a holder that answers: no second gap when a node comes back.
    state BACKUP
    nopreempt
    interface {place.interface}
    virtual_router_id {_router_id(place.address)}
    priority {priority(own, control_planes)}
    advert_int {ADVERTISEMENT}
    unicast_src_ip {own}
    unicast_peer {{
{peers}    }}
    virtual_ipaddress {{
        {place.address}/32 dev {place.interface}
    }}
    track_script {{
        api_server
    }}
}}
"""


def read_place(text: str) -> Place | None:
    """Read from keepalived's configuration which address the node takes part in holding."""
    found = re.search(r"virtual_ipaddress \{\s*(\S+)/32 dev (\S+)", text)
    return Place(*found.groups()) if found else None


def _rules(place: Place, *, own: str, control_planes: Sequence[str]) -> str:
    peers = ", ".join(each for each in control_planes if each != own)
    accept = (
        f'        meta l4proto {_VRRP} iifname "{place.interface}" ip saddr {{ {peers} }} accept\n'
        if peers
        else ""
    )
    return f"""{MANAGED}
# Declared first, so that the table can be deleted whether it was there or not.
table inet {TABLE}
delete table inet {TABLE}

table inet {TABLE} {{
    # VRRP has no more than a password in plain text: who may say that he has the address is decided here.
    chain input {{
        type filter hook input priority -10; policy accept;
{accept}        meta l4proto {_VRRP} drop
    }}
}}
"""


def _unit(place: Place) -> str:
    # A keepalived that is killed leaves the address behind, and another node has it by then.
    return f"""{MANAGED}[Unit]
Description=The address of the control plane
Wants=network-online.target
After=network-online.target nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
StartLimitIntervalSec=0

[Service]
ExecStartPre=/usr/sbin/nft --file {RULES}
ExecStart=/usr/sbin/keepalived --dont-fork --vrrp --use-file {CONFIGURATION} \\
    --pid /run/bramble-vip.pid --vrrp_pid /run/bramble-vip-vrrp.pid
ExecReload=/usr/sbin/nft --file {RULES}
ExecStopPost=-/sbin/ip address delete {place.address}/32 dev {place.interface}
ExecStopPost=-/usr/sbin/nft delete table inet {TABLE}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""


def files(place: Place, *, own: str, control_planes: Sequence[str]) -> dict[str, str]:
    """Return the content of each file by its path."""
    return {
        RULES: _rules(place, own=own, control_planes=control_planes),
        CONFIGURATION: _configuration(place, own=own, control_planes=control_planes),
        UNIT_PATH: _unit(place),
    }
