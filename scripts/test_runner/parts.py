# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the tests: what each runs, what it needs, and the table of all jobs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scripts.test_runner.outcome import ENVIRONMENT, PROCESSES, ROOT, Case, Outcome, now
from scripts.test_runner.schedule import Job


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
    workflows = tracked_files(".github/workflows/*.yml")
    outcome.check(
        "workflows", ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows]
    )
    outcome.check("changelog", ["antsibull-changelog", "lint"])
    # The reference of modules, filters and roles: schema, markup, and names of what exists.
    references = ["--plugin-docs", "--skip-rstcheck", "--validate-collection-refs", "all"]
    outcome.check(
        "antsibull-docs",
        ["antsibull-docs", "lint-collection-docs", *references, "--disallow-unknown-collection-refs", "."],
    )


def is_shell_script(name: str) -> bool:
    """Tell whether the file's first line names a shell."""
    with (ROOT / name).open("rb") as file:
        return re.match(rb"#!\S*(/|env )(ba|da)?sh\b", file.readline()) is not None


def sanity(outcome: Outcome) -> None:
    """Run ansible-test's sanity tests on a copy of the checkout; each of them is one test."""
    provide_pip_for_ansible_test()
    with tempfile.TemporaryDirectory() as folder:
        target = copy_collection(Path(folder))
        listing = ["ansible-test", "sanity", "--list-tests"]
        names = subprocess.run(
            listing, cwd=target, env=ENVIRONMENT, capture_output=True, text=True, check=True
        ).stdout.split()
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        command = ["ansible-test", "sanity", "--python", python]
        outcome.say(f"\n--- {' '.join(command)}")
        failed: set[str] = set()
        began: dict[str, float] = {}
        with PROCESSES.start(
            command, cwd=target, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as run:
            failures = False
            for line in run.stdout or ():
                if running := re.match(r'Running sanity test "([^"]+)"', line):
                    began[running[1]] = time.monotonic()
                # The installation of its own tools fills pages; what it tests and finds does not.
                if not re.match(
                    r"(Collecting|Downloading|Installing collected|Looking in|Processing| )", line
                ):
                    outcome.say(line.rstrip("\n"))
                # After the line that counts the failures, each failed test stands on a line of its own,
                # some with the version of Python.
                if failures and line.split(maxsplit=1)[:1] in [[name] for name in names]:
                    failed.add(line.split(maxsplit=1)[0])
                failures = failures or line.startswith("FATAL: ")
            code, _cpu = outcome.wait(run)
    if code != 0 and not failed:
        outcome.errors.append("ansible-test sanity (see above)")
    # Each ends where the next one begins; the CPU of one is not known.
    ends = dict(zip(began, [*list(began.values())[1:], time.monotonic()]))
    for name in names:
        result = "failed" if name in failed else "passed"
        first = began.get(name, 0.0)
        outcome.cases.append(Case(name, result, first, ends.get(name, first) - first, 0.0, now()))


def pytest(
    *arguments: str, environment: dict[str, str] | None = None, may_be_empty: bool = False
) -> Callable[[Outcome], None]:
    """Return what runs pytest."""
    return lambda outcome: outcome.pytest(*arguments, environment=environment, may_be_empty=may_be_empty)


def long(folder: str, *options: str) -> Callable[[Outcome], None]:
    """Return what runs the tests of a folder that are too dear for every change."""
    # Where no test is marked so there is nothing to run.
    return pytest(
        folder, *options, "-m", "long", environment={"HYPOTHESIS_PROFILE": "long"}, may_be_empty=True
    )


def molecule(scenario: str) -> Callable[[Outcome], None]:
    """Return what runs one scenario as one test."""

    def run(outcome: Outcome) -> None:
        outcome.check(scenario, ["molecule", "test", "--scenario-name", scenario])

    return run


def scenarios() -> list[str]:
    """Return the names of the scenarios that may run beside others."""
    names = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
    return [name for name in names if name not in DEAR_SCENARIOS]


#: Those that are too dear for every change; node_network counts the packets that are lost while a network is
#: changed, and so wants quiet too.
DEAR_SCENARIOS = [
    "containerd",
    "image_cache",
    "image_mirror",
    "kube_packages",
    "monitoring",
    "node_network",
    "proxy",
    "rack_network",
    "ssh_access",
    "storage_server",
    "vip",
]

CHANGE, ALONE, ANY = ("-m", "not long and not alone"), ("-m", "not long and alone"), ("-m", "not long")
#: One failure hides no other; of a rack that is broken as a whole not every test has to wait.
BIG = ("-s", "--maxfail=5")
E2E = ("tests/e2e", *BIG)
RESET = ("tests/e2e/test_reset.py", *BIG)
NETBOOT = "tests/boot/test_netboot.py"
#: The cluster stays for the next piece.
KEEP = {"E2E_KEEP": "yes"}

#: In the order in which they would begin; see next_job() for what lets one wait. The pieces of e2e, one after
#: the other, take almost as long as all together; when what they measure wants quiet, QEMU is beside them.
JOBS = [
    Job("unit", pytest("tests/unit", *ALONE), piece="alone", beside=0),
    # What the linters see is told before a rack is built. Then the longest chain begins, e2e.
    Job("lint", lint, load=1.0),
    Job(
        "e2e",
        pytest(*E2E, *CHANGE, f"--deselect={RESET[0]}", environment=KEEP),
        piece="cluster",
        after="lint",
        load=0.8,
    ),
    Job(
        "e2e",
        pytest(*E2E, *ALONE, environment=KEEP),
        piece="alone",
        load=0.7,
        after="e2e/cluster",
        beside=1.0,
    ),
    Job("e2e", pytest(*RESET, *ANY), piece="reset", after="e2e/alone", load=0.8),
    Job("unit", pytest("tests/unit", "-n", "2", "--dist", "worksteal", *CHANGE), load=1.2),
    *(Job("molecule", molecule(name), piece=name, after="lint", load=0.6) for name in scenarios()),
    Job("boot", pytest(NETBOOT, *BIG, *ANY), piece="netboot", after="lint", load=1.0),
    Job("boot", pytest("tests/boot", f"--ignore={NETBOOT}", *BIG, *ANY), piece="cards", load=1.0),
    Job("cards", pytest("tests/cards", *ANY), load=0.8),
    Job("sanity", sanity, piece="ansible-test", load=1.0),
    # The oldest Python that a node may have, and one newer than this machine's for the newest ansible-core.
    Job("sanity", pytest("tests/pythons"), piece="pythons", load=1.0),
    # What is too dear for every change, one after the other.
    Job("unit-long", long("tests/unit")),
    Job("cards-long", long("tests/cards"), after="unit-long"),
    Job("boot-long", long("tests/boot", *BIG), after="cards-long"),
    *(Job("molecule-long", molecule(name), piece=name, after="boot-long") for name in DEAR_SCENARIOS),
    Job("e2e-long", long(*E2E), after="boot-long"),
]

#: What tells whether a part can be run here, and the groups of packages that it needs.
CARDS, BOOT, RACK = (
    ["scripts/cards-possible.sh"],
    ["scripts/cards-possible.sh", "boot"],
    ["scripts/rack-possible.sh"],
)
NEEDS: dict[str, tuple[list[str], list[str]]] = {
    # Without root some tests cannot run, which they say; the others do.
    "unit": ([], ["cards", "network"]),
    # The image of the controller is built.
    "unit-long": ([], ["cards", "network", "rack"]),
    "sanity": ([], ["pythons"]),
    "cards": (CARDS, ["cards"]),
    "boot": ([*CARDS, "boot"], ["cards", "boot", "rack"]),
    "molecule": (RACK, ["rack"]),
    "e2e": (RACK, ["rack", "browser"]),
}


def needs(part: str) -> tuple[list[str], list[str]]:
    """Return the command that tells whether a part can be run here, and its groups of packages."""
    return NEEDS.get(part) or NEEDS.get(part.removesuffix("-long"), ([], []))
