# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself, in a process of its own and on real files."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.kill import Moment
from tests.unit.python_server import run_python

REPOSITORY = Path(__file__).parents[4]
FIXTURES = REPOSITORY / "tests/unit/fixtures/cmdline"
MODULE = REPOSITORY / "plugins/modules/kernel_cmdline.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".collections")}

OLD = "console=serial0,115200 console=tty1 root=PARTUUID=4d8097e2-02 rootfstype=ext4 rootwait quiet\n"
NEW = OLD.replace("\n", " cgroup_enable=memory\n")
STARTED = "reboot=w cgroup_disable=memory vc_mem.mem_size=0x40000000  "


def start(line: str) -> str:
    """Do what the firmware of a Pi does to the line of a file."""
    return STARTED + line.replace("serial0", "ttyAMA10")


def run(command: list[str], options: dict[str, Any], *, check: bool) -> dict[str, Any]:
    arguments = {"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check}}
    done = subprocess.run(
        command, input=json.dumps(arguments), capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def run_here(options: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    """Run the module on this machine's own files."""
    arguments = {"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check}}
    done = run_python([MODULE], text=json.dumps(arguments), environment=ENVIRONMENT)
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


class Node:
    """A folder with a command line file, and the line that the kernel was started with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "boot"
        self.folder.mkdir()
        self.cmdline = self.folder / "cmdline.txt"
        self.cmdline.write_text(OLD)
        self.backup = self.folder / "cmdline.txt.bramble-original"
        self.running = folder / "running"
        self.reboot()

    def reboot(self) -> None:
        self.running.write_text(start(self.cmdline.read_text()))

    def options(self, **options: Any) -> dict[str, Any]:
        return {"path": str(self.cmdline), "running": str(self.running), **options}

    def run(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        return run_here(self.options(**options), check=check)

    def refuse(self, reason: str, **options: Any) -> None:
        """Expect the same refusal with check mode and without, and nothing touched."""
        before = {path: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}
        for check in (True, False):
            result = self.run(check=check, **options)
            assert result.get("failed"), result
            assert reason in result["msg"]
            assert "Traceback" not in result["msg"]
        assert {path: path.read_bytes() for path in self.folder.iterdir() if path.is_file()} == before


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_check_apply_check_apply(node: Node) -> None:
    wish: dict[str, Any] = {"present": ["cgroup_enable=memory"]}

    checked = node.run(check=True, **wish)
    assert node.cmdline.read_text() == OLD
    assert not node.backup.exists()

    applied = node.run(**wish)
    assert {key: checked[key] for key in applied if key in checked} | {"size": 0} == applied | {"size": 0}
    assert applied["changed"]
    assert applied["reboot_required"]
    assert applied["path"] == str(node.cmdline)
    assert applied["layout"] == "path"
    assert applied["cmdline"] == NEW.strip()
    assert applied["changed_files"] == [str(node.cmdline)]
    assert applied["backup_file"] == str(node.backup)
    assert [(diff["before"], diff["after"]) for diff in applied["diff"]] == [(OLD, NEW)]
    assert node.cmdline.read_text() == NEW
    assert node.backup.read_text() == OLD

    for check in (True, False):
        again = node.run(check=check, **wish)
        assert not again["changed"]
        assert again["reboot_required"], "the kernel still runs without it"
        assert (again["changed_files"], again["diff"]) == ([], [])
    assert node.cmdline.read_text() == NEW

    node.reboot()
    assert not node.run(**wish)["reboot_required"]
    assert sorted(path.name for path in node.folder.iterdir()) == [
        "cmdline.txt",
        "cmdline.txt.bramble-original",
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"present": ["quiet", False]},
            "'present' has the boolean false as entry 2; expected text: put it in",
        ),
        ({"absent": [1.30]}, "'absent' has the number 1.3 as entry 1"),
        (
            {"absent": "console=serial0,115200"},
            "'absent' is the text 'console=serial0,115200'; expected a list",
        ),
        ({"present": None}, "'present' is null; expected a list of texts"),
        ({"present": [None]}, "'present' has null as entry 1; expected text."),
        ({"present": [{"panic": 10}]}, "'present' has a mapping as entry 1; expected text."),
        ({"set": {"panic": True}}, "'set' has True (bool) for 'panic'"),
    ],
)
def test_what_is_no_text_is_refused(node: Node, options: dict[str, Any], reason: str) -> None:
    node.refuse(reason, **options)


def test_as_ansible_runs_it(node: Node, tmp_path: Path) -> None:
    options = node.options(present=["cgroup_enable=memory"], absent=["quiet"], set={"panic": 10})
    task = {"bramble.pi.kernel_cmdline": options, "register": "result"}
    expected = OLD.replace("quiet\n", "panic=10 cgroup_enable=memory")

    def step(check: bool, changed: bool) -> list[dict[str, Any]]:
        expectations = [
            "result is changed" if changed else "result is not changed",
            "result.reboot_required",
            f"result.cmdline == {expected!r}",
        ]
        return [
            {"name": "Edit", "check_mode": check, **task},
            {"name": "Assert", "ansible.builtin.assert": {"that": expectations}},
        ]

    tasks = [*step(True, True), *step(False, True), *step(True, False), *step(False, False)]
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *["-i", "localhost,", "-c", "local", "--diff"],
            *["-e", "ansible_python_interpreter={{ ansible_playbook_python }}"],
            playbook,
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"\n+{expected}\n" in done.stdout
    assert node.cmdline.read_text() == expected + "\n"


def test_the_first_original_is_kept(node: Node) -> None:
    node.run(present=["a"])
    node.run(present=["b"])
    assert node.backup.read_text() == OLD


def test_no_backup_on_wish(node: Node) -> None:
    assert node.run(present=["a"], backup=False)["backup_file"] is None
    assert not node.backup.exists()


def test_owner_and_mode_are_kept(node: Node) -> None:
    node.cmdline.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(node.cmdline, 12, 34)
    before = node.cmdline.stat()
    node.run(present=["a"])
    for path in (node.cmdline, node.backup):
        after = path.stat()
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_link_is_followed_and_stays(node: Node, tmp_path: Path) -> None:
    link = tmp_path / "cmdline.txt"
    link.symlink_to("boot/cmdline.txt")
    result = node.run(path=str(link), present=["a"])
    assert result["path"] == str(node.cmdline)
    assert link.is_symlink()
    assert node.cmdline.read_text() == OLD.replace("\n", " a\n")
    assert node.backup.exists()


def test_nothing_asked_reports_only(node: Node) -> None:
    result = node.run()
    assert (result["changed"], result["reboot_required"]) == (False, False)
    assert result["cmdline"] == OLD.strip()
    assert result["backup_file"] is None


@pytest.mark.parametrize("end", ["", "\r\n \n"])
def test_one_newline_is_at_the_end(node: Node, end: str) -> None:
    node.cmdline.write_bytes(OLD.strip().encode() + end.encode())
    result = node.run()
    assert (result["changed"], result["reboot_required"]) == (True, False)
    assert node.cmdline.read_text() == OLD
    assert not node.run()["changed"]


# Refusals


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"root=a\nquiet\n", "2 lines"),
        (b"root=a\0\n", "is not text"),
        (b"root=a " + b"x" * 2048, "bytes"),
    ],
)
def test_a_file_that_is_no_command_line_is_refused(node: Node, content: bytes, reason: str) -> None:
    node.cmdline.write_bytes(content)
    node.refuse(reason, present=["a"])


def test_losing_root_is_refused(node: Node) -> None:
    node.refuse("would be left without root=", absent=["root=PARTUUID=4d8097e2-02"])


def test_contradictions_are_refused(node: Node) -> None:
    node.refuse("is in 'absent' as well", present=["a"], absent=["a"])


def test_a_link_to_nowhere_is_refused(node: Node) -> None:
    node.cmdline.unlink()
    node.cmdline.symlink_to("firmware/cmdline.txt")
    node.refuse("is a link to firmware/cmdline.txt, which does not exist", present=["a"])


def test_no_such_file_is_refused(node: Node) -> None:
    node.refuse("does not exist", path="/no/such/file", present=["a"])
    node.refuse("/no/such/running", running="/no/such/running", present=["a"])


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_file_is_refused(node: Node, kind: str) -> None:
    node.cmdline.unlink()
    if kind == "folder":
        node.cmdline.mkdir()
    else:
        os.mkfifo(node.cmdline)
    result = node.run(present=["a"])
    assert "is not a regular file" in result["msg"]


# A process that is killed

EVENTS = "open|os.chmod|os.chown|os.listdir|os.remove|os.rename"


def test_a_kill_at_any_point_leaves_the_old_or_the_new_file(node: Node) -> None:
    options = json.dumps({"ANSIBLE_MODULE_ARGS": node.options(present=["cgroup_enable=memory"])})
    seen = set()
    for count in range(1, 100):
        node.cmdline.write_text(OLD)
        node.backup.unlink(missing_ok=True)
        done = subprocess.run(
            Moment("", EVENTS, re.escape(str(node.folder)), count).command(MODULE),
            input=options,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            check=False,
        )
        seen.add(node.cmdline.read_text())
        if node.backup.exists():
            assert node.backup.read_text() == OLD
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    # Read, list and open for the copy, rename it, sync; the same for the file.
    assert count > 8
    assert seen == {OLD, NEW}


def test_the_run_after_a_kill_goes_on_and_tidies_up(node: Node) -> None:
    left_over = node.folder / ".cmdline.txt.bramble-new-abc"
    left_over.write_text("half a li")
    node.run(present=["cgroup_enable=memory"])
    assert node.cmdline.read_text() == NEW
    assert not left_over.exists()


# The layouts, in a mount namespace where the fixture's /boot and /etc are the real ones


class Rooted:
    """A copy of a fixture that is mounted over /boot and /etc."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def use(self, system: str) -> None:
        shutil.copytree(FIXTURES / system, self.root, dirs_exist_ok=True)
        for folder in ("boot", "etc/default"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run(self, *, before: str = "true", check: bool = False, **options: Any) -> dict[str, Any]:
        root = shlex.quote(str(self.root))
        script = (
            f"mount --bind {root}/boot /boot && mount --bind {root}/etc /etc && {before} && "
            f"exec {shlex.quote(sys.executable)} {shlex.quote(str(MODULE))}"
        )
        running = self.root / "running"
        if running.exists():
            options.setdefault("running", str(running))
        return run(["unshare", "--mount", "sh", "-c", script], options, check=check)


@pytest.fixture
def rooted(tmp_path: Path) -> Rooted:
    probe = "mkdir a && mount --bind a /boot && mount --bind a /etc"
    if subprocess.run(
        ["unshare", "--mount", "sh", "-c", probe], cwd=tmp_path, capture_output=True, check=False
    ).returncode:
        pytest.skip("no mount namespace can be made here: not root, or not allowed to")
    root = tmp_path / "root"
    root.mkdir()
    return Rooted(root)


def test_stubs_of_raspberry_pi_os_are_not_touched(rooted: Rooted) -> None:
    rooted.use("raspios-trixie")
    stub = rooted.read("/boot/cmdline.txt")
    result = rooted.run(present=["cgroup_enable=memory"])
    assert (result["layout"], result["path"]) == ("firmware", "/boot/firmware/cmdline.txt")
    assert rooted.read("/boot/firmware/cmdline.txt").endswith("regdom=GB cgroup_enable=memory\n")
    assert rooted.read("/boot/cmdline.txt") == stub
    # With the boot partition not mounted, the stub is all there is.
    shutil.rmtree(rooted.root / "boot/firmware")
    result = rooted.run(present=["cgroup_enable=memory"])
    assert "has moved to /boot/firmware/cmdline.txt" in result["msg"]
    assert rooted.read("/boot/cmdline.txt") == stub


def test_no_file_names_the_places(rooted: Rooted) -> None:
    rooted.use("raspios-trixie")
    (rooted.root / "boot/firmware/cmdline.txt").unlink()
    result = rooted.run(present=["a"])
    assert "looked for /boot/firmware/cmdline.txt" in result["msg"]


def test_ab_boot_edits_what_counts_and_what_is_tried_next(rooted: Rooted) -> None:
    rooted.use("ubuntu-25.10")
    line = rooted.read("/boot/firmware/current/cmdline.txt")
    useless = rooted.read("/boot/firmware/cmdline.txt")
    rooted.write("/boot/firmware/new/cmdline.txt", line)
    rooted.write("/boot/firmware/new/state", "unknown\n")

    result = rooted.run(present=["cgroup_enable=memory"])
    assert result["layout"] == "ab"
    assert result["path"] == "/boot/firmware/current/cmdline.txt"
    assert result["changed_files"] == [result["path"], "/boot/firmware/new/cmdline.txt"]
    assert result["reboot_required"]
    for slot in ("current", "new"):
        expected = line.replace("\n", " cgroup_enable=memory\n")
        assert rooted.read(f"/boot/firmware/{slot}/cmdline.txt") == expected
    assert rooted.read("/boot/firmware/cmdline.txt") == useless
    assert not rooted.run(present=["cgroup_enable=memory"])["changed"]


def test_generated_line_is_edited_with_its_source(rooted: Rooted) -> None:
    rooted.use("debian-bookworm")
    line = rooted.read("/boot/firmware/cmdline.txt")
    extra = "/etc/default/raspi-extra-cmdline"
    wish: dict[str, Any] = {
        "present": ["cgroup_enable=memory", "rootwait"],
        "absent": ["rw"],
        "set": {"console": "tty1"},
    }

    checked = rooted.run(check=True, **wish)
    assert checked["changed_files"] == ["/boot/firmware/cmdline.txt", extra]
    assert not (rooted.root / extra.lstrip("/")).exists()

    result = rooted.run(**wish)
    assert result["layout"] == "raspi-firmware"
    after = "console=tty1 root=LABEL=RASPIROOT fsck.repair=yes net.ifnames=0 rootwait cgroup_enable=memory\n"
    assert rooted.read("/boot/firmware/cmdline.txt") == after
    assert rooted.read(extra) == "console=tty1 cgroup_enable=memory\n"
    assert (rooted.root / extra.lstrip("/")).stat().st_mode & 0o777 == 0o644
    warnings = json.dumps(result["warnings"])
    assert "console=tty0 comes back" in warnings
    assert "set CONSOLES in /etc/default/raspi-firmware" in warnings
    assert "rw comes back in /boot/firmware/cmdline.txt" in warnings

    again = rooted.run(**wish)
    assert not again["changed"]
    assert "warnings" not in again

    # The next update of a kernel writes the line again, with what is in the source.
    rooted.write("/boot/firmware/cmdline.txt", line.rstrip("\n") + rooted.read(extra))
    result = rooted.run(present=["cgroup_enable=memory"])
    assert not result["changed"]


def test_a_source_of_several_lines_is_refused(rooted: Rooted) -> None:
    rooted.use("debian-bookworm")
    line = rooted.read("/boot/firmware/cmdline.txt")
    rooted.write("/etc/default/raspi-extra-cmdline", "# a comment\nquiet\n")
    result = rooted.run(present=["a"])
    assert "/etc/default/raspi-extra-cmdline has 2 lines" in result["msg"]
    assert rooted.read("/boot/firmware/cmdline.txt") == line


def test_a_read_only_boot_partition_is_named(rooted: Rooted) -> None:
    rooted.use("raspios-trixie")
    read_only = "mount --bind /boot/firmware /boot/firmware && mount -o remount,bind,ro /boot/firmware"
    for check in (True, False):
        result = rooted.run(before=read_only, check=check, present=["a"])
        assert "mount -o remount,rw /boot/firmware" in result["msg"]
    # Nothing to change is nothing to complain about.
    assert not rooted.run(before=read_only, present=["rootwait"])["changed"]
