# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which a filter ends on an error that is for the user."""

from __future__ import annotations

import functools
from typing import Any, Callable, TypeVar, cast

from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

Filter = TypeVar("Filter", bound=Callable[..., Any])


def filter_errors(*, subject: str = "") -> Callable[[Filter], Filter]:
    """Make a filter end with Ansible's own error where it meets one that is for the user.

    ``subject`` begins the message: what was read. Any other exception is a fault of the collection and keeps
    its traceback.
    """

    def decorate(function: Filter) -> Filter:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except BrambleError as error:
                raise AnsibleFilterError(f"{subject}: {error}" if subject else str(error)) from error

        return cast("Filter", wrapped)

    return decorate
