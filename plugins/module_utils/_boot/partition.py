# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a boot partition is to hold, and how it comes to hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.bramble.pi.plugins.module_utils._boot import cmdline as boot_cmdline
from ansible_collections.bramble.pi.plugins.module_utils._boot.config_txt import edit_config_txt
from ansible_collections.bramble.pi.plugins.module_utils._boot.config_txt_settings import (
    ConfigTxtError,
    Setting,
    parse_settings,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.layout import (
    BootLayoutError,
    find_card_cmdline,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.receipt import parse_receipt
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import (
    STAGING,
    Boot,
    BootPartitionError,
    check_names,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.secrets import file_diff

#: What was written to a card; see the module sd_card.
RECEIPT = "bramble-receipt.json"
_CONFIG = "config.txt"
#: What the firmware puts before the text of cmdline.txt differs from board to board and is not on the card;
#: seen were up to 400 bytes. Whether the kernel has 32 bits, with half as much room, is not known either.
_FIRMWARE_PART = 512
_MACHINE = "aarch64"
#: As much as Ansible's own modules show of a file.
_LARGEST_SHOWN = 104448
_SEED_KEYS = ("id", "node", "files", "absent", "config_txt", "cmdline")
_CMDLINE_KEYS = ("path", "present", "absent", "set")


class Seed(NamedTuple):
    """What a boot partition is to hold."""

    id: str = ""
    node: str = ""
    files: Mapping[str, bytes] = {}
    absent: tuple[str, ...] = ()
    config_txt: tuple[Setting, ...] = ()
    cmdline: boot_cmdline.Desired = boot_cmdline.Desired()
    #: The command line file, if it is not the one that would be found.
    cmdline_path: str | None = None


class SeedResult(NamedTuple):
    """What was changed, or would be."""

    #: Names of files that are written or removed.
    changed: list[str]
    #: For each of them before, after, before_header and after_header, as ``--diff`` shows them.
    diff: list[dict[str, str]]
    #: The command line file that counts; None if nothing was asked of it.
    cmdline_path: str | None
    #: The line as it is to be.
    cmdline: str | None


def make_seed(
    *,
    files: Mapping[str, bytes],
    absent: Sequence[str] = (),
    config_txt: Sequence[Mapping[str, Any]] = (),
    cmdline: Mapping[str, Any] | None = None,
) -> Seed:
    """Check what is asked for, and refuse what contradicts itself."""
    cmdline = cmdline or {}
    check_names(files=files, absent=absent)
    try:
        return Seed(
            files=dict(files),
            absent=tuple(absent),
            config_txt=tuple(parse_settings(data=config_txt)),
            cmdline=boot_cmdline.desired(
                present=cmdline.get("present", ()),
                absent=cmdline.get("absent", ()),
                settings=cmdline.get("set", {}),
            ),
            cmdline_path=cmdline.get("path"),
        )
    except (ConfigTxtError, boot_cmdline.CmdlineError) as error:
        raise BootPartitionError(str(error)) from error


def _refuse_unknown(*, data: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    unknown = [str(key) for key in data if key not in known]
    if unknown:
        raise BootPartitionError(f"{what} has {', '.join(unknown)}; expected only {', '.join(known)}.")


def _require(*, value: Any, kind: type, what: str, expected: str) -> None:
    if not isinstance(value, kind):
        raise BootPartitionError(f"{what} is {type(value).__name__}; expected {expected}.")


def _require_list(*, value: Any, kind: type, what: str, expected: str) -> None:
    _require(value=value, kind=list, what=what, expected=expected)
    for item in value:
        if not isinstance(item, kind):
            raise BootPartitionError(f"{what} has {type(item).__name__}; expected {expected}.")


def parse_seed(*, data: Mapping[str, Any]) -> Seed:
    """Check a seed document; what is in its files stands in no message."""
    _require(value=data, kind=dict, what="the seed document", expected="a mapping")
    _refuse_unknown(data=data, known=_SEED_KEYS, what="the seed document")
    files, absent = data.get("files", {}), data.get("absent", [])
    config_txt, cmdline = data.get("config_txt", []), data.get("cmdline", {})
    for key in ("id", "node"):
        _require(value=data.get(key), kind=str, what=f"{key!r} of the seed document", expected="text")
    _require(value=files, kind=dict, what="'files' of the seed document", expected="names and texts")
    for name, text in files.items():
        _require(value=text, kind=str, what=f"the file {name!r} of the seed document", expected="text")
    _require_list(value=absent, kind=str, what="'absent' of the seed document", expected="a list of names")
    _require_list(
        value=config_txt, kind=dict, what="'config_txt' of the seed document", expected="a list of settings"
    )
    _require(value=cmdline, kind=dict, what="'cmdline' of the seed document", expected="a mapping")
    _refuse_unknown(data=cmdline, known=_CMDLINE_KEYS, what="'cmdline' of the seed document")
    _require(value=cmdline.get("path", ""), kind=str, what="'path' of 'cmdline'", expected="text")
    seed = make_seed(
        files={name: text.encode("utf-8", "surrogateescape") for name, text in files.items()},
        absent=absent,
        config_txt=config_txt,
        cmdline=cmdline,
    )
    return seed._replace(id=data["id"], node=data["node"])


class _Wish:
    """The boot partition as it is to be, by which config.txt and cmdline.txt are checked."""

    def __init__(self, *, boot: Boot, files: Mapping[str, bytes]) -> None:
        self._boot = boot
        self._files = {name.casefold(): (name, data) for name, data in files.items()}

    def files(self) -> dict[str, bytes]:
        return dict(self._files.values())

    def content(self, name: str) -> bytes | None:
        key = name.casefold()
        return self._files[key][1] if key in self._files else self._boot.read(name)

    def put(self, name: str, data: bytes) -> None:
        self._files[name.casefold()] = (name, data)

    def read(self, path: str) -> str | None:
        name = path.lstrip("/")
        if (self._boot.find(name) or "").endswith("/"):
            return None
        data = self.content(name)
        return None if data is None else data.decode(errors="replace")

    def exists(self, path: str) -> bool:
        name = path.lstrip("/")
        key = name.casefold()
        given = any(file == key or file.startswith(f"{key}/") for file in self._files)
        return given or self._boot.find(name) is not None


def _edit_config(*, wish: _Wish, settings: Sequence[Setting]) -> None:
    data = wish.content(_CONFIG)
    if data is None:
        raise BootPartitionError(
            f"there is no {_CONFIG} to put settings into; expected the boot partition of a Raspberry Pi, "
            f"which has one."
        )
    text = data.decode("utf-8", "surrogateescape")
    wish.put(_CONFIG, edit_config_txt(text=text, settings=settings).encode("utf-8", "surrogateescape"))


def _edit_cmdline(*, wish: _Wish, seed: Seed) -> tuple[str, str]:
    """Edit the command line that counts, and the one that the next boot tries if there is one."""
    if seed.cmdline_path:
        paths = [seed.cmdline_path]
    else:
        layout = find_card_cmdline(files=wish)
        paths = [path for path in (layout.path, layout.pending) if path]
    lines = []
    for path in paths:
        data = wish.content(path.lstrip("/"))
        if data is None:
            raise BootPartitionError(
                f"there is no {path} on the boot partition; set 'path' of 'cmdline' to the file that the "
                f"node boots with, or leave it out."
            )
        line = boot_cmdline.read_line(data=data, path=path)
        new_line = boot_cmdline.edit_line(line=line, desired=seed.cmdline)
        boot_cmdline.check_result(
            before=line, after=new_line, path=path, prepended=_FIRMWARE_PART, machine=_MACHINE
        )
        lines.append(new_line)
        if new_line != line:
            wish.put(path.lstrip("/"), f"{new_line}\n".encode())
    return paths[0].lstrip("/"), lines[0]


def cmdline_tokens(*, boot: Boot) -> list[str]:
    """Return the tokens of the command line that counts; none if it cannot be told or read."""
    try:
        path = find_card_cmdline(files=_Wish(boot=boot, files={})).path.lstrip("/")
        return boot_cmdline.split(line=boot_cmdline.read_line(data=boot.read(path) or b"", path=path))
    except (BootLayoutError, boot_cmdline.CmdlineError):
        return []


def _shown(data: bytes | None) -> str:
    if data is None:
        return ""
    if len(data) > _LARGEST_SHOWN:
        return f"({len(data)} bytes)\n"
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"({len(data)} bytes that are not text)\n"


def apply_seed(*, boot: Boot, seed: Seed, dry_run: bool) -> SeedResult:
    """Make a boot partition hold what it is to hold, in one go; or only say what that would change."""
    has_cmdline = bool(seed.cmdline_path or any(seed.cmdline))
    # The command line is most often there; finding it out would take one more call.
    usual = [_CONFIG, "cmdline.txt"] if has_cmdline else [_CONFIG] if seed.config_txt else []
    boot.load([*seed.files, *seed.absent, *usual])
    wish = _Wish(boot=boot, files=seed.files)
    cmdline_path = cmdline = None
    try:
        if seed.config_txt:
            _edit_config(wish=wish, settings=seed.config_txt)
        if has_cmdline:
            cmdline_path, cmdline = _edit_cmdline(wish=wish, seed=seed)
    except (BootLayoutError, ConfigTxtError, boot_cmdline.CmdlineError) as error:
        raise BootPartitionError(f"the boot partition of {boot.where}: {error}") from error
    after: dict[str, bytes | None] = {}
    before: dict[str, bytes | None] = {}
    for name, data in [*wish.files().items(), *((name, None) for name in seed.absent)]:
        there = boot.find(name) or name
        old = boot.read(name)
        if old != data:
            before[there], after[there] = old, data
    # What a run that was cut off left behind, which goes with any change.
    leftover = [f"{STAGING}/"] if boot.find(STAGING) else []
    if after or leftover:
        boot.change(
            write={name: data for name, data in after.items() if data is not None},
            remove=[name for name, data in after.items() if data is None],
            dry_run=dry_run,
        )
    diff = [
        file_diff(path=f"{name} on {boot.where}", before=_shown(before[name]), after=_shown(after[name]))
        for name in after
    ]
    return SeedResult([*leftover, *after], diff, cmdline_path, cmdline)


def read_receipt(*, boot: Boot) -> dict[str, Any] | None:
    """Return the receipt of the card, None if there is none that is whole."""
    return parse_receipt(content=boot.read(RECEIPT) or b"")
