# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timer runs on a control plane: a renewal by the settings that the role has left there."""

from __future__ import annotations

import json
import sys

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError, os_error_text
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.unattended import end_on_sigterm, run_command
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import Node
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.renew import renew
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.renewal import (
    TIMER_SETTINGS,
    RenewalError,
    Wishes,
)


def settings() -> Wishes:
    """Read what is asked of renewals."""
    try:
        return Wishes.of(json.loads(read_text(TIMER_SETTINGS) or ""))
    except BrambleError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise RenewalError(
            f"{TIMER_SETTINGS} cannot be read ({error}); expected what the role certificates writes:"
            " run 'ansible-playbook bramble.pi.certificates'"
        ) from error


def main() -> None:
    """Renew what is due, and say so in the journal."""
    end_on_sigterm()
    changes = Changes(check_mode=False)
    try:
        result = renew(node=Node(run=run_command), wishes=settings(), changes=changes)
    except BrambleError as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        raise SystemExit(os_error_text(error)) from error
    for line in [*(changes.sentences or ["no certificate is due"]), *result["notes"]]:
        sys.stdout.write(f"{line}\n")
