# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of the node: one type for what runs them, and one form of the error when one fails."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

#: Runs a command, a list: exit code, output and error output, as AnsibleModule.run_command returns them.
Runner = Callable[[list[str]], "tuple[int, str, str]"]

#: Where programs for root are, which an ordinary user's PATH may lack.
SBIN = ("/usr/sbin", "/sbin")


class Commands(Protocol):
    """What runs the commands of a node: a module, or a program that runs without Ansible."""

    def run_command(self, args: list[str]) -> Any:
        """Run a command: exit code, output and error output."""

    def get_bin_path(self, arg: str) -> str | None:
        """Return where a program is, or None if it is not installed."""

    def warn(self, warning: str) -> None:
        """Tell of something that is doubtful."""


class CommandError(BrambleError):
    """A command that has to succeed did not."""


def output_of(
    run: Runner,
    command: Sequence[str],
    *,
    accepted: Collection[int] = (0,),
    remedy: str = "",
    last_line: bool = False,
) -> str:
    """Return what a command printed; CommandError with its last words if its exit code is not accepted.

    ``remedy`` ends the message: what to look at, or which variable to set. ``last_line`` leaves out what
    a program printed before its last line, for those that tell how far they came.
    """
    code, output, errors = run(list(command))
    if code not in accepted:
        said = errors.strip() or output.strip() or "it said nothing"
        if last_line:
            said = said.splitlines()[-1].strip()
        raise CommandError(
            f"'{' '.join(command)}' ended with {code}: {said}" + (f"; {remedy}" if remedy else "")
        )
    return output
