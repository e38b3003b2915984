# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a user's ssh configuration: tried beside before they count, as they were if ssh objects."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._common.commands import (
    CommandError,
    Runner,
    output_of,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.file_edit import (
    FileEdit,
    apply_edit,
    backup_file,
)
from ansible_collections.bramble.pi.plugins.module_utils._ssh.config import (
    Host,
    SshConfigError,
    parse_settings,
    with_include,
)

#: Stands for all hosts that are not of the rack.
_OTHER_HOST = "bramble-no-such-host.invalid"


class Edits(NamedTuple):
    """What is to become of the file with the entries, and of the user's own that includes it."""

    entries: FileEdit
    config: FileEdit

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return self.entries.changed or self.config.changed

    @property
    def backup(self) -> str | None:
        """Where the user's configuration is, or will be, kept as it was."""
        return backup_file(edit=self.config, backup=self.config.before is not None)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def edits(*, path: str, entries_path: str, entries: str, home: str) -> Edits:
    """Compare the files with what they are to say."""
    # A link, as people have it who keep such files elsewhere, stays one.
    path = os.path.realpath(path)
    config = _read(path)
    return Edits(
        FileEdit(path=entries_path, before=_read(entries_path), after=entries.encode()),
        FileEdit(path=path, before=config, after=with_include(config or b"", path=entries_path, home=home)),
    )


def _settings(run: Runner, config: str, host: str) -> str:
    """Ask ssh what it makes of a host, by the user's configuration alone."""
    return output_of(run, ["ssh", "-F", config, "-G", host])


def _check(run: Runner, config: str, hosts: Sequence[Host]) -> None:
    """Check that each node is found as it is expected."""
    for host in hosts:
        for name in host.names:
            seen = parse_settings(_settings(run, config, name))
            expected = {"hostname": host.address.lower(), "port": str(host.port)}
            expected.update({"user": host.user} if host.user else {})
            expected.update({"proxyjump": host.jump} if host.jump else {})
            for key, value in expected.items():
                if seen.get(key, "").lower() != value.lower():
                    raise SshConfigError(
                        f"with the entries ssh has {key} {seen.get(key)!r} for {name}; expected "
                        f"{value!r}: rename one of two hosts of that name, of which one may be another rack's"
                    )


def check(run: Runner, *, desired: Edits, hosts: Sequence[Host], home: str) -> None:
    """Check the new configuration in a place where it changes nothing."""
    before = desired.config.before or b""
    with tempfile.TemporaryDirectory() as folder:
        old, new, included = (os.path.join(folder, name) for name in ("old", "new", "entries"))
        with open(old, "wb") as file:
            file.write(before)
        try:
            other_host = _settings(run, old, _OTHER_HOST)
        except CommandError as error:
            raise SshConfigError(
                f"ssh does not take it as it is, before anything was changed: {error}; fix it there"
            ) from error
        with open(included, "wb") as file:
            file.write(desired.entries.after)
        with open(new, "wb") as file:
            file.write(with_include(before, path=included, home=home))
        _check(run, new, hosts)
        if _settings(run, new, _OTHER_HOST) != other_host:
            raise SshConfigError(
                "with the entries at its top other hosts would be reached in another way; include "
                f"{desired.entries.path} by hand where it suits"
            )


@contextmanager
def _reverted_on_failure(made: Edits) -> Iterator[None]:
    """Have the files as they were if what runs within fails, or is interrupted."""
    try:
        yield
    except BaseException:
        for edit in reversed(made):
            if edit.before is not None:
                apply_edit(edit=edit._replace(after=edit.before), backup=False)
            elif os.path.lexists(edit.path):
                os.unlink(edit.path)
        raise


def write(run: Runner, *, desired: Edits, hosts: Sequence[Host]) -> None:
    """Put the files in place, and what was there back if ssh does not take them after all."""
    for edit in desired:
        folder = os.path.dirname(edit.path)
        if not os.path.isdir(folder):
            os.makedirs(folder, mode=0o700)
    with _reverted_on_failure(desired):
        for edit in desired:
            if edit.changed:
                apply_edit(edit=edit, backup=edit is desired.config)
                if edit.before is None:
                    os.chmod(edit.path, 0o600)
        _check(run, desired.config.path, hosts)
