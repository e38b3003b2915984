# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The script is run for real, below a folder of its own."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._network import trial_script


class Trial:
    """A change of one file, one that is new, and one that goes away."""

    def __init__(self, root: Path, *, timeout: int) -> None:
        self.root = root
        self.trial = root / "trial"
        self.log = root / "log"
        self.files = [root / "etc/interfaces", root / "etc/new.d/new", root / "etc/gone"]
        for side, texts in (("old", ["old", None, "gone"]), ("new", ["new", "new", None])):
            for file, text in zip(self.files, texts):
                copy = Path(f"{self.trial}/{side}{file}")
                copy.parent.mkdir(parents=True, exist_ok=True)
                if text is not None:
                    copy.write_text(text)
                    copy.chmod(0o600)
        (root / "etc").mkdir()
        self.files[0].write_text("old")
        self.files[2].write_text("gone")
        (self.trial / "files").write_text("".join(f"{file}\n" for file in self.files))
        (self.trial / "pending").write_text("{}")
        self.unit = root / "unit"
        self.unit.write_text("")
        text = trial_script.script(
            identifier="0123456789abcdef",
            timeout=timeout,
            session=0x7FFFFFFF,
            before=[f"echo before >>{self.log}"],
            after=[trial_script.command(["false"], ["sh", "-c", f"echo after >>{self.log}"])],
            restore_before=[f"echo restore before >>{self.log}"],
            restore_after=[f"echo restore after >>{self.log}"],
            regenerate=[f"echo regenerate >>{self.log}"],
        )
        for path, own in (
            (trial_script.DIRECTORY, self.trial),
            (trial_script.RECORD, root / "record"),
            (trial_script.BOOT_UNIT, self.unit),
            (trial_script.BOOT_LINK, root / "link"),
        ):
            text = text.replace(path, str(own))
        self.script = root / "switch"
        self.script.write_text(text)

    def start(self, verb: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sh", str(self.script), verb])

    def contents(self) -> list[str | None]:
        return [file.read_text() if file.exists() else None for file in self.files]

    def steps(self) -> list[str]:
        return self.log.read_text().splitlines()

    def record(self) -> list[str]:
        return (self.root / "record").read_text().splitlines()

    def wait_until_applied(self) -> None:
        deadline = time.monotonic() + 20
        while not (self.trial / "applied").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


OLD = ["old", None, "gone"]
NEW = ["new", "new", None]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path, timeout=60)


def test_nobody_confirms(tmp_path: Path) -> None:
    trial = Trial(tmp_path, timeout=1)
    assert trial.start("try").wait(20) == 0
    assert trial.contents() == OLD
    assert trial.steps() == ["before", "after", "restore before", "restore after"]
    assert trial.record() == ["0123456789abcdef", "it was not confirmed within 1 s"]
    assert not trial.trial.exists()
    assert not trial.unit.exists()


def test_confirmed(trial: Trial) -> None:
    process = trial.start("try")
    trial.wait_until_applied()
    assert trial.contents() == NEW
    (trial.trial / "pending").rename(trial.trial / "confirmed")
    assert process.wait(20) == 0
    assert trial.contents() == NEW
    assert trial.steps() == ["before", "after"]
    assert trial.files[1].stat().st_mode & 0o777 == 0o600


def test_rejected(trial: Trial) -> None:
    process = trial.start("try")
    trial.wait_until_applied()
    (trial.trial / "pending").write_text("the gateway does not answer\n")
    (trial.trial / "pending").rename(trial.trial / "rejected")
    assert process.wait(20) == 0
    assert trial.contents() == OLD
    assert trial.record() == ["0123456789abcdef", "the gateway does not answer"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_switched_off_in_between(trial: Trial, when: str) -> None:
    if when == "after":
        process = trial.start("try")
        trial.wait_until_applied()
        process.kill()
        process.wait()
    assert trial.start("restore").wait(20) == 0
    assert trial.contents() == OLD
    assert trial.steps()[-1] == "regenerate"
    assert "started again before it was confirmed" in trial.record()[1]
    assert not trial.trial.exists()
    assert not trial.unit.exists()


def test_switched_off_just_after_it_was_confirmed(trial: Trial) -> None:
    process = trial.start("try")
    trial.wait_until_applied()
    process.kill()
    process.wait()
    (trial.trial / "pending").rename(trial.trial / "confirmed")
    assert trial.start("restore").wait(20) == 0
    assert trial.contents() == NEW
    assert not trial.unit.exists()


def test_script_is_sound(trial: Trial) -> None:
    subprocess.run(["sh", "-n", str(trial.script)], check=True)
