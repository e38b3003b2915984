# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of boot partitions, in real FAT file systems."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._boot.fat import FatBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.folder import FolderBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import (
    STAGING,
    Boot,
    BootPartitionError,
    check_name,
    check_names,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.boot_card import KINDS, OFFSET, Card, read_tree, run, system_files, write_tree

FILES = system_files("ubuntu-25.10")
CLUSTER = 2048


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Card]:
    """Return a card of each kind, to be copied."""
    folder = tmp_path_factory.mktemp("cards")
    cards = {kind: Card(folder / kind, kind) for kind in KINDS}
    for card in cards.values():
        card.put(FILES)
    return cards


def copy(card: Card, path: Path) -> Card:
    shutil.copyfile(card.path, path)
    copied = object.__new__(Card)
    copied.__dict__.update(vars(card), path=path)
    return copied


@pytest.fixture(params=KINDS)
def card(request: pytest.FixtureRequest, made: dict[str, Card], tmp_path: Path) -> Card:
    return copy(made[request.param], tmp_path / "card.img")


@pytest.fixture
def small(made: dict[str, Card], tmp_path: Path) -> Card:
    return copy(made["FAT16"], tmp_path / "card.img")


def fat(card: Card) -> FatBoot:
    return FatBoot(path=str(card.path), offset=OFFSET, run=run)


def test_reading(card: Card, tmp_path: Path) -> None:
    for boot in (fat(card), FolderBoot(path=str(write_tree(tmp_path / "folder", FILES)))):
        assert {name for name in boot.names() if not name.endswith("/")} == set(FILES)
        assert {name for name in boot.names() if name.endswith("/")} == {"current/", "current/overlays/"}
        for name, data in FILES.items():
            assert boot.read(name) == data
            assert boot.read(name.upper()) == data
        assert boot.read("no-such-file") is None
        assert boot.read("no-such-folder/file") is None
        with pytest.raises(BootPartitionError, match=r"current/ on .* is a folder; expected a file"):
            boot.read("current")


def test_files_of_one_name_in_two_folders_are_read_at_once(card: Card) -> None:
    boot = fat(card)
    boot.load(["cmdline.txt", "current/cmdline.txt", "CONFIG.TXT", "no-such-file"])
    assert boot.read("current/cmdline.txt") == FILES["current/cmdline.txt"]
    assert boot.read("cmdline.txt") == FILES["cmdline.txt"] != FILES["current/cmdline.txt"]


NEW = {
    "user-data": b"#cloud-config\n" * 700,
    "CMDLINE.TXT": b"console=tty1 root=LABEL=writable\n",
    "Current/State": b"good\n",
    "current/A new file with a long name.dtb": bytes(range(256)),
    "a/folder/that is new/file": b"x",
    "ssh": b"",
    "README": b"\r\n",
    "K8S.cfg": b"mixed",
}
NAMED = {"CMDLINE.TXT": "cmdline.txt", "Current/State": "current/state"}


@pytest.mark.parametrize("is_folder", [False, True])
def test_writing_and_removing(card: Card, tmp_path: Path, is_folder: bool) -> None:
    folder = write_tree(tmp_path / "folder", FILES)
    before = card.entries()
    boot: Boot = FolderBoot(path=str(folder)) if is_folder else fat(card)
    boot.change(write=NEW, remove=["Meta-Data", "current/vmlinuz", "no-such-file"])

    expected = {**FILES, **{NAMED.get(name, name): data for name, data in NEW.items()}}
    del expected["meta-data"], expected["current/vmlinuz"]
    assert (read_tree(folder) if is_folder else card.files()) == expected
    assert {name for name in boot.names() if not name.endswith("/")} == set(expected)
    assert all(boot.read(name) == data for name, data in NEW.items())
    if not is_folder:
        card.check()
        after = card.entries()
        for name in set(FILES) & set(expected) - {NAMED.get(name, name) for name in NEW}:
            assert after[name] == before[name], "short name, size and time of another file"


def test_nothing_is_done_on_a_dry_run(card: Card) -> None:
    before = card.path.read_bytes()
    boot = fat(card)
    boot.change(write=NEW, remove=["README"], dry_run=True)
    with pytest.raises(BootPartitionError, match="bytes free"):
        boot.change(write={"user-data": bytes(card.size)}, dry_run=True)
    assert card.path.read_bytes() == before


def test_a_short_name_that_is_taken_is_not_taken_twice(small: Card) -> None:
    small.put({"user-dat other": b"other"})
    boot = fat(small)
    boot.change(write={"user-dat third": b"third", "user-data": b"new"})
    assert small.files() == {
        **FILES,
        "user-dat other": b"other",
        "user-dat third": b"third",
        "user-data": b"new",
    }
    small.check()


def test_files_with_attributes_are_replaced_and_removed(small: Card) -> None:
    small.mtools("mattrib", "+r", "+s", "+h", "::user-data", "::meta-data")
    boot = fat(small)
    boot.change(write={"user-data": b"new"}, remove=["meta-data"])
    assert small.files() == {
        name: data for name, data in {**FILES, "user-data": b"new"}.items() if name != "meta-data"
    }


def fill(card: Card, leave: int) -> None:
    boot = fat(card)
    card.put({"filler": bytes(boot.free - leave)})
    assert boot.free == leave


#: Clusters that are needed beforehand for the files below: three for their contents, and one each for the
#: folder of new files, its two folders and the growth of the folder current.
NEEDED = 7


@pytest.mark.parametrize("clusters", range(NEEDED + 2))
def test_a_partition_without_room_is_left_alone(small: Card, clusters: int) -> None:
    fill(small, clusters * CLUSTER)
    before, image = small.files(), small.path.read_bytes()
    wish = {"user-data": b"u" * CLUSTER + b"u", "current/new": b"n", "empty": b""}
    if clusters < NEEDED:
        seen = f"has {clusters * CLUSTER} bytes free; expected at least {NEEDED * CLUSTER}, .* Remove files"
        with pytest.raises(BootPartitionError, match=seen):
            fat(small).change(write=wish)
        assert small.path.read_bytes() == image
    else:
        fat(small).change(write=wish)
        assert small.files() == {**before, **wish}
    small.check()


def test_room_is_counted_in_the_table_and_not_read_from_a_stale_count(
    made: dict[str, Card], tmp_path: Path
) -> None:
    card = copy(made["FAT32"], tmp_path / "card.img")
    free = fat(card).free
    with card.path.open("rb+") as image:
        image.seek(OFFSET + 512 + 488)
        assert struct.unpack("<I", image.read(4))[0] * 512 == free
        image.seek(OFFSET + 512 + 488)
        image.write(struct.pack("<I", 0x01000000))
    assert fat(card).free == free
    with pytest.raises(BootPartitionError, match=f"has {free} bytes free"):
        fat(card).change(write={"user-data": bytes(free)})


def test_a_root_folder_without_room_is_left_alone(small: Card) -> None:
    boot = fat(small)
    # Such a name takes 17 of the 512 entries.
    names = [f"{number}{' long name' * 20}" for number in range(20)]
    for name in names:
        boot.change(write={name: b""})
    image = small.path.read_bytes()
    with pytest.raises(BootPartitionError, match=r"room for \d+ more entries; expected at least 207\."):
        boot.change(write={f"{name}2": b"" for name in names[:12]} | {"README": b"new"})
    assert small.path.read_bytes() == image
    boot.change(write={"20" + names[0]: b"", "README": b"new"})
    small.check()


def test_folders_grow(made: dict[str, Card], tmp_path: Path) -> None:
    card = copy(made["FAT32"], tmp_path / "card.img")
    many = {
        f"{folder}file {number} with a name": b"%d" % number
        for folder in ("", "current/")
        for number in range(150)
    }
    fat(card).change(write=many)
    assert card.files() == {**FILES, **many}
    card.check()


def test_what_an_interrupted_run_left_goes_with_the_next_change(card: Card, tmp_path: Path) -> None:
    left = {f"{STAGING}/0/user-data": b"half", f"{STAGING}/1/cmdline.txt": b"half"}
    card.put(left)
    folder = write_tree(tmp_path / "folder", {**FILES, **left})
    for boot in (fat(card), FolderBoot(path=str(folder))):
        assert boot.find(STAGING) == f"{STAGING}/"
        boot.change(write={"user-data": b"whole"})
        assert boot.find(STAGING) is None
    assert card.files() == read_tree(folder) == {**FILES, "user-data": b"whole"}
    card.check()


def test_a_failed_write_leaves_every_file(small: Card) -> None:
    calls = []

    def failing(line: list[str], **keywords: object) -> tuple[int, bytes, bytes]:
        calls.append(line[0])
        if line[0] == "mcopy" and "-s" in line:
            run(line, **keywords)  # type: ignore[arg-type]  # the keywords are passed through
            return 1, b"", b"plain_io: Input/output error"
        return run(line, **keywords)  # type: ignore[arg-type]  # as above

    with pytest.raises(BootPartitionError, match="Input/output error"):
        FatBoot(path=str(small.path), offset=OFFSET, run=failing).change(write={"user-data": b"new"})
    assert small.files() == FILES
    assert "mdeltree" in calls
    small.check()


@pytest.mark.parametrize("calls", range(1, 7))
def test_cut_off_after_any_call_nothing_is_lost(small: Card, calls: int) -> None:
    """After each call of mtools a file has its old or its new content, and the next run ends the work."""
    old = {"user-data": FILES["user-data"], "current/cmdline.txt": FILES["current/cmdline.txt"]}
    new = {"user-data": b"new\n" * 999, "current/cmdline.txt": b"root=new\n", "added/ssh": b""}
    left = [calls]

    def cut(line: list[str], **keywords: object) -> tuple[int, bytes, bytes]:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return run(line, **keywords)  # type: ignore[arg-type]  # the keywords are passed through

    with pytest.raises(KeyboardInterrupt):
        FatBoot(path=str(small.path), offset=OFFSET, run=cut).change(write=new)
    cut_off = small.files()
    assert all(cut_off.get(name) in (old.get(name), data) for name, data in new.items())
    assert {name: cut_off[name] for name in FILES if name not in new} == {
        name: data for name, data in FILES.items() if name not in new
    }
    small.check()
    fat(small).change(write=new)
    assert small.files() == {**FILES, **new}
    small.check()


def test_one_new_folder_in_two_cases(small: Card, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "folder", FILES)
    wish = {"New/a": b"a", "new/Sub/b": b"b", "NEW/sub/c": b"c", "CURRENT/sub/d": b"d"}
    for boot in (fat(small), FolderBoot(path=str(folder))):
        boot.change(write=wish)
        assert all(boot.read(name) == data for name, data in wish.items())
    new = {"New/a": b"a", "New/Sub/b": b"b", "New/Sub/c": b"c", "current/sub/d": b"d"}
    assert small.files() == read_tree(folder) == {**FILES, **new}
    small.check()


def test_what_is_no_boot_partition_is_refused(small: Card, tmp_path: Path) -> None:
    with pytest.raises(BootPartitionError, match="no FAT file system at byte 512"):
        FatBoot(path=str(small.path), offset=512, run=run).change(write={"a": b""})
    tiny = tmp_path / "tiny.img"
    with tiny.open("wb") as file:
        file.truncate(1 << 20)
    os.system(f"mkfs.vfat -F 12 {tiny} >/dev/null")
    with pytest.raises(BootPartitionError, match=r"FAT12 .* Mount it"):
        FatBoot(path=str(tiny), offset=0, run=run).change(write={"a": b""})
    with tiny.open("wb") as file:
        file.truncate(64 << 20)
    os.system(f"mkfs.vfat -F 32 -s 8 {tiny} >/dev/null 2>&1")
    with pytest.raises(BootPartitionError, match=r"FAT32 .* Mount it"):
        FatBoot(path=str(tiny), offset=0, run=run).change(write={"a": b""})


def test_a_damaged_file_system_is_named(small: Card) -> None:
    with small.path.open("rb+") as image:
        image.truncate(OFFSET + 2048)
    with pytest.raises(BootPartitionError, match=r"(?s)'mdir -i .*' failed .*fsck.vfat"):
        fat(small).names()


def test_without_mtools_the_package_is_named(small: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BootPartitionError, match=r"no command 'mcopy'; expected the package mtools"):
        fat(small)


def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "boot"
    folder.mkdir()
    os.system(f"mount -t tmpfs -o ro,size=1m tmpfs {folder}")
    try:
        boot = FolderBoot(path=str(folder))
        with pytest.raises(BootPartitionError, match=f"mount -o remount,rw {folder}"):
            boot.change(write={"ssh": b""}, dry_run=True)
        os.system(f"mount -o remount,rw {folder}")
        with pytest.raises(BootPartitionError, match="1048576 bytes free; expected at least "):
            boot.change(write={"user-data": bytes(2 << 20)})
        assert not list(folder.iterdir())
        boot.change(write={"ssh": b""})
        assert read_tree(folder) == {"ssh": b""}
    finally:
        os.system(f"umount {folder}")


def test_a_link_in_a_folder_is_followed(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "boot", {"real": b"old"})
    (folder / "user-data").symlink_to("real")
    FolderBoot(path=str(folder)).change(write={"user-data": b"new"})
    assert (folder / "user-data").is_symlink()
    assert (folder / "real").read_bytes() == b"new"


def test_a_file_in_a_folder_keeps_owner_and_mode(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "boot", {"user-data": b"old"})
    (folder / "user-data").chmod(0o640)
    os.chown(folder / "user-data", 1234, 2345)
    FolderBoot(path=str(folder)).change(write={"user-data": b"new", "other": b""})
    state = (folder / "user-data").stat()
    assert (state.st_mode & 0o777, state.st_uid, state.st_gid) == (0o640, 1234, 2345)
    assert (folder / "other").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "has the part ''; expected 1 to 255 letters"),
        ("/user-data", "has the part ''"),
        ("a//b", "has the part ''"),
        ("../x", r"has the part '\.\.'"),
        ("a/.", r"has the part '\.'"),
        ("file.", r"has the part 'file\.'"),
        ("file ", "has the part 'file '"),
        (" file", "has the part ' file'"),
        ("a:b", "has the part 'a:b'"),
        ("a/b*", r"has the part 'b\*'"),
        ("a[1]", r"has the part 'a\[1\]'"),
        ("a\nb", r"has the part 'a\\nb'"),
        ("FOO~1", "has the part 'FOO~1'"),
        ("\u00fcml\u00e4ut", "has the part '\u00fcml\u00e4ut'"),
        # mcopy would read its standard input.
        ("-", "has the part '-'"),
        ("x" * 256, "has the part 'xxx"),
        ("con", "has the part 'con', which FAT file systems reserve"),
        ("a/NUL.dtbo", r"has the part 'NUL\.dtbo'"),
        ("Aux.tar.gz", r"has the part 'Aux\.tar\.gz'"),
        ("prn /x", r"has the part 'prn '"),
        ("com1.txt", r"has the part 'com1\.txt'"),
        ("LPT9", "has the part 'LPT9'"),
        (STAGING, "kept for files that are being written"),
        ("Bramble.NEW/x", "kept for files that are being written"),
    ],
)
def test_bad_names(name: str, reason: str) -> None:
    with pytest.raises(BootPartitionError, match=reason):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["config", "com", "com0", "com10", "a.con", "null", "lpt", "printer", "con-1"]
)
def test_names_that_only_look_like_those_of_devices(name: str, small: Card) -> None:
    fat(small).change(write={name: b"x"})
    assert small.files() == {**FILES, name: b"x"}


@pytest.mark.parametrize(
    ("files", "absent", "reason"),
    [
        (["a", "a/b"], [], "'a' is a file and, for 'a/b', a folder"),
        (["X/Y/z", "x/y"], [], "'x/y' is a file and, for 'X/Y/z', a folder"),
        (["a/b"], ["A"], "'A' is a file and, for 'a/b', a folder"),
        (["a", "A"], [], "'A' and 'a' are one file"),
        (["a.b", "a/b", "ab/c"], ["b"], None),
    ],
)
def test_names_that_contradict_each_other(files: list[str], absent: list[str], reason: str | None) -> None:
    if reason is None:
        check_names(files=files, absent=absent)
        return
    with pytest.raises(BootPartitionError, match=reason):
        check_names(files=files, absent=absent)


def test_a_file_is_no_folder(small: Card) -> None:
    with pytest.raises(
        BootPartitionError, match=r"user-data on .* is a file; expected a folder, for user-data/x"
    ):
        fat(small).change(write={"user-data/x": b""})
    assert small.files() == FILES


LETTERS = "abcXYZ019 .-_#()+,=@"


def _is_good(name: str) -> bool:
    try:
        check_name(name)
    except BootPartitionError:
        return False
    return True


@settings(
    # Each calls mtools a dozen times.
    max_examples=settings().max_examples // 8,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.dictionaries(
        st.text(LETTERS, min_size=1, max_size=40).filter(_is_good),
        st.binary(max_size=3 * CLUSTER),
        max_size=6,
    ).filter(lambda files: len({name.casefold() for name in files}) == len(files)),
    st.booleans(),
)
def test_what_is_written_is_read(
    made: dict[str, Card], tmp_path: Path, files: dict[str, bytes], twice: bool
) -> None:
    card = copy(made["FAT16"], tmp_path / "any.img")
    boot = fat(card)
    if twice:
        boot.change(write={name.upper(): b"before" for name in files})
    boot.change(write=files)
    fresh = fat(card)
    assert {name: fresh.read(name) for name in files} == files
    assert len(fresh.names()) == len(FILES) + 2 + len(files)
    assert {name: fresh.read(name) for name in FILES} == FILES
    card.check()
