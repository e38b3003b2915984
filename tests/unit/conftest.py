# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for all unit tests."""

from __future__ import annotations

import os

import hypothesis

from tests.unit import python_server

# No test fails because the machine is busy. A change does not go red by chance: its run has the same examples
# each time. Chance has its hours in the long run; what it finds is pinned by an @example.
hypothesis.settings.register_profile("change", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile(
    "long",
    deadline=None,
    derandomize=False,
    database=None,
    print_blob=True,
    max_examples=20 * hypothesis.settings.get_profile("change").max_examples,
)
# All servers are of the tests. Python's urllib reads the certificates of every authority before each request,
# which takes it a tenth of a second.
os.environ["SSL_CERT_FILE"] = os.devnull

hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "change"))


def pytest_sessionfinish() -> None:
    """End what modules were run by."""
    python_server.stop()
