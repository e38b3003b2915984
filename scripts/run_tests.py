# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run parts of the tests, show their output as it comes, and close with one summary.

usage: run_tests.py PART...      PART: lint, unit, sanity, cards, boot, boot-all, molecule, e2e

A part that this machine cannot run is named with the reason. With CI=true that is a failure,
so that a green run never means "not run".
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV_BIN = ROOT / ".venv" / "bin"
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{VENV_BIN}{os.pathsep}{os.environ['PATH']}",
    # Ansible refuses to start without a UTF-8 locale.
    "LC_ALL": "C.UTF-8",
    "ANSIBLE_FORCE_COLOR": "0",
    "NO_COLOR": "1",
}


@dataclass
class Outcome:
    """What came of one part: counts, the names of what failed, why it was not run."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0
    not_run: str = ""
    seconds: float = 0.0

    def check(self, name: str, command: list[str], cwd: Path = ROOT) -> bool:
        """Run one command as one test; its exit code decides."""
        print(f"\n--- {name}: {' '.join(command)}", flush=True)
        began = time.monotonic()
        ok = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, check=False).returncode == 0
        print(f"--- {name}: {'ok' if ok else 'FAILED'} after {time.monotonic() - began:.0f} s", flush=True)
        if ok:
            self.passed += 1
        else:
            self.failed.append(name)
        return ok

    def pytest(self, *arguments: str) -> None:
        """Run pytest and take its counts over."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            command = ["pytest", f"--junitxml={report}", *arguments]
            print(f"\n--- {' '.join(command)}", flush=True)
            code = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=False).returncode
            # S314 warns of hostile XML; this report is pytest's own.
            cases = list(ET.parse(report).iter("testcase")) if report.exists() else []  # noqa: S314
        for case in cases:
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed.append(f"{case.get('classname')}::{case.get('name')}")
            elif case.find("skipped") is not None:
                self.skipped += 1
            else:
                self.passed += 1
        if code != 0 and not self.failed:
            self.failed.append(
                f"pytest ended with code {code} ({'no test ran' if not cases else 'see above'})"
            )


def tracked_files(*patterns: str) -> list[str]:
    """List the files of the checkout that match, new ones that are not ignored included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listing.splitlines() if (ROOT / name).exists()]


def copy_collection(into: Path) -> Path:
    """Copy the checkout to ``into``/ansible_collections/bramble/pi, where ansible-test wants a collection."""
    target = into / "ansible_collections" / "bramble" / "pi"
    for name in tracked_files():
        source = ROOT / name
        if name.startswith((".collections/", ".ci/")):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target / name, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet", str(target)], check=True)
    return target


def provide_pip_for_ansible_test() -> None:
    """Let ansible-test take pip from Python itself, where its own download cannot be reached.

    It looks for its bootstrap script, named after the pip version that it wants, in its cache.
    """
    code = (
        "import pathlib, ansible_test._internal.python_requirements as r;"
        "print(pathlib.Path(r.__file__).read_text())"
    )
    source = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT
    ).stdout
    cache = Path.home() / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in set(re.findall(r"pip=['\"]([0-9.]+)['\"]", source)):
        script = cache / f"get_pip_{version.replace('.', '_')}.py"
        if not script.exists():
            script.write_text("import ensurepip; ensurepip.bootstrap()\n")


def lint(outcome: Outcome) -> None:
    """Run the linters; each is one test."""
    scripts = [name for name in tracked_files("*.sh", ".ci/run", "roles/*/files/*") if is_shell_script(name)]
    outcome.check("yamllint", ["yamllint", "--strict", "."])
    outcome.check("ruff check", ["ruff", "check", "."])
    outcome.check("ruff format", ["ruff", "format", "--check", "."])
    outcome.check("mypy plugins", ["mypy", "-p", "ansible_collections.bramble.pi.plugins"])
    outcome.check("mypy tests and scripts", ["mypy", "scripts", "tests"])
    outcome.check("shellcheck", ["shellcheck", *scripts])
    outcome.check("oxlint", ["oxlint", "--deny-warnings", "."])
    outcome.check("ansible-lint", ["ansible-lint", "--strict"])
    outcome.check("changelog", ["antsibull-changelog", "lint"])


def is_shell_script(name: str) -> bool:
    """Tell whether the file's first line names a shell."""
    with (ROOT / name).open("rb") as file:
        return re.match(rb"#!\S*(/|env )(ba|da)?sh\b", file.readline()) is not None


def unit(outcome: Outcome) -> None:
    """Run what needs no container: pure logic, modules on files and loop devices, the built collection."""
    # Without root some tests cannot run, which they say; the others do.
    outcome.check("tools for cards and network", ["scripts/setup.sh", "cards", "network"])
    outcome.pytest("tests/unit")


def sanity(outcome: Outcome) -> None:
    """Run ansible-test's sanity tests on a copy of the checkout, each of them one test; try other Pythons."""
    provide_pip_for_ansible_test()
    with tempfile.TemporaryDirectory() as folder:
        target = copy_collection(Path(folder))
        listing = ["ansible-test", "sanity", "--list-tests"]
        names = subprocess.run(
            listing, cwd=target, env=ENVIRONMENT, capture_output=True, text=True, check=True
        ).stdout.split()
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        command = ["ansible-test", "sanity", "--python", python]
        print(f"\n--- {' '.join(command)}", flush=True)
        failures = False
        with subprocess.Popen(
            command, cwd=target, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as run:
            for line in run.stdout or ():
                # The installation of its own tools fills pages; what it tests and finds does not.
                if not re.match(
                    r"(Collecting|Downloading|Installing collected|Looking in|Processing| )", line
                ):
                    print(line, end="", flush=True)
                # After the line that counts the failures, each failed test stands on a line of its own,
                # some with the version of Python.
                if failures and line.split(maxsplit=1)[:1] in [[name] for name in names]:
                    outcome.failed.append(line.strip())
                failures = failures or line.startswith("FATAL: ")
        if run.returncode != 0 and not outcome.failed:
            outcome.failed.append("ansible-test sanity (see above)")
    outcome.passed += len(names) - len(outcome.failed)
    # The oldest that a node may have, and a newer one than this machine's, for the newest ansible-core.
    if outcome.check("tools for other Pythons", ["scripts/setup.sh", "pythons"]):
        outcome.pytest("tests/pythons")


def cards(outcome: Outcome) -> None:
    """Flash loop devices by the playbook, and break what can break."""
    outcome.pytest("tests/cards")


def boot(outcome: Outcome) -> None:
    """Boot an arm64 system in QEMU, from a card that was flashed and from the network."""
    outcome.pytest("tests/boot", "-x", "-s", "-m", "not long")


def boot_all(outcome: Outcome) -> None:
    """Do so on an emulated Raspberry Pi as well, and cut the power at more moments."""
    outcome.pytest("tests/boot", "-x", "-s")


def molecule(outcome: Outcome) -> None:
    """Run every scenario; each is one test."""
    for scenario in sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")):
        outcome.check(scenario, ["molecule", "test", "--scenario-name", scenario])


def e2e(outcome: Outcome) -> None:
    """Run the demonstration and what can go wrong with a real cluster."""
    outcome.pytest("tests/e2e", "-x", "-s")


PARTS: dict[str, Callable[[Outcome], None]] = {
    "lint": lint,
    "unit": unit,
    "sanity": sanity,
    "cards": cards,
    "boot": boot,
    "boot-all": boot_all,
    "molecule": molecule,
    "e2e": e2e,
}
#: What tells whether a part can be run here, and the groups of packages that it needs.
NEEDS: dict[str, tuple[list[str], list[str]]] = {
    "cards": (["scripts/cards-possible.sh"], ["cards"]),
    "boot": (["scripts/cards-possible.sh", "boot"], ["cards", "boot", "rack"]),
    "boot-all": (["scripts/cards-possible.sh", "boot"], ["cards", "boot", "rack"]),
    "molecule": (["scripts/rack-possible.sh"], ["rack"]),
    "e2e": (["scripts/rack-possible.sh"], ["rack", "browser"]),
}


def run_part(name: str) -> Outcome:
    """Run one part, or find out why it cannot be run."""
    outcome = Outcome()
    began = time.monotonic()
    print(f"\n=== {name}", flush=True)
    if name in NEEDS:
        question, groups = NEEDS[name]
        possible = subprocess.run(question, cwd=ROOT, capture_output=True, text=True, check=False)
        if possible.returncode != 0:
            outcome.not_run = possible.stdout.strip() or possible.stderr.strip()
            if os.environ.get("CI") == "true":
                outcome.failed.append(f"{name} was not run, which CI=true does not allow")
            return outcome
        if not outcome.check(f"tools for {' and '.join(groups)}", ["scripts/setup.sh", *groups]):
            return outcome
    PARTS[name](outcome)
    outcome.seconds = time.monotonic() - began
    return outcome


def main(names: list[str]) -> int:
    """Run the parts named, print the summary, return the exit code."""
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        print(f"unknown part: {' '.join(unknown)}; the parts are: {' '.join(PARTS)}", file=sys.stderr)
        return 2
    outcomes = {name: run_part(name) for name in names}
    print("\n=== Summary\n")
    print(f"{'part':<10}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for name, outcome in outcomes.items():
        counts = f"{outcome.passed:>8}{len(outcome.failed):>8}{outcome.skipped:>9}{outcome.seconds:>9.0f}"
        print(f"{name:<10}{counts}" + (f"  not run: {outcome.not_run}" if outcome.not_run else ""))
    for name, outcome in outcomes.items():
        for failure in outcome.failed:
            print(f"FAILED {name}: {failure}")
    passed = sum(outcome.passed for outcome in outcomes.values())
    failed = sum(len(outcome.failed) for outcome in outcomes.values())
    skipped = sum(outcome.skipped for outcome in outcomes.values())
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
