# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill a module at a moment that has a name, and not at one that the machine's speed chooses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

#: Runs a module, and kills it when Python is about to do what the moment says, or a while after that.
LAUNCHER = """
import os, re, runpy, signal, sys, time
events, pattern, left, seconds, group, module = sys.argv[1:]
events, pattern, left, seconds = events.split("|"), re.compile(pattern), int(left), float(seconds)
sys.argv = [module]
main = os.getpid()
began = False
def hook(event, arguments):
    global began, left
    if began:
        # What was to come is on its way now: the next command runs, the next file is open.
        began = False
        time.sleep(seconds)
        kill()
    # Of a command its words, not its environment.
    elif event in events and pattern.search(" ".join(map(str, arguments[:2]))):
        left -= 1
        if left == 0 and seconds < 0:
            kill()
        began = left == 0
def kill():
    os.killpg(main, signal.SIGKILL) if group == "group" else os.kill(main, signal.SIGKILL)
sys.addaudithook(hook)
runpy.run_path(module, run_name="__main__")
"""


class Moment(NamedTuple):
    """A moment in the run of a module."""

    name: str
    #: Python's audit events, by which it says what it is about to do, separated by bars.
    events: str
    #: What the first two arguments of the event look like.
    pattern: str
    #: Which of the events that look so.
    number: int = 1
    #: Whether what the event announces has begun by then.
    during: bool = False

    def command(self, module: Path, *, seconds: float = 0, group: bool = False) -> list[str]:
        """Return the command that runs a module and kills it then.

        ``seconds``: how long after what is announced has begun.
        ``group``: what the module started is killed as well; it needs a process group of its own for that.
        """
        wait = seconds if self.during else -1
        which = "group" if group else "process"
        words = [self.events, self.pattern, str(self.number), str(wait), which, str(module)]
        return [sys.executable, "-c", LAUNCHER, *words]


def moment_name(value: object) -> str | None:
    """Name the cases of a test by their moments."""
    return value.name if isinstance(value, Moment) else None
