# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each filter is documented in a file of its name, beside the files of code that have several of them."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]
FOLDER = ROOT / "plugins/filter"


def filters() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for path in sorted(FOLDER.glob("*.py")):
        module = importlib.import_module(f"ansible_collections.bramble.pi.plugins.filter.{path.stem}")
        for name, function in module.FilterModule().filters().items():
            assert name not in found, f"{name} is a duplicate"
            found[name] = function
    return found


def documentation(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))


FILTERS = filters()


def test_each_filter_has_documentation_and_each_documentation_a_filter() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yml")) == sorted(FILTERS)


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_documentation_is_that_of_the_filter(name: str) -> None:
    text = documentation(name)
    assert set(text) == {"DOCUMENTATION", "EXAMPLES", "RETURN"}
    about = text["DOCUMENTATION"]
    assert about["name"] == name
    assert f"bramble.pi.{name}" in text["EXAMPLES"]
    parameters = list(inspect.signature(FILTERS[name]).parameters.values())
    # The first one is what the filter is applied to, whatever it is called.
    documented = about["options"]
    assert next(iter(documented)) == "_input"
    assert set(documented) - {"_input"} == {parameter.name for parameter in parameters[1:]}
    for parameter in parameters[1:]:
        assert bool(documented[parameter.name].get("required")) == (
            parameter.default is inspect.Parameter.empty
        )


def test_each_filter_is_in_use() -> None:
    folders = [ROOT / name for name in ("roles", "playbooks", "inventories")]
    texts = [
        path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*") if path.is_file()
    ]
    used = set(re.findall(r"bramble\.pi\.(\w+)", "\n".join(texts)))
    assert sorted(set(FILTERS) - used) == []
