# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module reads only, so it runs for real, on the machine that runs the tests."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.bramble.pi.plugins.module_utils._node import reader
from ansible_collections.bramble.pi.plugins.modules import node_facts


def test_facts_of_this_machine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reader, "CNI_FOLDER", str(tmp_path))
    for name in ("10-calico.conflist", "calico-kubeconfig"):
        (tmp_path / name).write_text('{"plugins": [{"type": "calico"}]}')
    (tmp_path / "a-folder.conf").mkdir()
    with patch_module_args({}), pytest.raises(SystemExit) as exit_info:
        node_facts.main()
    result = json.loads(capsys.readouterr().out)
    assert exit_info.value.code == 0
    assert result["changed"] is False
    facts = result["ansible_facts"]["bramble"]
    assert facts["hostname"] == os.uname().nodename
    assert facts["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert facts["cgroup"]["version"] in (1, 2)
    assert facts["distribution"]["name"]
    assert facts["cni"] == [{"file": "10-calico.conflist", "types": ["calico"]}]
    assert set(facts) == {
        "architecture",
        "boot_id",
        "cgroup",
        "clock",
        "cni",
        "default_address",
        "distribution",
        "hostname",
        "kernel",
        "kubernetes",
        "machine_id",
        "packages",
        "pi_firmware",
        "swap",
        "vxlan",
    }
