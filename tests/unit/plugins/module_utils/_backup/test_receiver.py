# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup import receiver
from ansible_collections.bramble.pi.plugins.module_utils._backup.manifest import BackupError
from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes


def test_a_node_without_host_keys_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "_HOST_KEYS", ())
    monkeypatch.setattr(receiver.shutil, "which", lambda *_given, **_more: "/usr/sbin/sshd")
    with pytest.raises(BackupError, match="there is no host key in /etc/ssh; expected one"):
        receiver.let_in(
            sender="pi-1",
            key="",
            folder="/var/lib/copies",
            days=30,
            changes=Changes(check_mode=True),
            run=lambda _command: (0, "", ""),
        )
