# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian systems for tests, made out of packages of this machine's own mirror; each is made once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CACHE = Path.home() / ".cache" / "bramble"


def mirror() -> str:
    """Return the URL of the Debian archive that apt on this machine uses."""
    found = _output(
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        "Origin: Debian",
        "Label: Debian",
        "Component: main",
    ).split()
    if not found:
        raise RuntimeError("apt names no Debian archive that a system could be made from; run apt-get update")
    return found[0]


def apt_settings() -> list[str]:
    """Return how apt on this machine downloads, as lines of apt.conf, as mmdebstrap reads none of that."""
    return [
        line
        for line in _output("apt-config", "dump", "--format", '%F "%v";%n', "Acquire").splitlines()
        if any(word in line for word in ("Proxy", "::Check-", "::Retries")) and '""' not in line
    ]


def root(release: str, *, variant: str, packages: Sequence[str]) -> Path:
    """Return a folder with a Debian of this machine's architecture in it."""

    def make(folder: Path) -> None:
        print(f"\nMaking a Debian {release}, which takes up to a minute", flush=True)
        keyring = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        command = [
            *("mmdebstrap", "--mode=root", f"--variant={variant}", f"--include={','.join(packages)}"),
            *(f"--aptopt={line}" for line in apt_settings()),
            *(release, str(folder / "root"), f"deb {keyring} {mirror()} {release} main"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"mmdebstrap failed:\n{done.stderr[-4000:]}")

    key = hashlib.sha256(repr((variant, sorted(packages))).encode()).hexdigest()[:12]
    return kept(folder=CACHE / "systems", kind=f"{release}-{variant}", key=key, make=make) / "root"


def package(name: str, *, release: str) -> Path:
    """Return a folder with what a package of a release holds, the newest of it; nothing is installed."""

    def make(folder: Path) -> None:
        print(f"\nFetching {name} of Debian {release}, which takes up to a minute", flush=True)
        apt = folder / "apt"
        for part in ("lists/partial", "archives/partial", "download"):
            (apt / part).mkdir(parents=True)
        (apt / "status").touch()
        keyring = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        (apt / "sources.list").write_text(f"deb {keyring} {mirror()} {release} main\n")
        settings = {
            "Dir::State": apt,
            "Dir::State::status": apt / "status",
            "Dir::Cache": apt,
            "Dir::Etc::sourcelist": apt / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Acquire::Languages": "none",
            # Whom apt downloads as cannot write to root's folders.
            "APT::Sandbox::User": "root",
        }
        command = ["apt-get", *(f"--option={key}={value}" for key, value in settings.items())]
        subprocess.run([*command, "update"], check=True, capture_output=True)
        subprocess.run([*command, "download", name], check=True, capture_output=True, cwd=apt / "download")
        (archive,) = (apt / "download").glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", archive, folder / "root"], check=True)
        remove(apt)

    return kept(folder=CACHE / "packages", kind=f"{name}-of-{release}", key="1", make=make) / "root"


def inside(root: Path, *, mounts: Mapping[Path, str], environment: Mapping[str, str]) -> list[str]:
    """Return what comes before a command that is to run in such a system, as its root and without a network.

    ``mounts``: folders of this machine, and where the system has them. All of it is gone with the command.
    """
    steps = ["set -e", "mount -t proc proc proc", "mount --rbind /dev dev"]
    steps += [f"mount -t tmpfs tmpfs {folder}" for folder in ("tmp", "root")]
    steps += [f"mount --bind {shlex.quote(str(source))} .{target}" for source, target in mounts.items()]
    folders = ["proc", "dev", "tmp", "root", *(target.lstrip("/") for target in mounts.values())]
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    variables = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root", "LC_ALL": "C.UTF-8", **environment}
    words = ["exec", "env", "-i", *(f"{name}={value}" for name, value in variables.items()), "chroot", "."]
    script = "\n".join([f"cd {shlex.quote(str(root))}", *steps, f'{shlex.join(words)} "$@"'])
    return ["unshare", "--mount", "--net", "sh", "-c", script, "sh"]


def kept(*, folder: Path, kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of that kind and key, made if it is not there; others of the kind are removed."""
    path = folder / f"{kind}-{key}"
    with _lock(folder, kind):
        if not path.exists():
            for old in folder.glob(f"{kind}-*"):
                remove(old)
            part = path.with_suffix(".part")
            part.mkdir()
            make(part)
            part.rename(path)
    return path


def remove(folder: Path) -> None:
    """Remove a folder, and nothing of what is mounted in it."""
    # A tree that was interrupted may have the machine's own /proc and /dev there.
    subprocess.run(["rm", "--recursive", "--force", "--one-file-system", folder], check=True)


@contextmanager
def _lock(folder: Path, name: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
