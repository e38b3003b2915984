# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes of a rack are to be, and their cards, from the inventory to what stands in the table."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._common.urls import public_url
from ansible_collections.bramble.pi.plugins.plugin_utils._cards import inputs
from ansible_collections.bramble.pi.plugins.plugin_utils._cards import node as cards_node
from ansible_collections.bramble.pi.plugins.plugin_utils._cards import seed as cards_seed
from ansible_collections.bramble.pi.plugins.plugin_utils._cards.node import CardNode, HostKey, plain
from ansible_collections.bramble.pi.plugins.plugin_utils._inventory import ssh

#: The variable of a host that the role flash leaves its inputs in, for all roles that read them.
INPUTS = "flash_node"
_HOST_KEY = "ssh_host_ed25519_key"
_COLUMNS = ("NODE", "DEVICE", "STATE", "IMAGE", "WRITTEN", "SECONDS", "VERIFIED")
#: What check mode says of a card.
_WOULD = {"written": "would be written", "seeded": "would be seeded"}


class CardsError(BrambleError):
    """The cards cannot be prepared; the message says what was seen and what fixes it."""


class RackNode(NamedTuple):
    """A node of the rack, as the inventory says it."""

    card: CardNode
    #: How to come by its image, as the module os_image takes it.
    image: Mapping[str, Any]
    #: The names that ssh knows it by.
    known_as: Sequence[str]

    def values(self) -> dict[str, Any]:
        """Return all of it as data."""
        card = dataclasses.asdict(self.card)
        return {
            **{key: list(value) if isinstance(value, tuple) else value for key, value in card.items()},
            "image": dict(self.image),
            "known_as": list(self.known_as),
        }


def _inputs(hostvars: Mapping[str, Any], name: str) -> dict[str, Any]:
    if INPUTS not in hostvars[name]:
        raise CardsError(
            f"{name} has no inputs of the role flash; expected that they were read: include the role "
            "bramble.pi.flash with tasks_from: values before this"
        )
    inputs: dict[str, Any] = plain(hostvars[name][INPUTS])
    return inputs


def input_problems(*, hostvars: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Name the inputs of other types than expected, without which nothing else can be read."""
    return cards_node.together(
        {
            name: [
                *inputs.input_problems(_inputs(hostvars, name)),
            ]
            for name in names
        }
    )


def read_nodes(*, hostvars: Mapping[str, Any], names: Sequence[str]) -> dict[str, RackNode]:
    """Read the inputs of the role flash for these hosts."""
    nodes = {}
    for name in names:
        values = _inputs(hostvars, name)
        card = cards_node.card_node({**values, "image": values["image"]["src"]})
        nodes[name] = RackNode(card, values["image"], ssh.known_as(hostvars[name], name, card.hostname))
    return nodes


def images(nodes: Mapping[str, RackNode]) -> list[dict[str, Any]]:
    """Return how to come by each image that some node needs, each once."""
    found: list[dict[str, Any]] = []
    for node in nodes.values():
        if node.image not in found:
            found.append(dict(node.image))
    return found


def image_names(nodes: Mapping[str, RackNode]) -> list[str]:
    """Return for each of the images what it is shown as: where it comes from, without a login."""
    return [public_url(str(image["src"])) for image in images(nodes)]


def problems(nodes: Mapping[str, RackNode]) -> list[str]:
    """Name all that is wrong with the inputs."""
    return cards_node.problems([node.card for node in nodes.values()])


class Card(NamedTuple):
    """A card before it is written."""

    node: RackNode
    #: What the module os_image returned.
    image: Mapping[str, Any]
    #: The folder with the host key and the seed of its node.
    folder: Path

    @property
    def name(self) -> str:
        """The name of the node in the inventory."""
        return self.node.card.name

    @property
    def seed_path(self) -> str:
        """The file with its seed."""
        return str(self.folder / "seed.json")

    @property
    def host_key(self) -> HostKey:
        """The SSH host key of its node."""
        path = self.folder / _HOST_KEY
        public = path.with_suffix(".pub").read_text(encoding="utf-8")
        return HostKey(path.read_text(encoding="utf-8"), public)


def cards(*, nodes: Mapping[str, RackNode], fetched: Sequence[Mapping[str, Any]], folder: Path) -> list[Card]:
    """Join each node with its image; in check mode none may have been fetched.

    ``fetched`` are the results of a loop over :func:`images` with the module os_image.
    """
    found = []
    desired, results = images(nodes), plain(fetched)
    if len(desired) != len(results):
        raise CardsError(
            f"images has {len(results)} results; expected one for each of the {len(desired)} images of "
            "flash_nodes, in their order: loop over these with the module os_image"
        )
    for name, node in nodes.items():
        image = results[desired.index(dict(node.image))]["image"]
        if image["path"]:
            found.append(Card(node, image, folder / name))
    return found


def make_host_key(card: Card) -> bool:
    """Make the SSH host key of a node, unless there is one."""
    _make_folder(card.folder)
    path = card.folder / _HOST_KEY
    if path.exists() and path.with_suffix(".pub").exists():
        return False
    # A run that was killed may have left the half of one, which nobody knows yet.
    path.unlink(missing_ok=True)
    comment = f"root@{card.name}"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CardsError("there is no command ssh-keygen; install the package openssh-client") from error
    if done.returncode != 0:
        raise CardsError(f"ssh-keygen ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return True


def _make_folder(folder: Path) -> None:
    """Have a folder that nobody else may look into, nor into those that are made for it."""
    for path in reversed([folder, *folder.parents]):
        if not path.exists():
            path.mkdir(mode=0o700)
    folder.chmod(0o700)


def seed_problems(made: Sequence[Card]) -> list[str]:
    """Name what keeps seeds from going with their images."""
    return [
        problem
        for card in made
        for problem in cards_seed.problems(
            node=card.node.card, init_format=card.image["init_format"], host_key=card.host_key
        )
    ]


def seed(card: Card) -> dict[str, Any]:
    """Build the seed document of a card."""
    return cards_seed.seed(node=card.node.card, init_format=card.image["init_format"], host_key=card.host_key)


def write_seed(card: Card) -> bool:
    """Write the seed document of a card, which holds secrets, if it is another one."""
    text = json.dumps(seed(card))
    same = read_text(card.seed_path) == text
    if not same:
        write_text(card.seed_path, text, mode=0o600)
    os.chmod(card.seed_path, 0o600)
    return not same


def batches(made: Sequence[Card]) -> list[dict[str, Any]]:
    """Group the cards that have a reader each by their image: they are written in one go."""
    groups: dict[str, list[dict[str, str]]] = {}
    for card in made:
        if card.node.card.device:
            groups.setdefault(card.image["path"], []).append(
                {"node": card.name, "device": card.node.card.device, "seed": card.seed_path}
            )
    return [{"image": image, "cards": group} for image, group in groups.items()]


def one_reader(made: Sequence[Card]) -> list[dict[str, Any]]:
    """List the cards that share one reader."""
    return [
        {
            "node": card.name,
            "image": card.image["path"],
            "size": card.image["size"],
            "seed": card.seed_path,
        }
        for card in made
        if not card.node.card.device
    ]


def known_hosts(made: Sequence[Card]) -> list[dict[str, Any]]:
    """List what ssh is to know of the nodes."""
    return [
        {"name": card.name, "known_as": list(card.node.known_as), "keys": [card.host_key.public.strip()]}
        for card in made
    ]


# What became of them


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


def failures(*, rows: Sequence[Mapping[str, Any]], nodes: Sequence[str]) -> str:
    """Say which cards failed, and why; empty if none did."""
    return "\n".join(_failures(rows, nodes))


def _failures(rows: Sequence[Mapping[str, Any]], nodes: Sequence[str]) -> Iterator[str]:
    failed = [row for row in rows if row["state"] == "failed"]
    if failed:
        yield f"{len(failed)} of {len(nodes)} cards are not ready; the others are."
    for row in failed:
        yield f"- {row['node']} ({row['device']}): {row['error']}"
