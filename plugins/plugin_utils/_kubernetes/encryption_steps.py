# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The next step of the role encryption, by what it has read on the control planes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import encryption


def step(results: Sequence[Mapping[str, Any]], *, encrypt: bool, rotate: bool) -> dict[str, Any]:
    """Return what the role does next; a problem is part of it, as what it stands beside is secret."""
    nothing = {
        "problem": "",
        "done": True,
        "host": "",
        "new_key": 0,
        "rewrite": False,
        "remember": None,
        "configurations": {},
        "message": "",
    }
    try:
        nodes = {result["item"]: _node(result) for result in results if result.get("present")}
        keys = encryption.rack_keys(nodes)
        failed = [f"{result['item']}: {result.get('msg', '')}" for result in results if _failed(result)]
        if failed:
            return {**nothing, "problem": "; ".join(failed)}
        found = encryption.next_step(nodes, encrypt=encrypt, rotate=rotate)
    except BrambleError as error:
        return {**nothing, "problem": str(error)}
    silent = [f"{result['item']}: {result.get('msg', '')}" for result in results if result.get("unreachable")]
    if silent and not found.done:
        problem = (
            f"{'; '.join(silent)}; expected all control planes, as each has to read what the others write:"
            " bring them up, or take them out of the group control_plane, and run this again"
        )
        return {**nothing, "problem": problem}
    host = next(iter(nodes), "")
    return {
        **nothing,
        "done": found.done,
        "host": host,
        "new_key": found.new_key,
        "rewrite": found.rewrite,
        "remember": found.remember,
        "configurations": {
            name: encryption.dumped(providers=providers, keys=keys)
            for name, providers in found.providers.items()
        },
        "message": "; ".join(_told(found, host=host)),
    }


def _node(result: Mapping[str, Any]) -> encryption.Node:
    text = result["configuration"]
    found = encryption.parse(text) if text else encryption.Node()
    return encryption.Node(found.providers, found.keys, current=bool(result["current"]))


def _failed(result: Mapping[str, Any]) -> bool:
    # The task fails for none, so that its loop goes on.
    return "present" not in result and not result.get("unreachable")


def _told(found: encryption.Step, *, host: str) -> Iterator[str]:
    if found.new_key:
        yield f"key {found.new_key} is made on {host}, which reads by it from then on"
    if found.rewrite:
        yield "all secrets are rewritten"
    for name, (first, *others) in found.providers.items():
        readable = f", and reads by {', '.join(others)} too" if others else " alone"
        yield f"{name} writes secrets by {first}{readable}"
