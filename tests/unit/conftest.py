# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for all unit tests."""

from __future__ import annotations

import hypothesis

# No test fails because the machine is busy.
hypothesis.settings.register_profile("bramble", deadline=None)
hypothesis.settings.load_profile("bramble")
