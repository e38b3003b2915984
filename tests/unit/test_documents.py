# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents say can be done: links lead somewhere, and examples are of what there is."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.cli.playbook import PlaybookCLI
from ansible.parsing.dataloader import DataLoader
from ansible_collections.bramble.pi.plugins.module_utils._node.findings import KINDS
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
#: Inventories that stand for the reader's own.
OWN_INVENTORIES = ("my-rack", "INVENTORY")
#: Where commands are named beside the Markdown files: in comments and messages.
COMMANDS_IN = ("inventories", "playbooks", "plugins", "roles")
COMMAND = re.compile(
    r"ansible-playbook(?: -i (?:{{.*?}}|\S+))? (?:bramble\.pi\.\w+|[\w/]+\.yml)"
    r"(?: --?[\w-]+(?: [\w{][^\s\"'`;,]*)?)*"
)
#: What begins as a variable of a role does, and is a file, a registered result or a key of one.
OTHER_NAMES = {
    "add_ons_images",
    "backup_made",
    "control_plane_only",
    "control_plane_pod",
    "flash_node",
    "pod_network_images",
    "workers_joined",
    *KINDS,
}


def tracked(*patterns: str) -> list[Path]:
    """Return the files of the checkout, new ones included; of an installed collection there are none."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\0")
    return [ROOT / name for name in sorted(names) if name and (ROOT / name).is_file()]


DOCUMENTS = tracked("*.md")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tokens(path: Path) -> list[Token]:
    """Return a document's blocks and what is in them, one after the other."""
    blocks = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    return [token for block in blocks for token in (block, *(block.children or ()))]


@cache
def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them of their text."""
    slugs: list[str] = []
    found = set()
    blocks = tokens(path)
    for opening, inline in zip(blocks, blocks[1:]):
        if opening.type == "heading_open":
            text = "".join(
                token.content for token in inline.children or () if token.type in ("text", "code_inline")
            )
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            again = slugs.count(slug)
            slugs.append(slug)
            found.add(f"{slug}-{again}" if again else slug)
    return found


def targets(path: Path) -> Iterator[str]:
    """Yield what a document links to or shows."""
    for token in tokens(path):
        if token.type == "link_open":
            yield str(token.attrs["href"])
        elif token.type == "image":
            yield str(token.attrs["src"])
        elif token.type in ("html_block", "html_inline"):
            yield from re.findall(r'(?:href|src|srcset)="([^"]+)"', token.content)


def broken(path: Path, target: str) -> bool:
    """Tell whether a link leads nowhere; other sites are not asked."""
    if re.match(r"https?://", target):
        return False
    name, _hash, anchor = target.partition("#")
    file = (path.parent / name).resolve() if name else path
    return not file.exists() or (bool(anchor) and (file.suffix != ".md" or anchor not in anchors(file)))


def examples(path: Path) -> Iterator[tuple[str, str]]:
    """Yield a document's examples with their languages."""
    for token in tokens(path):
        if token.type == "fence":
            yield token.info, token.content
        elif token.type == "code_block":
            # In what is only indented the first line tells.
            is_yaml = re.match(r"(#.*\n)*(- )?[\w.]+:( [^/]|$)", token.content, re.MULTILINE)
            yield "yaml" if is_yaml else "", token.content


@cache
def inputs() -> set[str]:
    """Return the variables that roles and playbooks read."""
    names = set(
        re.findall(r"\b[a-z]+_\w+\b", "".join(path.read_text() for path in tracked("playbooks/*.yml")))
    )
    for path in tracked("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            names |= set(entry.get("options", {}))
    return names


@cache
def names() -> set[str]:
    """Return what there is under a name: variables, and the parts of the collection."""
    return inputs() | {path.stem for path in tracked("plugins", "roles", "playbooks", "tests")}


def begins_one(name: str) -> bool:
    return any(each.startswith(name) for each in inputs())


@cache
def tags() -> set[str]:
    """Return the tags of plays, roles and tasks."""
    found: set[str] = {"always"}

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            own = value.get("tags", [])
            found.update([own] if isinstance(own, str) else own)
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    for path in tracked("playbooks/*.yml", "roles/*/tasks/*.yml", "site.yml"):
        walk(yaml.safe_load(path.read_text()))
    return found


@cache
def parser() -> argparse.ArgumentParser:
    """Return what ansible-playbook itself reads its options with."""
    command = PlaybookCLI(["ansible-playbook"])
    command.init_parser()
    command.parser.exit_on_error = False
    return command.parser


def wrong_command(command: str) -> list[str]:
    """Say what an ansible-playbook command names that does not exist."""
    # An ellipsis stands for what the reader adds.
    words = [word for word in shlex.split(command, comments=True)[1:] if word not in ("...", "…")]
    try:
        options, unknown = parser().parse_known_args(words)
    except (argparse.ArgumentError, SystemExit) as error:
        return [f"{command}: {error}"]
    wrong = [*unknown]
    for playbook in options.args:
        name = f"playbooks/{playbook.removeprefix('bramble.pi.')}.yml"
        if not (ROOT / (name if playbook.startswith("bramble.pi.") else playbook)).is_file():
            wrong.append(playbook)
    for inventory in options.inventory or ():
        if inventory not in OWN_INVENTORIES and not (ROOT / inventory).exists():
            wrong.append(inventory)
    for given in options.extra_vars:
        for variable in re.findall(r"(?:^| )(\w+)=", given):
            if variable not in inputs():
                wrong.append(variable)
    for given in [*options.tags, *options.skip_tags]:
        wrong += [tag for tag in given.split(",") if tag not in tags()]
    return [f"{command}: {word}" for word in wrong]


def wrong_line(line: str) -> list[str]:
    """Say what a line of an example names that does not exist."""
    if line.startswith("ansible-playbook "):
        return wrong_command(line)
    wrong = []
    if found := re.match(r"(?:\w+=\S+ )*make ([a-z0-9 -]+)", line):
        wrong = [target for target in found[1].split() if not re.search(rf"\b{target}\b", MAKEFILE)]
    elif found := re.match(r"ansible-doc -t role bramble\.pi\.(\w+)", line):
        wrong = [found[1]] if not (ROOT / "roles" / found[1]).is_dir() else []
    elif found := re.match(r"molecule \w+ -s (\w+)", line):
        wrong = [found[1]] if not (ROOT / "molecule" / found[1]).is_dir() else []
    elif found := re.search(r"\bpytest .*?(tests/\S+)", line):
        wrong = [found[1]] if not (ROOT / found[1]).exists() else []
    return [f"{line}: {word}" for word in wrong]


MAKEFILE = (ROOT / "Makefile").read_text() if (ROOT / "Makefile").exists() else ""


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    assert [target for target in targets(path) if broken(path, target)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_examples_are_of_what_there_is(path: Path) -> None:
    wrong: list[str] = []
    for language, text in examples(path):
        if language == "yaml":
            DataLoader().load(text)
        else:
            lines = re.sub(r"\\\n *", "", text).splitlines()
            wrong += [word for line in lines for word in wrong_line(line)]
    for token in tokens(path):
        if token.type == "code_inline":
            wrong += wrong_line(token.content)
    assert wrong == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_variables_in_documents_are_read_by_a_role_or_a_playbook(path: Path) -> None:
    roles = [folder.name for folder in (ROOT / "roles").iterdir()]
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(rf"(?<![\w./-])(?:{'|'.join(roles)})_\w+", text)) - names() - OTHER_NAMES
    # One that ends with _ stands for several.
    assert [name for name in sorted(named) if not (name.endswith("_") and begins_one(name))] == []


def test_the_picture_of_the_demonstration_has_its_steps() -> None:
    picture = (ROOT / "docs" / "demo.svg").read_text(encoding="utf-8").replace("&#160;", " ")
    script = (ROOT / "scripts" / "demo.sh").read_text(encoding="utf-8").partition("down)")[0]
    steps = re.findall(r'step "(.*?)"', script)
    assert steps
    assert [step for step in steps if step not in picture] == [], "record it again: scripts/draw_demo.py"


@pytest.mark.parametrize("folder", COMMANDS_IN)
def test_commands_in_code_are_of_what_there_is(folder: str) -> None:
    wrong = []
    for path in tracked(folder):
        for command in COMMAND.findall(path.read_text(encoding="utf-8", errors="replace")):
            # What is put in when it is printed.
            shown = re.sub(r"{{.*?}}|{[^{}]+}", "INVENTORY", command)
            wrong += [f"{name_of(path)}: {word}" for word in wrong_command(shown)]
    assert wrong == []


@pytest.mark.parametrize(
    "line",
    [
        "ansible-playbook -i my-rack bramble.pi.sites",
        "ansible-playbook -i my-shelf bramble.pi.site",
        "ansible-playbook -i my-rack bramble.pi.site --tags os_perp",
        "ansible-playbook -i my-rack bramble.pi.site -e os_prep_swapp=off",
        "ansible-playbook -i my-rack bramble.pi.site --limits pi-2",
        "BRAMBLE_TEST_SEED=1 make units",
        "ansible-doc -t role bramble.pi.kube_package",
        "molecule test -s os_perp",
        "pytest -x tests/unit/test_documentation.py",
    ],
)
def test_what_there_is_not_is_found(line: str) -> None:
    assert wrong_line(line)


def test_what_there_is_is_not_found() -> None:
    assert not wrong_line(
        "ansible-playbook -i my-rack bramble.pi.site --tags os_prep -e os_prep_swap=off -K # all"
    )


@pytest.mark.parametrize("target", ["docs/access.md", "other.md", "#by-modl", "../README.md#by-task"])
def test_broken_links_are_found(target: str) -> None:
    assert broken(ROOT / "docs" / "netboot.md", target) == (target != "../README.md#by-task")
