# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that a user reads, and the one way in which a module ends on them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

from ansible_collections.bramble.pi.plugins.module_utils._common.old_python import refuse_old_python
from ansible_collections.bramble.pi.plugins.module_utils._common.secrets import masked_message, secret_values

# Every module has this file before all else that an old Python would stop at.
refuse_old_python()


class BrambleError(ValueError):
    """The base of all errors whose message is for the user: what is seen, what is expected, what fixes it.

    It is a ValueError, so that whoever reads values of the user catches both with one name. Its text is
    without logins in URLs, tokens and keys, wherever it is shown.
    """

    def __str__(self) -> str:
        """Return the message without secrets."""
        return masked_message(super().__str__())


class _Module(Protocol):
    """What is used of AnsibleModule here."""

    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn:
        """End the module with a failure."""


#: What most modules lack where they are denied something; those for files of a user's own say another thing.
_DENIED = "expected root privileges: set 'become: true' (or pass --become)"


def os_error_text(error: OSError, *, path: str = "", remedy: str = "", denied: str = _DENIED) -> str:
    """Say what the system refused, and what to do about it.

    ``path`` is what was worked on, for errors that name no file; ``remedy`` is what to do about an error
    that has none of its own, such as "look at 'dmesg' whether the card fails"; ``denied`` is what to do about
    missing rights.
    """
    name = str(error.filename or path)
    where = f"{name}: " if name else ""
    if not name and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        # Files of the node are named where they are written.
        where = "a temporary file in /tmp, /var/tmp or $TMPDIR: "
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where}{reason}; {denied}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}{reason}; expected room for it: free some there, see 'df -h'"
    if error.errno == errno.EROFS:
        return (
            f"{where}{reason}; expected a file system mounted read-write: run "
            "'mount -o remount,rw' on it, or look at 'dmesg' why it is not"
        )
    return f"{where}{reason}" + (f"; {remedy}" if remedy else "")


def hide_secrets(module: Any) -> None:
    """Have Ansible hide logins in URLs and the like wherever a module shows them, with -vvv its options."""
    hidden = getattr(module, "no_log_values", None)
    if isinstance(hidden, set):
        hidden.update(secret_values(module.params))


@contextmanager
def module_errors(
    module: _Module,
    *,
    subject: str = "",
    path: str = "",
    remedy: str = "",
    denied: str = _DENIED,
    result: Callable[[], Mapping[str, Any]] = dict,
) -> Iterator[None]:
    """End the module with a failure if what runs within raises an error that is meant for the user.

    ``subject`` begins the message (the node that is worked on); ``path``, ``remedy`` and ``denied``
    are as in :func:`os_error_text`; ``result`` is asked for what was done until then. What is secret in the
    module's options is shown from here on no more, see :func:`hide_secrets`. Any other exception is
    a fault of the collection and keeps its traceback.
    """
    prefix = f"{subject}: " if subject else ""
    hide_secrets(module)
    try:
        yield
    except BrambleError as error:
        module.fail_json(msg=f"{prefix}{error}", **result())
    except OSError as error:
        module.fail_json(
            msg=prefix + os_error_text(error, path=path, remedy=remedy, denied=denied), **result()
        )
