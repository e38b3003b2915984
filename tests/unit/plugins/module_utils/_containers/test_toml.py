# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TOML is read as the standard library reads it, and edits change what they name and nothing else."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
import tomllib
from ansible_collections.bramble.pi.plugins.module_utils._containers.toml import TomlError, parse, set_value
from hypothesis import given, settings
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures" / "containerd"
SAMPLES = sorted(FIXTURES.glob("*.toml"))


def spell_out(data: Any, prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    if isinstance(data, list) and data and isinstance(data[0], dict):
        data = {str(number): table for number, table in enumerate(data)}
    if not isinstance(data, dict):
        return {prefix: data}
    for key, value in data.items():
        found.update(spell_out(value, (*prefix, key)))
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_reads_what_containerd_writes(sample: Path) -> None:
    text = sample.read_text()
    assert parse(text=text).values() == spell_out(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing but a comment",
        'a = "x" # comment\r\n[t]\r\nb = 1\r\n',
        "a = [\n  1, # one\n  2,\n]\nb = []",
        "a = [['x'], [\"y\", 'z',],]",
        'a."b.c".d = true\n[ "x" . y . \'z.z\' ]\nk=-1_000',
        "a = { b = { c = 'd' }, e.f = [1.5, 2] }",
        "a = \"\"\"\none \\\n   two\"\"\"\nb = '''\n[not a table]\n'''\nc = 3",
        'a = """"quoted""""',
        r'a = "tab\t quote\" \\ \u00e9 \U0001F600"',
        "a = 0xff\nb = 0o17\nc = 0b1\nd = 1e3\ne = +1.5\nf = inf",
        "a = '#no comment'\nb = \"[x]\"",
    ],
)
def test_reads_like_the_standard_library(text: str) -> None:
    assert parse(text=text).values() == spell_out(tomllib.loads(text))


def test_dates_are_kept_as_text() -> None:
    assert parse(text="a = 2026-10-01 12:00:00Z").values() == {("a",): "2026-10-01 12:00:00Z"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\nb = 'x", "line 2, column 5: a string without end"),
        ("a = [1, 2", "line 1, column 10: expected ]"),
        ("a = 1 b = 2", "line 1, column 6: expected the end of the line"),
        ("[a\nb = 1", "line 1, column 3: expected ]"),
        ("a = True", "line 1, column 5: True is not a value"),
        ("a =", "line 1, column 4: expected a value"),
        ("= 1", "line 1, column 1: expected a key"),
        ('a = "\\q"', "line 1, column 5: a string with an unknown escape"),
        ("a = {b = 1, b.c = 2}", "line 1, column 19: b is set twice"),
    ],
)
def test_says_where_text_is_no_toml(text: str, message: str) -> None:
    with pytest.raises(TomlError) as caught:
        parse(text=text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("before", "path", "value", "after"),
    [
        pytest.param("", "version", 2, "version = 2\n", id="empty-top"),
        pytest.param("", "a.b.c", True, "[a.b]\n  c = true\n", id="empty-table"),
        pytest.param("a = 1 # why\n", "a", 2, "a = 2 # why\n", id="in-place"),
        pytest.param("a =   1", "a", 1, "a =   1", id="kept"),
        pytest.param("# top\n[t]\na = 1\n", "v", 2, "v = 2\n# top\n[t]\na = 1\n", id="top-before-tables"),
        pytest.param("  [t]\n    a = 1\n", "t.b", "x", '  [t]\n    b = "x"\n    a = 1\n', id="table-there"),
        pytest.param("[t.u]\na = 1", "t.b", 1, "[t.u]\na = 1\n\n[t]\n  b = 1\n", id="only-a-table-below"),
        pytest.param("t.a = 1\n[u]\n", "t.b", 2, "t.a = 1\nt.b = 2\n[u]\n", id="dotted-table"),
        pytest.param("[x]\nt.a = 1\n", "x.t.b", 2, "[x]\nt.a = 1\nt.b = 2\n", id="dotted-table-in-table"),
        pytest.param("t = { a = 1 } # c\n", "t.b", True, "t = { a = 1, b = true } # c\n", id="inline"),
        pytest.param("t = {}", "t.u.b", True, "t = { u = { b = true } }", id="inline-deep"),
        pytest.param("a = [\n  1, # one\n  2,\n]\nb = 1", "a", [], "a = []\nb = 1", id="array-over-lines"),
        pytest.param("[[t]]\na = 1\n[[t]]\n", "u.b", 1, "[[t]]\na = 1\n[[t]]\n\n[u]\n  b = 1\n", id="array"),
    ],
)
def test_sets_one_value(before: str, path: str, value: Any, after: str) -> None:
    assert set_value(text=before, path=tuple(path.split(".")), value=value) == after


def test_quotes_keys_with_dots() -> None:
    text = set_value(text="", path=("plugins", "io.containerd.grpc.v1.cri", "cni", "bin_dir"), value="/opt")
    assert text == '[plugins."io.containerd.grpc.v1.cri".cni]\n  bin_dir = "/opt"\n'


def test_refuses_to_turn_a_value_into_a_table() -> None:
    with pytest.raises(TomlError, match=r"a\.b is 1, and a table is expected there to set a\.b\.c"):
        set_value(text="[a]\nb = 1", path=("a", "b", "c"), value=2)


keys = st.text(string.ascii_letters + string.digits + '_-. "\\é', min_size=1, max_size=6)
characters = st.characters(codec="utf-8", exclude_characters="\x7f")
values = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.text(characters),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.lists(st.tuples(st.lists(keys, min_size=1, max_size=3).map(tuple), values), max_size=5))
@settings(max_examples=settings().max_examples * 3 // 2)
def test_edits_say_what_was_asked_and_leave_the_rest(
    edits: list[tuple[tuple[str, ...], Any]],
) -> None:
    text = "# head\n"
    expected: dict[tuple[str, ...], Any] = {}
    for path, value in edits:
        if any(path != other and path[: len(other)] == other[: len(path)] for other in expected):
            continue  # a value and a table of one name
        text = set_value(text=text, path=path, value=value)
        expected[path] = value
        assert spell_out(tomllib.loads(text)) == expected
        assert parse(text=text).values() == expected
        assert set_value(text=text, path=path, value=value) == text
    assert "# head\n" in text


@given(st.sampled_from(SAMPLES), st.data())
@settings(max_examples=settings().max_examples * 3 // 5)
def test_edits_of_real_configurations_change_one_value(sample: Path, data: st.DataObject) -> None:
    text = sample.read_text()
    before = spell_out(tomllib.loads(text))
    path = data.draw(st.sampled_from([*sorted(before), ("plugins", "new.one", "a", "b")]))
    changed = set_value(text=text, path=path, value="desired")
    assert spell_out(tomllib.loads(changed)) == {**before, path: "desired"}
