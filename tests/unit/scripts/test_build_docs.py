# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site has each document in its navigation, once."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.build_docs import FILES, ROOT, home
from scripts.test_runner.parts import tracked_files


def navigation(page: str) -> Iterator[str]:
    """Yield what the page's navigation leads to."""
    inside = False
    for line in page.splitlines():
        inside = line == "```{toctree}" or (inside and line != "```")
        if inside and line and not line.startswith(("`", ":")):
            yield line


def test_each_document_is_in_the_navigation_once() -> None:
    documents = [name for name in tracked_files(*FILES) if name.endswith(".md")]
    page = home((ROOT / "README.md").read_text(encoding="utf-8"), documents)
    reference = "Modules, roles and filters <reference/index>"
    assert sorted([*navigation(page), "README.md"]) == sorted([*documents, reference])


def test_guides_have_the_order_of_the_readme() -> None:
    page = home("[b](docs/b.md#x), [a](docs/a.md), [b](docs/b.md), [how](docs/development.md)", [])
    assert list(navigation(page))[:3] == [
        "docs/b.md",
        "docs/a.md",
        "Modules, roles and filters <reference/index>",
    ]
