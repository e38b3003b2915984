# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw docs/demo.svg out of what a run of `make demo` printed, without the lines of single tasks.

usage: script -q -c "make demo" demo.log && python -m scripts.draw_demo demo.log
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

DRAWING = Path(__file__).resolve().parents[1] / "docs" / "demo.svg"
COLUMNS = 92
#: What is drawn: the steps and their seconds, plays and their results, the table of nodes, what kubectl says.
SHOWN = re.compile(
    r"\[\d/\d\] |      \d+ s$|PLAY \[|pi-\d+ +: |The cluster is up|NAME +STATUS|pi-\d+ +Ready"
    r"|        \"(NODE|pi-\d) "
)
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def shown(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines that are drawn, an empty one before each step and each table."""
    yield "\x1b[1m$ make demo\x1b[0m"
    for line in lines:
        plain = STYLE.sub("", line)
        if not SHOWN.match(plain):
            continue
        if re.match(r"\[\d|The cluster|NAME", plain):
            yield ""
        # Ansible fills lines with asterisks, and closes the results with counts that are all zero here.
        yield re.sub(r" \*\*+|( |\x1b\[0m)*rescued=.*", "\x1b[0m", line)


def drawing(output: str) -> str:
    """Return the picture of a terminal, which brings its own background and asks nobody for fonts."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi("\n".join(shown(output.splitlines()))))
    svg = console.export_svg(title="make demo")
    return re.sub(r" *@font-face \{.*?\}\n", "", svg, flags=re.DOTALL).replace(
        "Fira Code, monospace", "monospace"
    )


if __name__ == "__main__":
    DRAWING.write_text(drawing(Path(sys.argv[1]).read_text("utf-8")), encoding="utf-8")
