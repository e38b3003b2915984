# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A page read strictly: what a browser would forgive is an error here."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_VOID = frozenset(["meta", "br", "hr", "img", "input", "link", "wbr"])
#: Elements that run or load something.
_ACTIVE = frozenset(
    ["script", "link", "img", "iframe", "object", "embed", "base", "form", "video", "audio", "use"]
)
_LOADING = frozenset(["src", "srcset", "xlink:href", "background", "poster", "action", "formaction", "data"])


class Page(HTMLParser):
    """A page whose elements are all closed, whose ids are its own and whose links lead into itself."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.styles: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        assert text.startswith("<!DOCTYPE html>"), text[:100]
        self.feed(text)
        self.close()
        assert self._open == [], f"not closed: {self._open}"
        assert len(self.ids) == len(set(self.ids)), "an id is a duplicate"
        for link in self.links:
            assert link.startswith("#"), f"leads out of the page: {link}"
            assert link[1:] in self.ids, f"leads nowhere: {link}"
        for style in self.styles:
            assert not re.search(r"@import|url\(|expression\(|image-set", style), "a style loads something"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that opens, and refuse what runs or loads."""
        assert tag not in _ACTIVE, f"<{tag}> in the page"
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{name} runs something"
            assert name not in _LOADING, f"{name} loads something"
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")
            if name == "style":
                self.styles.append(value or "")
            if name in ("aria-labelledby",):
                assert value, f"{name} is empty"
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that closes itself, as those of SVG do."""
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Refuse an end that does not belong to the element that is open."""
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1] == tag, f"</{tag}> where {self._open} are open"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        if self._open and self._open[-1] == "style":
            self.styles.append(data)
        else:
            self.words += data.split()

    @property
    def text(self) -> str:
        """Return all that is to be read, with single blanks."""
        return " ".join(self.words)
