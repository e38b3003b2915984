# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers become the files of an inventory, in the form of the folders in C(inventories/)."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.bramble.pi.plugins.plugin_utils._start.answers import NAT, NETBOOT, ROUTER
from ansible_collections.bramble.pi.plugins.plugin_utils._start.questions import Answers, Node

#: Where the only secret is, if there is one. No folder of that name, beside which Ansible would pass over a
#: file nat_headnode.yml that somebody makes later.
VAULT = "group_vars/nat_headnode.yml"
_TEMPLATE = re.compile(r"\{[{%#]")
_HEADINGS = {
    ROUTER: [
        "A rack on a router or in your home network: each node reaches the outside by",
        "itself, and you reach each node.",
    ],
    NAT: [
        "A rack on a switch of its own. The head is the other nodes' default gateway",
        "(NAT), and your way in: Ansible reaches them through it.",
    ],
    NETBOOT: [
        "A rack without cards, but for its head: the head is the default gateway (NAT) of",
        "a switch of its own, and the nodes start from it over the network.",
    ],
}


_BY_DHCP = [
    "# No default gateway is known, so cards leave the addresses to your router: have it",
    "# give each node the one below, or set node_network_address for each of them, and",
    "# node_network_gateway here.",
]


def scalar(text: str) -> str:
    """Write a text as YAML; what would be a template for Ansible is marked as none."""
    return f"{'!unsafe ' if _TEMPLATE.search(text) else ''}{json.dumps(text, ensure_ascii=False)}"


def _indented(lines: Iterable[str], blanks: int) -> list[str]:
    return [f"{' ' * blanks}{line}" if line else "" for line in lines]


def files(
    answers: Answers, *, name: str, version: str, examples: Mapping[str, str], readers: Sequence[str] = ()
) -> dict[str, str]:
    """Return the text of each file, by its path in the folder.

    ``name`` is how the folder is given to -i, ``version`` that of Kubernetes. ``examples`` has the files of
    variables that every rack of that shape has, by their paths; ``readers`` describes cards in readers.
    """
    found = {
        **examples,
        "hosts.yml": "\n".join(_hosts(answers, name, version)) + "\n",
        "group_vars/all.yml": examples["group_vars/all.yml"] + "\n".join(_all(answers, readers)) + "\n",
    }
    if answers.wifi_key:
        found[VAULT] = (
            "---\n# The vault of the head; to be encrypted before it is copied anywhere:\n"
            f"#   ansible-vault encrypt {shlex.quote(f'{name}/{VAULT}')}\n"
            f"vault_wifi_psk: {scalar(answers.wifi_key)}\n"
        )
    return found


def _all(answers: Answers, readers: Sequence[str]) -> list[str]:
    networks = [f"{variable}: {network}" for variable, network in answers.cluster_networks.items()]
    return [
        "",
        "# What bramble.pi.start found or was answered; yours to change.",
        f"flash_image: {scalar(answers.image)}",
        *([f"flash_timezone: {answers.timezone}"] if answers.timezone else []),
        *(["# The default overlaps a network of yours.", *networks] if networks else []),
        *(
            ["# Cards that were in readers; flash_device says for a node which is its own."]
            if readers
            else []
        ),
        *(f"#   {reader}" for reader in readers),
    ]


def _hosts(answers: Answers, name: str, version: str) -> list[str]:
    children = _on_router(answers) if answers.shape == ROUTER else _behind_head(answers)
    return [
        "---",
        *(f"# {line}" for line in _HEADINGS[answers.shape]),
        "#",
        "# Written by bramble.pi.start, and yours to change. Check it with",
        f"#   ansible-playbook -i {shlex.quote(name)} bramble.pi.preflight",
        "# What need not be chosen is in group_vars/.",
        "all:",
        "  vars:",
        "    # The user that Ansible logs in as on every node; it has to be allowed to",
        "    # use sudo (add -K to the commands where sudo asks for a password).",
        f"    ansible_user: {scalar(answers.user)}",
        "",
        "    # The network that the nodes are in.",
        f"    preflight_node_network: {answers.network}",
        "",
        "    # Kubernetes: a minor takes its newest patch. Always in quotes: YAML reads 1.30",
        "    # as the number 1.3.",
        f'    kube_packages_version: "{version}"',
        *(_indented(_gateway(answers), 4) if answers.shape == ROUTER else []),
        "",
        "  children:",
        *_indented(children, 4),
    ]


def _gateway(answers: Answers) -> list[str]:
    """Give the cards' addresses what goes with them."""
    if answers.gateway is None:
        return [] if all(node.runs for node in answers.nodes) else ["", *_BY_DHCP]
    return [
        "",
        "# Cards are written with each node's address, and with these.",
        f"node_network_gateway: {answers.gateway}",
        f"node_network_resolvers: [{answers.gateway}]",
    ]


def _node(answers: Answers, node: Node) -> list[str]:
    lines = [f"# {node.seen}"] if node.seen else []
    lines += [f"{node.name}:", f"  ansible_host: {node.address}"]
    if answers.shape != NETBOOT and answers.gateway is not None:
        lines.append(f"  node_network_address: {node.address}/{answers.network.prefixlen}")
    if answers.shape != ROUTER and node.mac:
        lines.append(f'  rack_services_mac: "{node.mac}"')
    if answers.shape == NETBOOT:
        lines.append(f'  netboot_tree_serial: "{node.serial}"')
    return lines


def _group(name: str, comment: Sequence[str], hosts: Sequence[str]) -> list[str]:
    return [*(f"# {line}" for line in comment), f"{name}:", "  hosts:", *_indented(hosts, 4)]


def _on_router(answers: Answers) -> list[str]:
    control_plane, *workers = answers.nodes
    return [
        *_group(
            "control_plane",
            ["The node that runs the control plane, by its name and its address."],
            _node(answers, control_plane),
        ),
        "",
        *_group(
            "workers",
            ["The nodes that run your workloads."],
            [line for node in workers for line in _node(answers, node)],
        ),
    ]


def _behind_head(answers: Answers) -> list[str]:
    head, *others = answers.nodes
    return [
        *_head(answers, head),
        "",
        *(_netboot(answers, head, others) if answers.shape == NETBOOT else _workers(answers, head, others)),
    ]


def _head(answers: Answers, head: Node) -> list[str]:
    wifi = [
        "nat_headnode_uplink: wifi",
        f"nat_headnode_wifi_ssid: {scalar(answers.wifi_name)}",
        f"nat_headnode_wifi_country: {scalar(answers.wifi_country)}",
        *(['nat_headnode_wifi_psk: "{{ vault_wifi_psk }}"'] if answers.wifi_key else []),
    ]
    return [
        *_group(
            "nat_headnode",
            ["The head, with the name or address that you reach it at from outside."],
            [
                *([f"# {head.seen}"] if head.seen else []),
                f"{head.name}:",
                f"  ansible_host: {scalar(answers.head)}",
            ],
        ),
        "  vars:",
        "    # Its interface to the switch, and the one to the outside.",
        "    nat_headnode_inner_interface: eth0",
        "    nat_headnode_outer_interface: wlan0",
        *(["", "    # The Wi-Fi that it joins.", *_indented(wifi, 4)] if answers.wifi_name else []),
        "",
        *_group(
            "node_network",
            ["Its own address on the switch, which its card and Ansible give it."],
            [f"{head.name}:", f"  node_network_address: {head.address}/{answers.network.prefixlen}"],
        ),
        "",
        *_group("control_plane", ["The node that runs the control plane: the head."], [f"{head.name}:"]),
    ]


def _workers(answers: Answers, head: Node, others: Sequence[Node]) -> list[str]:
    return [
        *_group(
            "workers",
            ["The nodes that run your workloads, with the addresses that their cards give them."],
            [line for node in others for line in _node(answers, node)],
        ),
        *(
            [
                "  vars:",
                f"    node_network_gateway: {head.address}",
                f"    node_network_resolvers: [{head.address}]",
            ]
            if others
            else []
        ),
    ]


def _netboot(answers: Answers, head: Node, others: Sequence[Node]) -> list[str]:
    boards, unknown = [], []
    for node in others:
        if node.mac and node.serial:
            boards += _node(answers, node)
        else:
            mac = node.mac or "dc:a6:32:..."
            unknown += [
                f"# {line}" for line in _node(answers, node._replace(mac=mac, serial=node.serial or "..."))
            ]
    workers = [f"{node.name}:" if node.mac and node.serial else f"# {node.name}:" for node in others]
    hint = (
        [
            "Take the # away here and below for each board whose MAC and serial number are known: once the",
            "head runs, bramble.pi.scan finds them, see docs/netboot.md.",
        ]
        if unknown
        else []
    )
    return [
        *_group(
            "netboot_server",
            ["The host that serves the others, in /srv/netboot, a file system of its own (docs/netboot.md)."],
            [f"{head.name}:"],
        ),
        "",
        *_group(
            "netboot",
            [
                "The nodes without cards, each with the MAC and the last eight digits of the serial number",
                "of its board. Always in quotes.",
                *hint,
            ],
            [*boards, *unknown],
        ),
        "",
        *_group("workers", ["The nodes that run your workloads."], workers),
    ]


def next_commands(answers: Answers, *, name: str, has_key: bool) -> list[str]:
    """Say what to run next, in the order."""
    inventory = f"ansible-playbook -i {shlex.quote(name)}"
    vault = " --ask-vault-pass" if answers.wifi_key else ""
    new = [node.name for node in answers.nodes if not node.runs]
    # Those that run keep their cards.
    only_new = "" if len(new) == len(answers.nodes) else f" --limit {','.join(new)}"
    limit = f" --limit {answers.nodes[0].name}"
    commands = [] if has_key else ["ssh-keygen -t ed25519"]
    if answers.wifi_key:
        commands.append(f"ansible-vault encrypt {shlex.quote(f'{name}/{VAULT}')}")
    if answers.shape == NETBOOT:
        known = all(node.mac and node.serial for node in answers.nodes[1:])
        scan = f"{inventory} bramble.pi.scan -e scan_from={answers.nodes[0].name} -e scan_listen=60{vault}"
        commands += [
            *(
                []
                if answers.nodes[0].runs
                else [f"{inventory} bramble.pi.flash{limit} --ask-become-pass{vault}"]
            ),
            f"{inventory} bramble.pi.network{limit}{vault}",
            # What it has found goes into the lines that wait for it.
            *([] if known else [scan, f"$EDITOR {shlex.quote(f'{name}/hosts.yml')}"]),
            f"{inventory} bramble.pi.netboot{vault}",
        ]
    elif new:
        commands.append(f"{inventory} bramble.pi.flash{only_new} --ask-become-pass{vault}")
    return [*commands, *(f"{inventory} bramble.pi.{playbook}{vault}" for playbook in ("site", "verify"))]


def warnings(answers: Answers) -> list[str]:
    """Say what of the rack cannot work as it was answered."""
    if not answers.head or answers.nodes[0].runs or answers.wifi_name:
        return []
    return [
        f"the new card of the head {answers.nodes[0].name} joins no Wi-Fi, so that {answers.head} is reached "
        "only if it is connected to your network in another way; expected one: set start_wifi_ssid, or "
        "nat_headnode_wifi_ssid in hosts.yml before the card is written"
    ]
