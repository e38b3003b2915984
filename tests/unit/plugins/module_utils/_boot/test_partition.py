# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeds on the boot partitions of real systems."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._boot.fat import FatBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.folder import FolderBoot
from ansible_collections.bramble.pi.plugins.module_utils._boot.init_format import detect_init_format
from ansible_collections.bramble.pi.plugins.module_utils._boot.open_boot import open_boot
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import (
    RECEIPT,
    Seed,
    apply_seed,
    parse_seed,
    read_receipt,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import (
    STAGING,
    Boot,
    BootPartitionError,
)

from tests import loop_devices
from tests.unit.boot_card import (
    KINDS,
    OFFSET,
    SYSTEMS,
    Card,
    command,
    read_tree,
    run,
    system_files,
    write_tree,
)

#: Format, layout, and the command line that counts.
LAYOUTS: dict[str, tuple[str | None, str | None, str]] = {
    "raspios-bullseye": ("systemd", "raspios", "cmdline.txt"),
    "raspios-bookworm": ("systemd", "raspios", "cmdline.txt"),
    "raspios-trixie-first": ("systemd", "raspios", "cmdline.txt"),
    "raspios-trixie": ("cloudinit-rpi", "raspios", "cmdline.txt"),
    "ubuntu-22.04": ("cloudinit", "ubuntu", "cmdline.txt"),
    "ubuntu-24.04": ("cloudinit", "ubuntu", "cmdline.txt"),
    "ubuntu-25.10": ("cloudinit", "ubuntu-ab", "current/cmdline.txt"),
    "hypriotos": ("cloudinit-legacy", "hypriotos", "cmdline.txt"),
    "hypriotos-1.4": (None, None, "cmdline.txt"),
    "debian-bookworm": (None, None, "cmdline.txt"),
}

DOCUMENT: dict[str, Any] = {
    "id": "pi-1-0123456789ab",
    "node": "pi-1",
    "files": {
        "user-data": "#cloud-config\nhostname: pi-1\n# gr\u00fc\u00dfe\n",
        "Meta-Data": "instance-id: pi-1-0123456789ab\n",
        "network-config": "version: 2\n",
        "ssh": "",
        "userconf.txt": "pi:$6$salt$hash\n",
        RECEIPT: '{"schema": 1, "node": "pi-1"}\n',
    },
    "absent": ["device-init.yaml", "No-Such-File"],
    "config_txt": [
        {"section": "all", "setting": "enable_uart", "value": 0},
        {"section": "pi4", "setting": "arm_freq", "value": "1500"},
    ],
    "cmdline": {"present": ["cgroup_enable=memory"], "absent": ["quiet"], "set": {"panic": 10}},
}
SEED = parse_seed(data=DOCUMENT)


def test_every_system_is_in_the_table() -> None:
    assert sorted(LAYOUTS) == SYSTEMS


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Card]:
    folder = tmp_path_factory.mktemp("cards")
    return {kind: Card(folder / kind, kind, label="gpt" if kind == "FAT32" else "dos") for kind in KINDS}


@pytest.fixture
def image(made: dict[str, Card], tmp_path: Path) -> Card:
    """Return an empty card."""
    shutil.copyfile(made["FAT16"].path, tmp_path / "card.img")
    card = object.__new__(Card)
    card.__dict__.update(vars(made["FAT16"]), path=tmp_path / "card.img")
    return card


def loop(path: Path) -> Iterator[str]:
    device = loop_devices.attach(path)
    yield device
    loop_devices.detach(device)


@pytest.fixture
def device(image: Card) -> Iterator[str]:
    yield from loop(image.path)


def folder_boot(tmp_path: Path, files: dict[str, bytes]) -> FolderBoot:
    return FolderBoot(path=str(write_tree(tmp_path / "folder", files)))


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_format_is_told_by_the_partition(system: str, image: Card, tmp_path: Path) -> None:
    init_format, layout, _cmdline = LAYOUTS[system]
    image.put(system_files(system))
    boots: list[Boot] = [
        FatBoot(path=str(image.path), offset=OFFSET, run=run),
        folder_boot(tmp_path, system_files(system)),
    ]
    for boot in boots:
        if init_format:
            assert detect_init_format(boot=boot)[:2] == (init_format, layout)
        else:
            with pytest.raises(BootPartitionError, match=r"flash_init_format|1\.6 or older"):
                detect_init_format(boot=boot)


def test_an_image_that_reads_a_preseed_alone_is_refused(tmp_path: Path) -> None:
    files = {**system_files("raspios-bookworm"), "rpi-preseed.toml": b"# nothing yet\n"}
    with pytest.raises(BootPartitionError, match=r"rpi-preseed\.toml and no user-data; .*flash_init_format"):
        detect_init_format(boot=folder_boot(tmp_path, files))


def test_the_reason_names_what_decided(tmp_path: Path) -> None:
    boot = folder_boot(tmp_path, system_files("raspios-bookworm"))
    assert (
        "'Raspberry Pi reference 2025-05-06', and there is no user-data" in detect_init_format(boot=boot).why
    )


@pytest.mark.parametrize(
    ("system", "kind"), [*((system, "FAT16") for system in SYSTEMS), ("ubuntu-25.10", "FAT32")]
)
def test_check_apply_check_apply(system: str, kind: str, made: dict[str, Card], tmp_path: Path) -> None:
    files = system_files(system)
    shutil.copyfile(made[kind].path, tmp_path / "card.img")
    card = object.__new__(Card)
    card.__dict__.update(vars(made[kind]), path=tmp_path / "card.img")
    card.put(files)
    entries = card.entries()
    cmdline_path = LAYOUTS[system][2]

    steps = []
    for dry_run in (True, False, True, False):
        before = card.path.read_bytes()
        with open_boot(path=str(card.path), run=run, writable=not dry_run) as boot:
            steps.append(apply_seed(boot=boot, seed=SEED, dry_run=dry_run))
        assert (card.path.read_bytes() == before) == (dry_run or len(steps) == 4)
    checked, applied, checked_again, applied_again = steps

    assert checked == applied
    assert applied.cmdline_path == cmdline_path
    assert checked_again == applied_again == applied._replace(changed=[], diff=[])
    after = card.files()
    names = {name.lower(): name for name in files}
    expected = {names.get(name.lower(), name): text.encode() for name, text in DOCUMENT["files"].items()}
    untouched = set(files) - set(expected) - {"config.txt", cmdline_path, "device-init.yaml"}
    assert set(after) == untouched | set(expected) | {"config.txt", cmdline_path}
    assert {name: after[name] for name in expected} == expected
    assert {name: after[name] for name in untouched} == {name: files[name] for name in untouched}
    assert {name: card.entries()[name] for name in untouched} == {name: entries[name] for name in untouched}
    card.check()

    tokens, old_tokens = after[cmdline_path].decode().split(), files[cmdline_path].decode().split()
    assert [tokens.count(token) for token in ("cgroup_enable=memory", "panic=10", "quiet")] == [1, 1, 0]
    desired = {"cgroup_enable=memory", "panic=10", "quiet"}
    assert [token for token in tokens if token not in desired] == [
        token for token in old_tokens if token not in desired and not token.startswith("panic=")
    ]
    assert b"enable_uart=0" in after["config.txt"]
    assert set(after["config.txt"].splitlines()) >= set(files["config.txt"].splitlines()) - {b"enable_uart=1"}
    assert [diff["after"] for diff in applied.diff if diff["after_header"].startswith("user-data on ")] == [
        DOCUMENT["files"]["user-data"]
    ]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_folder_ends_up_like_a_card(system: str, image: Card, tmp_path: Path) -> None:
    files = system_files(system)
    image.put(files)
    fat = FatBoot(path=str(image.path), offset=OFFSET, run=run)
    boot = folder_boot(tmp_path, files)
    assert (
        apply_seed(boot=fat, seed=SEED, dry_run=False).changed
        == apply_seed(boot=boot, seed=SEED, dry_run=False).changed
    )
    assert image.files() == read_tree(Path(boot.where))
    assert not apply_seed(boot=boot, seed=SEED, dry_run=False).changed


def test_a_device(device: str, image: Card) -> None:
    image.put(system_files("ubuntu-24.04"))
    # The loop device read the image before.
    command("blockdev", "--flushbufs", device)
    with open_boot(path=device, run=run, writable=True) as boot:
        assert apply_seed(boot=boot, seed=SEED, dry_run=False).changed
        assert not apply_seed(boot=boot, seed=SEED, dry_run=False).changed
    # What lies in the file behind it was flushed.
    assert image.files()["user-data"].decode() == DOCUMENT["files"]["user-data"]
    image.check()


def test_a_partition_by_itself(image: Card, tmp_path: Path) -> None:
    partition = tmp_path / "partition.img"
    with partition.open("wb") as file:
        file.write(image.path.read_bytes()[OFFSET : OFFSET + image.size])
    with open_boot(path=str(partition), run=run, writable=True) as boot:
        boot.change(write={"ssh": b""})
        assert boot.names() == ("ssh",)
    with open_boot(path=str(image.path), run=run, writable=False, offset=OFFSET) as boot:
        assert boot.names() == ()


def test_a_device_in_use_is_refused(device: str) -> None:
    holder = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        for writable in (False, True):
            with pytest.raises(BootPartitionError, match=r"is in use, such as by a mount, .* unmount it"):
                open_boot(path=device, run=run, writable=writable).__enter__()
    finally:
        os.close(holder)
    with open_boot(path=device, run=run, writable=True), pytest.raises(OSError, match="busy"):
        os.open(device, os.O_RDONLY | os.O_EXCL)


def test_a_mounted_device_or_image_is_refused(image: Card, tmp_path: Path) -> None:
    # The root partition will do, as it is the whole card that is refused.
    place = tmp_path / "mounted"
    place.mkdir()
    start = OFFSET + image.size
    command("mkfs.ext4", "-q", "-E", f"offset={start}", image.path, "2M")
    command("mount", "-o", f"loop,offset={start},sizelimit={2 << 20}", image.path, place)
    device = next(
        line.split()[0] for line in Path("/proc/self/mounts").read_text().splitlines() if f" {place} " in line
    )
    try:
        for path in (str(image.path), device):
            with pytest.raises(
                BootPartitionError, match=f"is mounted at {place}, .* set 'path' to {place} or unmount"
            ):
                open_boot(path=path, run=run, writable=True).__enter__()
    finally:
        command("umount", place)
    with open_boot(path=str(image.path), run=run, writable=True) as boot:
        assert boot.names() == ()


def test_a_write_protected_device_is_refused(device: str, image: Card) -> None:
    command("blockdev", "--setro", device)
    try:
        with pytest.raises(BootPartitionError, match="is read-only; expected a device that can be"):
            open_boot(path=device, run=run, writable=True).__enter__()
        with open_boot(path=device, run=run, writable=False) as boot:
            assert boot.names() == ()
    finally:
        # The loop device would keep it for whoever has it next.
        command("blockdev", "--setrw", device)


def test_what_is_no_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BootPartitionError, match="none does not exist"):
        open_boot(path=str(tmp_path / "none"), run=run, writable=True).__enter__()
    (tmp_path / "text").write_text("hello\n")
    with pytest.raises(BootPartitionError, match=r"not a disk image .* Set 'path'"):
        open_boot(path=str(tmp_path / "text"), run=run, writable=True).__enter__()


def changes(boot: Boot, **document: Any) -> list[str]:
    seed = parse_seed(data={"id": "a", "node": "b", **document})
    return apply_seed(boot=boot, seed=seed, dry_run=False).changed


def test_settings_go_into_a_file_that_is_given_as_well(tmp_path: Path) -> None:
    boot = folder_boot(tmp_path, system_files("ubuntu-24.04"))
    files = {"config.txt": "os_prefix=current/\n", "current/cmdline.txt": "root=a\n"}
    wish = {
        "files": files,
        "config_txt": [{"setting": "arm_boost", "value": "1"}],
        "cmdline": {"present": ["b"]},
    }
    assert changes(boot, **wish) == ["config.txt", "current/cmdline.txt"]
    assert boot.read("config.txt") == b"os_prefix=current/\narm_boost=1\n"
    assert boot.read("current/cmdline.txt") == b"root=a b\n"
    assert changes(boot, **wish) == []


def test_a_kernel_on_trial_gets_the_edit_too(tmp_path: Path) -> None:
    trial = {"new/cmdline.txt": b"root=a quiet\n", "new/state": b"unknown\n"}
    boot = folder_boot(tmp_path, {**system_files("ubuntu-25.10"), **trial})
    assert changes(boot, cmdline={"absent": ["quiet"], "present": ["b"]}) == [
        "current/cmdline.txt",
        "new/cmdline.txt",
    ]
    assert boot.read("new/cmdline.txt") == b"root=a b\n"


def test_another_command_line(tmp_path: Path) -> None:
    boot = folder_boot(tmp_path, {"config.txt": b"", "cmdline.txt": b"root=a\n", "other.txt": b"root=b\n"})
    assert changes(boot, cmdline={"path": "Other.txt", "present": ["c"]}) == ["other.txt"]
    assert boot.read("other.txt") == b"root=b c\n"


@pytest.mark.parametrize(
    ("files", "wish", "reason"),
    [
        ({}, {"config_txt": [{"setting": "a", "value": 1}]}, "there is no config.txt"),
        ({}, {"cmdline": {"present": ["a"]}}, "there is no config.txt"),
        ({"config.txt": b""}, {"cmdline": {"present": ["a"]}}, "looked for /cmdline.txt"),
        (
            {"config.txt": b"[pi4]\ncmdline=b.txt\n", "cmdline.txt": b"root=a"},
            {"cmdline": {"present": ["a"]}},
            r"cmdline=b.txt under \[pi4\]",
        ),
        (
            {"config.txt": b"", "cmdline.txt": b"root=a\nb\n"},
            {"cmdline": {"present": ["a"]}},
            "has 2 lines that are not empty",
        ),
        (
            {"config.txt": b"", "cmdline.txt": b"root=a\n"},
            {"cmdline": {"absent": ["root=a"]}},
            "would be left without root=",
        ),
        (
            {"config.txt": b"", "cmdline.txt": b"root=a\n"},
            {"cmdline": {"present": ["a=" + "x" * 1600]}},
            "a kernel on aarch64 keeps 2047",
        ),
        ({"config.txt": b""}, {"cmdline": {"path": "x.txt", "present": ["a"]}}, "there is no x.txt"),
        ({"a/b": b""}, {"absent": ["a"]}, "a/ on .* is a folder; expected a file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, files: dict[str, bytes], wish: dict[str, Any], reason: str
) -> None:
    boot = folder_boot(tmp_path, {**files, "keep": b"it"})
    with pytest.raises(BootPartitionError, match=reason):
        changes(boot, files={"user-data": "new"}, **wish)
    assert read_tree(Path(boot.where)) == {**files, "keep": b"it"}


def test_what_an_interrupted_run_left_is_a_change(tmp_path: Path) -> None:
    boot = folder_boot(tmp_path, {"ssh": b"", f"{STAGING}/0/ssh": b""})
    seed = Seed(files={"ssh": b""})
    assert apply_seed(boot=boot, seed=seed, dry_run=True).changed == [f"{STAGING}/"]
    assert apply_seed(boot=boot, seed=seed, dry_run=False).changed == [f"{STAGING}/"]
    assert apply_seed(boot=boot, seed=seed, dry_run=False).changed == []
    assert read_tree(Path(boot.where)) == {"ssh": b""}


def test_what_is_no_text_or_too_much_is_not_shown(tmp_path: Path) -> None:
    boot = folder_boot(tmp_path, {"x": b""})
    seed = Seed(files={"a": b"\xff", "b": b"b" * 200_000})
    shown = [diff["after"] for diff in apply_seed(boot=boot, seed=seed, dry_run=False).diff]
    assert shown == ["(1 bytes that are not text)\n", "(200000 bytes)\n"]


WHOLE_RECEIPT = {
    "schema": 1,
    "node": "pi-1",
    "image": {"name": "raspios.img.xz", "sha256": "0" * 64, "size": 1},
    "seed": "1",
    "written": "2026-10-01T12:00:00Z",
    "collection": "0.1.0",
}


@pytest.mark.parametrize(
    ("content", "receipt"),
    [
        (None, None),
        (b"", None),
        (b"half a rec", None),
        (b"\xff\xfe", None),
        (b"[1]", None),
        (b'{"node": "pi-1"}', None),
        (json.dumps(WHOLE_RECEIPT).encode(), WHOLE_RECEIPT),
    ],
)
def test_receipts(tmp_path: Path, content: bytes | None, receipt: dict[str, Any] | None) -> None:
    files = {} if content is None else {"Bramble-Receipt.json": content}
    assert read_receipt(boot=folder_boot(tmp_path, {"x": b"", **files})) == receipt


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"id": 1}, "'id' of the seed document is int; expected text"),
        ({"node": None}, "'node' of the seed document is NoneType"),
        ({"more": 1}, "has more; expected only id, node, files"),
        ({"files": ["a"]}, "'files' of the seed document is list"),
        ({"files": {"a": None}}, "the file 'a' of the seed document is NoneType; expected text"),
        ({"files": {"a": "", "A": ""}}, "'A' and 'a' are one file"),
        ({"files": {"a": ""}, "absent": ["a"]}, "'a' and 'a' are one file"),
        ({"absent": "a"}, "'absent' of the seed document is str"),
        ({"absent": [1]}, "'absent' of the seed document has int"),
        ({"absent": ["../a"]}, r"has the part '\.\.'"),
        ({"files": {"a:b": ""}}, "has the part 'a:b'"),
        ({"config_txt": {}}, "'config_txt' of the seed document is dict"),
        ({"config_txt": [1]}, "'config_txt' of the seed document has int"),
        ({"config_txt": [{"setting": "a b", "value": 1}]}, "setting is 'a b'"),
        ({"cmdline": []}, "'cmdline' of the seed document is list"),
        ({"cmdline": {"presnt": []}}, "'cmdline' of the seed document has presnt"),
        ({"cmdline": {"present": "quiet"}}, "'present' is the text 'quiet'; expected a list of texts"),
        ({"cmdline": {"absent": None}}, "'absent' is null; expected a list of texts"),
        ({"cmdline": {"present": ["a", True]}}, "'present' has the boolean true as entry 2"),
        ({"cmdline": {"set": ["a"]}}, "'set' is a list; expected a mapping"),
        ({"cmdline": {"path": 1}}, "'path' of 'cmdline' is int"),
        ({"config_txt": [{"value": "audio=off"}]}, "setting of entry 1 is null"),
        ({"config_txt": [{"setting": "a", "value": "1", "sections": "pi4"}]}, "has the key 'sections'"),
        ({"cmdline": {"present": ["a b"]}}, "more than one token"),
    ],
)
def test_bad_seeds(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(BootPartitionError, match=reason):
        parse_seed(data={**DOCUMENT, **changed})


def test_no_message_tells_a_secret() -> None:
    secret = "hunter2"
    for wrong in ({"files": {"user-data": {"psk": secret}}}, {"files": secret}, {"files": {"a:b": secret}}):
        with pytest.raises(BootPartitionError) as raised:
            parse_seed(data={**DOCUMENT, **wrong})
        assert secret not in str(raised.value)


def test_a_seed_is_what_json_makes_of_it() -> None:
    assert parse_seed(data=json.loads(json.dumps(DOCUMENT))) == SEED
    assert (SEED.id, SEED.node) == ("pi-1-0123456789ab", "pi-1")
    assert SEED.files["user-data"] == DOCUMENT["files"]["user-data"].encode()
    assert parse_seed(data={"id": "a", "node": "b"}) == Seed("a", "b")
