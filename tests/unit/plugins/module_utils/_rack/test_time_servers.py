# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.bramble.pi.plugins.module_utils._rack.time_servers import of_chrony, of_timesyncd


def test_each_reads_its_own_form() -> None:
    chrony = of_chrony(["10.0.0.1", "10.0.0.2"])
    assert chrony.path.startswith("/etc/chrony/sources.d/")
    assert chrony.text.endswith("server 10.0.0.1 iburst prefer\nserver 10.0.0.2 iburst prefer\n")
    timesyncd = of_timesyncd(["10.0.0.1", "10.0.0.2"])
    assert timesyncd.path.startswith("/etc/systemd/timesyncd.conf.d/")
    assert timesyncd.text.endswith("[Time]\nNTP=10.0.0.1 10.0.0.2\n")
