# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The questions, in their order: what is asked for, why, and what is taken if nothing is answered.

At most eight of them reach the user, in whatever shape the rack has. What is not asked can be set as a
variable all the same, and is found otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Callable, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._rack import scan
from ansible_collections.bramble.pi.plugins.plugin_utils._start import answers
from ansible_collections.bramble.pi.plugins.plugin_utils._start.answers import (
    NAT,
    NETBOOT,
    NONE,
    ROUTER,
    StartError,
)
from ansible_collections.bramble.pi.plugins.plugin_utils._start.found import Routes, free_network
from ansible_collections.bramble.pi.plugins.plugin_utils._start.found import searched as small_enough

#: What Raspberry Pi OS calls itself by multicast DNS.
_HEAD = "pi-1.local"


class Question(NamedTuple):
    """Something that the user decides."""

    #: The name of its variable, without the prefix.
    name: str
    text: str
    why: str
    default: str
    #: What makes of the text what is meant; raises StartError.
    read: Callable[[str], Any]
    asked: bool = True
    secret: bool = False


#: Puts a question to the user, or finds its answer among the variables.
Ask = Callable[[Question], Any]


class Known(NamedTuple):
    """What was found out on the controller."""

    routes: Routes
    timezone: str
    country: str
    image: str


class Place(NamedTuple):
    """Where the inventory goes, how the rack is connected, and which network is searched for boards."""

    folder: str
    shape: str
    searched: IPv4Network | None


class Node(NamedTuple):
    """A node as it comes into the inventory."""

    name: str
    address: str
    mac: str = ""
    serial: str = ""
    #: What was seen of it, for a comment.
    seen: str = ""
    #: Whether it was reached at an address, so that it needs no new card.
    runs: bool = False


class Answers(NamedTuple):
    """All that an inventory is made of."""

    shape: str
    user: str
    network: IPv4Network
    #: The default gateway and name server of nodes that have their addresses from their cards.
    gateway: IPv4Address | None
    #: Where the head is reached from outside; empty without a head.
    head: str
    #: The first one runs the control plane; with a head, it is that.
    nodes: tuple[Node, ...]
    #: The networks of pods and services, where the defaults are not free.
    cluster_networks: Mapping[str, IPv4Network]
    wifi_name: str
    wifi_country: str
    wifi_key: str
    image: str
    timezone: str


def ask_place(ask: Ask, known: Known) -> Place:
    """Ask what has to be known before boards are looked for."""
    folder = ask(
        Question(
            "folder",
            "Which folder is the inventory to be written to?",
            "Every later command is given it by -i. One that exists is never changed.",
            "my-rack",
            answers.folder,
        )
    )
    shape = ask(
        Question(
            "shape",
            f"How are the Pis connected: {ROUTER}, {NAT} or {NETBOOT}?",
            f"{ROUTER}: each node is on your router. {NAT}: the nodes are on a switch of their own, behind "
            f"one Pi, the head, with Wi-Fi. {NETBOOT}: like {NAT}, and only the head has a card.",
            ROUTER,
            answers.shape,
        )
    )
    return Place(
        folder,
        shape,
        ask(
            Question(
                "search",
                f"Which network is to be searched for Pis that run already ({NONE} for no search)?",
                "One empty datagram is sent to each of its addresses; what is found has not to be typed.",
                (small_enough(known.routes.own) or NONE) if shape == ROUTER else NONE,
                answers.searched,
                # Behind a head they are not seen from here.
                asked=shape == ROUTER,
            )
        ),
    )


def ask_rest(ask: Ask, place: Place, known: Known, boards: Sequence[scan.Found]) -> Answers:
    """Ask for what the inventory needs beside the boards that were found."""
    has_head = place.shape != ROUTER
    network = ask(_network(place, known))
    gateway = network[1] if has_head else ask(_gateway(known.routes, network))
    seen = [board for board in boards if _is_node(board, network)]
    if not has_head:
        # The router may be a Pi, too.
        seen = [board for board in seen if board.address != str(gateway)]
    # What was searched for is seen somewhere; others are the user's own word.
    elsewhere = [board.address for board in boards if not board.seen and not _is_node(board, network)]
    if elsewhere and not has_head:
        raise StartError(
            f"start_boards has {', '.join(elsewhere)}, outside of {network}; expected addresses in it: "
            "correct them, or set start_network"
        )
    number = ask(
        Question(
            "nodes",
            f"How many Pis are there{', the head among them' if has_head else ''}?",
            "The first runs the control plane, the others your workloads"
            f"{_seen_among(boards if has_head else seen)}.",
            str(max(3, len(seen) + has_head)),
            answers.count,
        )
    )
    if has_head:
        nodes, head = _behind_head(
            ask, network, [board for board in boards if board not in seen], seen, number
        )
    else:
        nodes, head = _on_router(ask, network, known.routes, seen, number=number, gateway=gateway), ""
    user = ask(
        Question(
            "user",
            "Which user does Ansible log in as?",
            "It has to be the same on every node, and may use sudo; new cards are made with it.",
            "pi",
            answers.user,
        )
    )
    name, country, key = _ask_wifi(ask, known) if has_head else ("", "", "")
    outside = [known.routes.own] if has_head and known.routes.own is not None else []
    return Answers(
        shape=place.shape,
        user=user,
        network=network,
        gateway=gateway,
        head=head,
        nodes=tuple(nodes),
        cluster_networks=_cluster_networks([network, *outside, *_as_network(head)]),
        wifi_name=name,
        wifi_country=country,
        wifi_key=key,
        image=ask(Question("image", "", "", known.image, answers.image, asked=False)),
        timezone=ask(Question("timezone", "", "", known.timezone, answers.timezone, asked=False)),
    )


def _seen_among(boards: Sequence[scan.Found]) -> str:
    return f"; {len(boards)} were found" if boards else ""


def _network(place: Place, known: Known) -> Question:
    if place.shape == ROUTER:
        default = place.searched or known.routes.own
    else:
        default = free_network(taken=known.routes.networks, prefix=24)
    return Question(
        "network",
        "Which network are the Pis in?",
        "Each has an address in it. Nothing is searched, so it cannot be told from what answers.",
        str(default or ""),
        answers.network,
        # Behind a head it is ours to choose.
        asked=place.shape == ROUTER and place.searched is None,
    )


def _is_node(board: scan.Found, network: IPv4Network) -> bool:
    """Tell whether a board is one of the nodes in a network; with a head, others may be that.

    One without an address has one to get.
    """
    return not board.address or IPv4Address(board.address) in network


def _as_network(text: str) -> list[IPv4Network]:
    try:
        return [IPv4Network(text)]
    except ValueError:
        return []  # A name, or none.


def _gateway(routes: Routes, network: IPv4Network) -> Question:
    default = routes.gateway if routes.gateway is not None and routes.gateway in network else NONE
    read = partial(answers.gateway, network=network)
    return Question("gateway", "", "", str(default), read, asked=False)


def _cluster_networks(taken: Iterable[IPv4Network]) -> dict[str, IPv4Network]:
    """Choose networks for pods and services where one of the rack overlaps the defaults."""
    used = list(taken)
    found = {}
    for variable, default in (
        ("control_plane_pod_cidr", "10.244.0.0/16"),
        ("control_plane_service_cidr", "10.96.0.0/12"),
    ):
        network = free_network(taken=used, prefix=16, first=[default])
        if network is None:
            raise StartError(
                f"no private network is free for {variable}, beside {', '.join(map(str, used))}; expected "
                "one of /16: set start_network to a smaller network"
            )
        used.append(network)
        if str(network) != default:
            found[variable] = network
    return found


def _named(boards: Sequence[scan.Found], number: int) -> list[tuple[str, scan.Found]]:
    """Name so many nodes: the boards that were found, and others that nobody has seen yet."""
    unseen = [scan.Found("", "", "", "", "", [])] * max(0, number - len(boards))
    listed = [*boards[:number], *unseen]
    return list(zip(scan.names(listed), listed))


def _on_router(
    ask: Ask,
    network: IPv4Network,
    routes: Routes,
    boards: Sequence[scan.Found],
    *,
    number: int,
    gateway: IPv4Address | None,
) -> list[Node]:
    named = _named(boards, number)
    missing = sum(not board.address for _name, board in named)
    taken = {*(IPv4Address(board.address) for board in boards if board.address), *routes.addresses}
    taken |= {address for address in (routes.gateway, gateway) if address is not None}
    free: list[IPv4Address] = []
    if missing:

        def read(text: str) -> list[IPv4Address]:
            first = answers.first_address(text, network=network)
            return answers.free_addresses(network=network, first=first, number=missing, taken=taken)

        free = ask(
            Question(
                "address",
                f"Which address is the first of the {missing} new Pis to have?",
                "Others have the next, and cards are written with them. Take addresses that your router "
                "does not hand out to others.",
                str(network[101] if network.num_addresses > 101 + missing else network[1]),
                read,
            )
        )
    rest = iter(free)
    return [
        Node(name, board.address or str(next(rest)), seen=seen_of(board), runs=bool(board.address))
        for name, board in named
    ]


def _behind_head(
    ask: Ask,
    network: IPv4Network,
    heads: Sequence[scan.Found],
    boards: Sequence[scan.Found],
    number: int,
) -> tuple[list[Node], str]:
    head = ask(
        Question(
            "address",
            "Where is the head reached from here, by its name or address?",
            "It is the way in to all others. A new card of Raspberry Pi OS answers to its name with .local.",
            heads[0].address if heads else _HEAD,
            partial(answers.head, network=network),
        )
    )
    blank = scan.Found("", "", "", "", "", [])
    named = _named([(heads[0] if heads else blank)._replace(hostname="pi-1"), *boards], number)
    taken = {IPv4Address(board.address) for board in boards if board.address} | {network[1]}
    missing = sum(not board.address for _name, board in named[1:])
    start = network[2] if network.num_addresses > 3 else network[1]
    free = iter(answers.free_addresses(network=network, first=start, number=missing, taken=taken))
    nodes = [Node(named[0][0], str(network[1]), seen=seen_of(named[0][1]), runs=bool(heads))]
    for name, board in named[1:]:
        address = board.address or str(next(free))
        nodes.append(Node(name, address, board.mac, board.serial, seen_of(board), runs=bool(board.address)))
    return nodes, head


def seen_of(board: scan.Found) -> str:
    """Say what was seen of a board."""
    told = [board.model, board.mac, board.hostname and f"calls itself {board.hostname}"]
    # Anybody may have sent the name.
    return ", ".join(part for part in told if part and part.isprintable()) if board.mac else ""


def _ask_wifi(ask: Ask, known: Known) -> tuple[str, str, str]:
    name = ask(
        Question(
            "wifi_ssid",
            f"Which Wi-Fi does the head join ({NONE} if it is connected already)?",
            "The head is the only way to the outside. Its card is written with it; a new card without one "
            "cannot be reached.",
            NONE,
            answers.wifi_name,
        )
    )
    if not name:
        return "", "", ""
    country = ask(
        Question(
            "wifi_country",
            "Which country is it in, by its two letters?",
            "Each allows other channels; without one the radio stays off.",
            known.country,
            answers.wifi_country,
            asked=not known.country,
        )
    )
    key = ask(
        Question(
            "wifi_psk",
            f"What is the key of that Wi-Fi ({NONE} for an open one)?",
            "It goes into a file of its own, for your user alone, to be encrypted with ansible-vault.",
            NONE,
            partial(answers.wifi_key, name=name, country=country),
            secret=True,
        )
    )
    return name, country, key
