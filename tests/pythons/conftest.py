# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the tests with other Pythons than this machine's."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def root() -> None:
    """Skip without the rights that mmdebstrap and chroot take."""
    if os.geteuid() != 0:
        pytest.skip("making a Debian for another Python needs root")
