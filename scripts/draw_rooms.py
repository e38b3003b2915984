# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw docs/architecture.svg: the rooms of plugins/ on their floors, and what each imports.

usage: scripts/draw_rooms.py     writes the drawing; a test fails while it is not that of the code
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = ROOT / "plugins"
DRAWING = ROOT / "docs" / "architecture.svg"
PACKAGE = "ansible_collections.bramble.pi.plugins."

#: From the ground up, each room with what it is about: it imports from the floors below it only.
FLOORS: list[dict[str, str]] = [
    {"module_utils/_common": "errors, changes, commands, files, downloads, apt"},
    {
        "module_utils/_containers": "containerd, Docker",
        "module_utils/_kubernetes": "versions, kubectl",
        "module_utils/_network": "addresses, Wi-Fi, NAT",
        "module_utils/_nfs": "what is served to whom",
        "module_utils/_os_image": "formats, cache",
        "module_utils/_rack": "DHCP, DNS, scan",
        "module_utils/_ssh": "keys, known hosts",
        "module_utils/_virtual_rack": "for our tests only",
    },
    {
        "module_utils/_boot": "boot partition, cmdline.txt, config.txt",
        "module_utils/_add_ons": "order, records, why pods do not start",
        "module_utils/_image_mirror": "registries, what is used least",
        "module_utils/_kubeadm": "configuration, state, diagnosis",
    },
    {"module_utils/_backup": "snapshots, proofs, restores"},
    {
        "module_utils/_node": "facts, settings, health, findings",
        "module_utils/_sd_card": "block devices, plan, writer",
    },
    {
        "module_utils/_monitoring": "metrics, alerts, Prometheus",
        "module_utils/_netboot": "trees that nodes boot from",
        "module_utils/_upgrade": "plan, APIs that go, offers",
    },
    # From here on it runs on the controller only.
    {
        "plugin_utils/_common": "how filters end on an error",
        "plugin_utils/_inventory": "hosts, addresses, leases, ssh",
    },
    {
        "plugin_utils/_add_ons": "presets, entries, objects",
        "plugin_utils/_kubernetes": "manifests, ConfigMaps",
        "plugin_utils/_remote_access": "who comes in from outside",
        "plugin_utils/_report": "the rack on one page",
        "plugin_utils/_upgrade": "what would stop one",
        "plugin_utils/_verify": "what kubectl says",
    },
    {"plugin_utils/_cards": "what a card says to its node"},
    {"plugin_utils/_preflight": "every mistake of an inventory"},
    {"plugin_utils/_start": "questions, and the first inventory"},
    {"modules": "on nodes", "action": "on the controller", "filter": "for roles"},
]
#: What stands in the margin beside the first floor that it is true of.
NOTES = {0: "module_utils", 6: "plugin_utils", 11: "what roles call"}

WIDTH, MARGIN, GAP, HEIGHT, BOX = 1200, 140, 10, 92, 62
STYLE = """
    .box { fill: #fff; stroke: #57606a; }
    .floor { fill: #eaeef2; stroke: none; }
    text { font: 13px sans-serif; fill: #24292f; text-anchor: middle; }
    .name { font-weight: bold; }
    .small { font-size: 11px; fill: #57606a; }
    .note { font-size: 12px; fill: #57606a; text-anchor: start; }
    @media (prefers-color-scheme: dark) {
      .box { fill: #161b22; stroke: #8b949e; }
      .floor { fill: #21262d; }
      text { fill: #e6edf3; }
      .small, .note { fill: #9da7b1; }
    }"""


class Import(NamedTuple):
    """An import of something of the collection."""

    line: int
    module: str
    name: str
    alias: str | None

    @property
    def room(self) -> str:
        """The room that it is from."""
        return room_of(self.module.split("."))


def room_of(parts: tuple[str, ...] | list[str]) -> str:
    """Return the room of a path below plugins, or of a module's name without the package."""
    return "/".join(parts[:2]) if parts[0].endswith("_utils") else parts[0]


def source_files() -> list[Path]:
    """Return all files of plugins with code."""
    return sorted(
        path
        for path in PLUGINS.rglob("*.py")
        if path.name != "__init__.py" and path.parent.name != "doc_fragments"
    )


def imports(path: Path) -> Iterator[Import]:
    """Read what a file imports of the collection."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            for name in node.names:
                module = (node.module or "").removeprefix(PACKAGE)
                yield Import(node.lineno, module, name.name, name.asname)


def arrows() -> dict[str, list[str]]:
    """Return for each room the rooms that it imports from."""
    found: dict[str, set[str]] = {room: set() for floor in FLOORS for room in floor}
    for path in source_files():
        room = room_of(path.relative_to(PLUGINS).parts)
        found[room] |= {each.room for each in imports(path)} - {room}
    return {room: sorted(rooms) for room, rooms in found.items()}


def _box(kind: str, left: float, top: float, width: float, height: float) -> str:
    place = f'x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'  <rect class="{kind}" {place} rx="6"/>'


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'  <text class="{kind}" x="{x:.0f}" y="{y:.0f}">{escape(text)}</text>'


def drawing() -> str:
    """Return the drawing of the code as it is."""
    uses = arrows()
    height = len(FLOORS) * HEIGHT + GAP
    title = "The rooms of plugins, on floors: imports only run downwards"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" role="img" aria-label="{title}">',
        f"  <title>{title}</title>",
        f"  <style>{STYLE}\n  </style>",
    ]
    for number, floor in enumerate(FLOORS):
        top = height - (number + 1) * HEIGHT
        parts.append(_box("floor", GAP, top, WIDTH - 2 * GAP, HEIGHT - GAP))
        if number in NOTES:
            parts.append(_text("note", 2 * GAP, top + 46, NOTES[number]))
        width = (WIDTH - MARGIN - 2 * GAP) / len(floor) - GAP
        for place, (room, about) in enumerate(floor.items()):
            left = MARGIN + place * (width + GAP)
            parts.append(_box("box", left, top + GAP, width, BOX))
            below = [name.rpartition("/")[2] for name in uses[room] if not name.endswith("/_common")]
            # What acts for roles imports from everywhere.
            line = "uses " + ", ".join(below) if below and len(below) < 7 else ""
            texts = [("name", room.rpartition("/")[2], 20), ("small", about, 38), ("small", line, 54)]
            parts += [
                _text(kind, left + width / 2, top + GAP + down, text) for kind, text, down in texts if text
            ]
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    DRAWING.write_text(drawing(), encoding="utf-8")
