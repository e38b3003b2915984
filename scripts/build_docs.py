# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the site in .cache/site: our Markdown files, and the reference of what the built collection has.

The documents stay as they are for GitHub. Sphinx reads Markdown by MyST, and what antsibull-docs writes.
No network is used. usage: python -m scripts.build_docs
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from scripts.test_runner.outcome import ROOT
from scripts.test_runner.parts import tracked_files

SITE = ROOT / ".cache" / "site"
BIN = Path(sys.executable).parent
#: What the pages show or link to beside each other.
FILES = (
    *("README.md", "CONTRIBUTING.md", "LICENSE"),
    *("docs/*.md", "docs/*.png", "docs/*.svg", "roles/*/README.md", "molecule/README.md"),
)
#: For those who change the collection.
CHANGING = ("CONTRIBUTING.md", "docs/architecture.md", "docs/development.md", "docs/coverage.md")


def pages(readme: str) -> list[str]:
    """Return the guides, in the order in which the README names them."""
    named = dict.fromkeys(re.findall(r"\]\((docs/[\w-]+\.md)", readme))
    return [name for name in named if name not in CHANGING]


def toctree(caption: str, names: Iterable[str]) -> str:
    """Return the part of the navigation under one caption."""
    entries = "\n".join(names)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n"


def home(readme: str, documents: Iterable[str]) -> str:
    """Return the first page: the README, and the navigation to all others."""
    about_roles = [name for name in documents if name.startswith("roles/") and "virtual_rack" not in name]
    rack = [name for name in documents if name.endswith(("molecule/README.md", "virtual_rack/README.md"))]
    return readme + "".join(
        [
            toctree("Guides", pages(readme)),
            toctree("Reference", ["Modules, roles and filters <reference/index>"]),
            toctree("Roles", about_roles),
            toctree("Changing it", [*CHANGING, *rack]),
        ]
    )


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> None:
    """Run a tool of this environment."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": path, **environment},
        check=True,
    )


def lay_out(source: Path) -> None:
    """Copy the documents, as they lie in the checkout."""
    names = tracked_files(*FILES)
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    (source / "README.md").rename(source / "index.md")
    (source / "index.md").write_text(home((ROOT / "README.md").read_text("utf-8"), names), encoding="utf-8")


def write_reference(source: Path) -> None:
    """Have antsibull-docs write the reference of the collection as it is installed."""
    reference = source / "reference"
    # It refuses a folder into which others may write.
    reference.mkdir(mode=0o755)
    with tempfile.TemporaryDirectory() as folder:
        run("ansible-galaxy", "collection", "build", "--output-path", folder)
        (archive,) = Path(folder).glob("*.tar.gz")
        # Not in the checkout, where the collection is there already.
        empty = Path(folder)
        run("ansible-galaxy", "collection", "install", "--offline", archive, "-p", folder, cwd=empty)
        run(
            *("antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error"),
            *("--dest-dir", reference, "bramble.pi"),
            cwd=empty,
            ANSIBLE_COLLECTIONS_PATH=folder,
        )
    for page in reference.glob("*.rst"):
        # The theme has a table of contents beside each page, and takes a second one for a mistake.
        text = re.sub(r"^\.\. contents::\n(   .*\n)+", "", page.read_text("utf-8"), flags=re.MULTILINE)
        page.write_text(text, encoding="utf-8")


def main() -> None:
    """Build the site; what Sphinx warns of fails."""
    shutil.rmtree(SITE, ignore_errors=True)
    source = SITE / "source"
    source.mkdir(parents=True)
    lay_out(source)
    write_reference(source)
    run("sphinx-build", "-q", "-W", "--keep-going", "-c", ROOT / "scripts" / "site", source, SITE / "html")
    print(f"The site: file://{SITE}/html/index.html")


if __name__ == "__main__":
    main()
