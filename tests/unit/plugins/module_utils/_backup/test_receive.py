# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stolen key of a sender can do on the receiver: the forced command, as sshd runs it."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._backup import copies, receive
from ansible_collections.bramble.pi.plugins.module_utils._common import program

NOW = datetime.now(timezone.utc)
DATA = b"age-encryption.org/v1 and the rest" * 1000
OWNER = "0fffefc56e99-pi-1"


def name(ago: timedelta = timedelta(), owner: str = OWNER) -> str:
    return f"bramble-{NOW - ago:%Y%m%dT%H%M%SZ}-{owner}.tar.gz.age"


NAME = name()


def add(of: str = NAME, data: bytes = DATA, *, size: int | None = None, sha256: str = "") -> str:
    """Return the command that adds a backup."""
    return f"add {of} {len(data) if size is None else size} {sha256 or hashlib.sha256(data).hexdigest()}"


def of_no_time(_value: object) -> str:
    """Name cases without the time in them, which differs between processes."""
    return "case"


class Receiver:
    """A folder of a sender, and the program that adds to it."""

    def __init__(self, root: Path) -> None:
        self.program = root / "receive.pyz"
        self.program.write_bytes(program.program(receive))
        self.folder = root / "copies" / "pi-1"
        self.folder.mkdir(parents=True)
        (root / "secret").write_text("of another")

    def start(self, command: str | None, *, days: int = 30) -> subprocess.Popen[bytes]:
        environment = {} if command is None else {"SSH_ORIGINAL_COMMAND": command}
        words = [sys.executable, "-I", str(self.program), str(self.folder), str(days)]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd="/")

    def run(self, command: str | None, data: bytes = DATA, *, days: int = 30) -> tuple[int, str]:
        with self.start(command, days=days) as process:
            output, errors = process.communicate(data, timeout=60)
        return process.returncode, (output + errors).decode()

    def there(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}

    def put(self, of: str, data: bytes = b"old", *, ago: timedelta = timedelta()) -> Path:
        """Have a copy that came some time ago."""
        path = self.folder / of
        path.write_bytes(data)
        arrived = (NOW - ago).timestamp()
        os.utime(path, (arrived, arrived))
        return path


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return Receiver(tmp_path)


def test_a_backup_is_added_once(receiver: Receiver) -> None:
    assert receiver.run(add()) == (0, f"{NAME} was added\n")
    assert receiver.there() == {NAME: DATA}
    assert (receiver.folder / NAME).stat().st_mode & 0o777 == 0o600
    # Nothing has to come of what is there.
    assert receiver.run(add(), b"") == (0, f"{NAME} is there\n")
    assert receiver.there() == {NAME: DATA}


ONLY = "this key can add backups, and nothing else; expected the command"


@pytest.mark.parametrize(
    "command",
    [
        # No command is a shell.
        "",
        "sh",
        "bash -i",
        f"cat {NAME}",
        "ls",
        f"rm {NAME}",
        f"get {NAME}",
        # What sftp and scp ask for.
        "internal-sftp",
        "/usr/lib/openssh/sftp-server",
        f"scp -t {NAME}",
        f"scp -f {NAME}",
        f"rsync --server -e.LsfxC . {NAME}",
        # More than one.
        f"{add()}; id",
        f"{add()}\nid",
        f"{add()}\n",
        f" {add()}",
        f"{add()} && id",
        f"add $(id) {add().split(' ', 2)[2]}",
        f"add `id` {add().split(' ', 2)[2]}",
        # Names.
        add(f"../{NAME}"),
        add(f"../../{NAME}"),
        add(f"/{NAME}"),
        add(f"./{NAME}"),
        add(f"x/{NAME}"),
        add(f"/etc/{NAME}"),
        add(".."),
        add("."),
        add("../secret"),
        add("authorized_keys"),
        add(f"{NAME}.part"),
        add(f"{NAME}\0"),
        add(NAME.replace("pi-1", "..%2f")),
        add(NAME.replace("pi-1", "../x")),
        add(NAME.replace("pi-1", "")),
        add(NAME.replace("pi-1", "x" * 65)),
        add(NAME.replace("bramble-20", "bramble-٢٠")),
        add("bramble-20261399T000000Z-0fffefc56e99-pi-1.tar.gz.age"),
        # Numbers.
        add(size=0),
        add(size=-1),
        f"add {NAME} 1e3 {'0' * 64}",
        f"add {NAME} ٣ {'0' * 64}",
        f"add {NAME} {'9' * 40} {'0' * 64}",
        f"add {NAME} 3 {'0' * 63}",
        f"add {NAME} 3 {'G' * 64}",
        f"add {NAME} 3",
    ],
    ids=of_no_time,
)
def test_nothing_else_can_be_asked_for(command: str) -> None:
    with pytest.raises(copies.BackupError, match=ONLY):
        copies.request(command)


@pytest.mark.parametrize(
    "command", [None, "sh", "internal-sftp", f"{add()}; id", add(f"../{NAME}")], ids=of_no_time
)
def test_what_else_is_asked_for_changes_nothing(receiver: Receiver, command: str | None) -> None:
    receiver.put(name(timedelta(days=1)))
    before = receiver.there()
    code, said = receiver.run(command)
    assert (code, said.startswith(ONLY)) == (1, True), said
    assert receiver.there() == before
    assert sorted(path.name for path in receiver.folder.parent.iterdir()) == ["pi-1"]


@pytest.mark.parametrize(
    ("command", "data", "said"),
    [
        (add(), DATA[:-1], f"has {len(DATA)} bytes, and only {len(DATA) - 1} bytes came; expected all"),
        (add(), b"", f"has {len(DATA)} bytes, and only 0 bytes came"),
        (add(), DATA + b"x", f"has {len(DATA)} bytes, and more came"),
        (add(sha256="0" * 64), DATA, "came with another checksum; expected what the sender has"),
        (
            add(size=copies.LARGEST + 1),
            DATA,
            f"has {copies.LARGEST + 1} bytes; expected {copies.LARGEST} at most",
        ),
        (add(size=copies.LARGEST), DATA, "expected "),
        (add(name(timedelta(days=-2))), DATA, "is of a time to come; expected at most"),
    ],
    ids=of_no_time,
)
def test_what_is_not_what_was_said(receiver: Receiver, command: str, data: bytes, said: str) -> None:
    code, text = receiver.run(command, data)
    assert (code, said in text) == (1, True), text
    assert receiver.there() == {}
    # And the right one after that.
    assert receiver.run(add())[0] == 0


def test_what_is_there_is_not_replaced(receiver: Receiver, tmp_path: Path) -> None:
    assert receiver.run(add())[0] == 0
    for data in (b"other", DATA[:-1] + b"x"):
        code, said = receiver.run(add(data=data), data)
        assert (code, "is there with other content; expected a name that is not taken" in said) == (1, True)
    assert receiver.there() == {NAME: DATA}


@pytest.mark.parametrize("kind", ["link", "link to nowhere", "folder", "pipe"])
def test_what_is_no_file_is_not_followed(receiver: Receiver, tmp_path: Path, kind: str) -> None:
    path, target = receiver.folder / NAME, tmp_path / "secret"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(target if kind == "link" else tmp_path / "new")
    code, said = receiver.run(add(data=b"of another"), b"of another")
    assert (code, "is there with other content" in said) == (1, True), said
    assert target.read_text() == "of another"
    assert not (tmp_path / "new").exists()
    # Nor is one under the name that is written to first.
    if kind.startswith("link"):
        path.rename(receiver.folder / f"{NAME}.part")
        assert receiver.run(add())[0] == 0
        assert target.read_text() == "of another"
        assert not (tmp_path / "new").exists()


def test_a_folder_that_is_a_link_is_not_followed(receiver: Receiver, tmp_path: Path) -> None:
    receiver.folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    receiver.folder.symlink_to(tmp_path / "elsewhere")
    assert receiver.run(add())[0] == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_one_that_is_ended_leaves_nothing_that_counts(receiver: Receiver, number: signal.Signals) -> None:
    with receiver.start(add()) as process:
        assert process.stdin is not None
        process.stdin.write(DATA[:9000])
        process.stdin.flush()
        part = receiver.folder / f"{NAME}.part"
        while not part.exists():
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert NAME not in receiver.there()
    assert part.exists() == (number == signal.SIGKILL)
    assert receiver.run(add())[0] == 0
    assert receiver.there() == {NAME: DATA}


def test_one_at_a_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = os.open(receiver.folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    monkeypatch.setattr(receive, "_WAIT", 0.1)
    try:
        with pytest.raises(copies.BackupError, match="another copy has been coming to"):
            receive.receive(folder=str(receiver.folder), days=30, command=add(), source=sys.stdin.buffer)
    finally:
        os.close(descriptor)
    assert receiver.run(add())[0] == 0


def test_a_day_has_its_limit(receiver: Receiver) -> None:
    for number in range(copies.PER_DAY - 1):
        receiver.put(name(timedelta(minutes=number + 1)), ago=timedelta(hours=1))
    receiver.put(name(timedelta(days=3)), ago=timedelta(days=2))
    assert receiver.run(add())[0] == 0
    second = name(timedelta(days=5))
    code, said = receiver.run(add(second))
    assert (code, "has 48 copies of the last 24 hours; expected fewer than 48" in said) == (1, True), said


def test_whoever_adds_some_makes_none_go_before_its_time(receiver: Receiver) -> None:
    kept = [
        # Whatever one of the two clocks said.
        receiver.put(name(timedelta(days=29)), ago=timedelta(days=29)),
        receiver.put(name(timedelta(days=29, hours=1)), ago=timedelta(days=20000)),
        receiver.put(name(timedelta(days=400)), ago=timedelta(days=1)),
        receiver.put("notes.txt", ago=timedelta(days=400)),
    ]
    gone = receiver.put(name(timedelta(days=31)), ago=timedelta(days=31))
    for number in range(4):
        assert receiver.run(add(name(timedelta(minutes=number), owner=f"{number:012x}-other")))[0] == 0
    assert [path for path in kept if not path.exists()] == []
    assert not gone.exists()


def test_a_disk_that_is_full_of_old_ones_gets_room(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = receiver.put(name(timedelta(days=1)), ago=timedelta(days=1))
    old = receiver.put(name(timedelta(days=40)), ago=timedelta(days=40))
    # As the disk is, by what is there.
    monkeypatch.setattr(copies, "refusal", lambda *_given, **_more: "no room" if old.exists() else "")
    assert "was added" in receive.receive(
        folder=str(receiver.folder), days=30, command=add(), source=io.BytesIO(DATA)
    )
    assert newest.exists()


def test_a_clock_that_jumps_ahead_removes_nothing() -> None:
    there = [copies.Copy(name(timedelta(days=day)), 1, NOW - timedelta(days=day)) for day in range(40)]
    later = NOW + timedelta(days=20000)
    assert copies.expired(there, now=later, days=30) == copies.expired(there, now=NOW, days=30)
    assert len(copies.expired(there, now=NOW, days=30)) == 9
    # The newest one stays.
    assert copies.expired(there[39:], now=later, days=1) == []


FULL = """
import sys
from ansible_collections.bramble.pi.plugins.module_utils._backup import copies, receive
if sys.argv[1]:
    # As where others fill the disk meanwhile.
    copies.refusal = lambda *_given, **_more: ""
sys.argv[1:] = [sys.argv[2], "30"]
receive.main()
"""
DISK = """
set -e
mount -t tmpfs -o "$1" tmpfs "$2"
[ -z "$3" ] || head -c "$3" /dev/zero >"$2/others"
shift 3
cd "$1"
"$2" -c "$3" "$4" "$1" || code=$?
ls -A
exit "${code:-0}"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.parametrize(
    ("disk", "others", "unwatched", "said"),
    [
        ("size=10m", "", "", "was added"),
        (
            "size=9m",
            "",
            "",
            "would have 1 MiB of copies of the last 24 hours; expected a tenth of its disk at",
        ),
        (
            "size=10m",
            "8500000",
            "",
            "has 1 MiB free; expected 2 MiB or more, so that a tenth of the disk stays",
        ),
        ("size=10m", "10000000", "watch no more", "No space left on device; expected room for it: free some"),
        ("size=10m,nr_inodes=1", "", "", "No space left on device; expected room for it: free some"),
    ],
)
def test_a_small_disk(receiver: Receiver, disk: str, others: str, unwatched: str, said: str) -> None:
    data = os.urandom(1 << 20)
    folder = str(receiver.folder)
    words = [disk, folder, others, folder, sys.executable, FULL, unwatched]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "sh", "-c", DISK, "sh", *words],
        input=data,
        capture_output=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(receive.__file__).parents[6]),
            "SSH_ORIGINAL_COMMAND": add(data=data),
        },
    )
    text = (done.stdout + done.stderr).decode()
    assert said in text
    # Nothing is left of one that had no room.
    assert (NAME in done.stdout.decode().split("\n"), b".part" in done.stdout) == (
        done.returncode == 0,
        False,
    ), text
    assert (done.returncode == 0) == (said == "was added")
