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
    """A change of one file, and one that is new."""

    def __init__(self, root: Path, *, timeout: int) -> None:
        self.root = root
        self.trial = root / "trial"
        self.log = root / "log"
        self.files = [root / "etc/interfaces", root / "etc/new.d/new"]
        for file in self.files:
            file.parent.mkdir(parents=True, exist_ok=True)
            copy = Path(trial_script.staged(str(file), "new"))
            copy.write_text("new")
            copy.chmod(0o600)
        self.files[0].write_text("old")
        self.old = Path(trial_script.staged(str(self.files[0]), "old"))
        self.old.write_text("old")
        self.trial.mkdir()
        (self.trial / "files").write_text(f"present {self.files[0]}\nabsent {self.files[1]}\n")
        (self.trial / "pending").write_text("{}")
        (self.trial / "applying").write_text("")
        record = trial_script.record(identifier="0123456789abcdef", reason="it was not confirmed")
        (self.trial / "record").write_text(record)
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
            (trial_script.CONFIRMED_RECORD, root / "confirmed-record"),
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


OLD = ["old", None]
NEW = ["new", "new"]


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
    assert not trial.old.exists()


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


def test_switched_off_just_after_it_was_confirmed(trial: Trial, tmp_path: Path) -> None:
    process = trial.start("try")
    trial.wait_until_applied()
    process.kill()
    process.wait()
    (trial.trial / "pending").rename(trial.trial / "confirmed")
    assert trial.start("restore").wait(20) == 0
    assert trial.contents() == NEW
    assert (tmp_path / "confirmed-record").read_text() == "{}"
    assert not trial.unit.exists()
    assert not trial.old.exists()


def test_cut_off_while_it_was_taken_back(trial: Trial) -> None:
    process = trial.start("try")
    trial.wait_until_applied()
    process.kill()
    process.wait()
    trial.old.replace(trial.files[0])
    assert trial.start("revert").wait(20) == 0
    assert trial.contents() == OLD
    assert trial.record()[1] == "the trial was interrupted"


def test_what_cannot_be_put_back_is_kept_for_the_next_boot(trial: Trial, tmp_path: Path) -> None:
    process = trial.start("try")
    trial.wait_until_applied()
    # No name can be changed in the folder, and nothing be written.
    busy = tmp_path / "etc/interfaces"
    busy.unlink()
    (busy / "folder/in-the-way").mkdir(parents=True)
    busy_name = busy / trial.old.name
    busy_name.mkdir()
    (busy_name / "full").write_text("")
    (trial.trial / "pending").rename(trial.trial / "rejected")
    assert process.wait(20) != 0
    assert trial.old.read_text() == "old"
    assert (trial.trial / "files").exists()
    assert not (tmp_path / "record").exists()
    subprocess.run(["rm", "-rf", str(busy)], check=True)
    assert trial.start("restore").wait(20) == 0
    assert trial.contents() == OLD
    assert not trial.trial.exists()


def test_script_is_sound(trial: Trial) -> None:
    subprocess.run(["sh", "-n", str(trial.script)], check=True)
