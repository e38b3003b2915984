# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role flash decides about the cards of a whole rack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.bramble.pi.plugins.plugin_utils._cards import node as cards_node
from ansible_collections.bramble.pi.plugins.plugin_utils._cards import seed as cards_seed
from ansible_collections.bramble.pi.plugins.plugin_utils._cards.node import CardNode, HostKey
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import ssh

_HOST_KEY = "ssh_host_ed25519_key"
_COLUMNS = ("NODE", "DEVICE", "STATE", "IMAGE", "WRITTEN", "SECONDS", "VERIFIED")
#: What check mode says of a card.
_WOULD = {"written": "would be written", "seeded": "would be seeded"}


def _node(hostvars: Mapping[str, Any], name: str) -> CardNode:
    return cards_node.card_node(hostvars[name]["flash_node"])


def _host_key(cards_dir: str, name: str) -> HostKey:
    path = Path(cards_dir) / name / _HOST_KEY
    return HostKey(path.read_text(encoding="utf-8"), path.with_suffix(".pub").read_text(encoding="utf-8"))


def problems(
    *,
    hostvars: Mapping[str, Any],
    nodes: Sequence[str],
    images: Mapping[str, Any] | None = None,
    cards_dir: str = "",
) -> list[str]:
    """Name all that is wrong with the inputs, or, with the images, with what is made of them."""
    if images is None:
        return cards_node.problems([_node(hostvars, name) for name in nodes])
    return [
        problem
        for name in nodes
        for problem in cards_seed.problems(
            node=_node(hostvars, name),
            init_format=images[name]["init_format"],
            host_key=_host_key(cards_dir, name),
        )
    ]


def seed(*, values: Mapping[str, Any], image: Mapping[str, Any], cards_dir: str) -> dict[str, Any]:
    """Build the seed document of a node."""
    node = cards_node.card_node(values)
    host_key = _host_key(cards_dir, node.name)
    return cards_seed.seed(node=node, init_format=image["init_format"], host_key=host_key)


def batches(
    *,
    hostvars: Mapping[str, Any],
    nodes: Sequence[str],
    images: Mapping[str, Any],
    cards_dir: str,
    device: str = "",
) -> list[dict[str, Any]]:
    """Group cards by their image: they are written in one go."""
    cards: dict[str, list[dict[str, str]]] = {}
    for name in nodes:
        cards.setdefault(images[name]["path"], []).append(
            {
                "node": name,
                "device": device or hostvars[name]["flash_node"]["device"],
                "seed": str(Path(cards_dir) / name / "seed.json"),
            }
        )
    return [{"image": image, "cards": group} for image, group in cards.items()]


def rows(*, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List what became of each card, also where the module refused to begin."""
    found: list[dict[str, Any]] = []
    for result in results:
        if "cards" in result:
            found += [dict(card) for card in result["cards"]]
        else:
            found += [
                {"node": card["node"], "device": card["device"], "state": "failed", "error": result["msg"]}
                for card in result["item"]["cards"]
            ]
    return found


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def _cells(row: Mapping[str, Any], check_mode: bool) -> list[str]:
    state = row["state"]
    if state == "failed":
        return [row["node"], row["device"], state, "", "", "", "no"]
    done = not check_mode and state != "unchanged"
    return [
        row["node"],
        row["device"],
        _WOULD.get(state, state) if check_mode else state,
        row["image"],
        _size(row["bytes_written"]) if done else "",
        f"{row['seconds']:.0f}" if done else "",
        ("yes" if row["verified"] else "no") if done else "",
    ]


def table(*, rows: Sequence[Mapping[str, Any]], nodes: Sequence[str], check_mode: bool) -> list[str]:
    """Make the table, a line for each node; in check mode some have no card that could be looked at yet."""
    none = _WOULD["written"] if check_mode else "not written"
    cells = {row["node"]: _cells(row, check_mode) for row in rows}
    lines = [
        list(_COLUMNS),
        *(cells.get(name, [name, "?", none, "", "", "", ""]) for name in nodes),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]


def names(*, rows: Sequence[Mapping[str, Any]], hostvars: Mapping[str, Any]) -> list[list[str]]:
    """Pair each node with the names that ssh knows it by."""
    pairs = []
    for row in rows:
        variables = hostvars[row["node"]]
        known_as = ssh.known_as(variables, row["node"], variables["flash_node"]["hostname"])
        pairs += [[row["node"], name] for name in known_as]
    return pairs
