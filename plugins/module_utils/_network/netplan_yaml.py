# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of netplan, read and written with every scalar as the text that it is.

netplan reads a scalar by the type that it wants. To a loader of YAML 1.1 the password C(01234567) is a
number and the country C(NO) is false, and something else comes out of it when they are written again.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._network.settings import NetworkError

try:
    import yaml

    HAS_YAML = True
except ImportError:
    HAS_YAML = False

_TAG = "tag:yaml.org,2002:"


class Scalar(str):
    """A scalar's text, with what it takes to write it as it was: its tag and how it was quoted."""

    # Both are kept by copies, as attributes of an object are.
    def __new__(cls, text: str, tag: str = f"{_TAG}str", style: str | None = None) -> Scalar:
        """Keep them beside the text."""
        scalar = super().__new__(cls, text)
        scalar.tag = tag
        scalar.style = style
        return scalar

    tag: str
    style: str | None


def load(*, text: str, path: str) -> dict[str, Any]:
    """Read a file."""

    class Loader(yaml.SafeLoader):
        """Constructs no type but text."""

    def construct(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Scalar:
        return Scalar(node.value, node.tag, node.style)

    for kind in ("bool", "float", "int", "null", "str", "timestamp", "value"):
        Loader.add_constructor(_TAG + kind, construct)
    try:
        document = Loader(text).get_single_data()
    except yaml.YAMLError as error:
        raise NetworkError(f"{path} cannot be read: {error}; fix it on the node") from None
    # One with nothing but comments is empty.
    return mapping(document)


def mapping(value: object) -> dict[str, Any]:
    """Return a mapping; whatever else stands in its place, such as C(null), is none."""
    return value if isinstance(value, dict) else {}


def dump(document: dict[str, Any], *, sort_keys: bool) -> str:
    """Write a file."""

    class Dumper(yaml.SafeDumper):
        """Knows scalars as they were read."""

        def ignore_aliases(self, data: Any) -> bool:
            """Write out what an alias stood for."""
            return True

    def represent(dumper: yaml.SafeDumper, scalar: Scalar) -> yaml.ScalarNode:
        return yaml.ScalarNode(scalar.tag, str(scalar), style=scalar.style)

    Dumper.add_representer(Scalar, represent)
    text: str = yaml.dump(
        document,
        Dumper=Dumper,
        default_flow_style=False,
        sort_keys=sort_keys,
        allow_unicode=True,
        width=1 << 16,
    )
    return text
