# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings containerd from Docker's repository, or from its release archive; images and containers stay.

All sources keep them in /var/lib/containerd.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence

from ansible_collections.bramble.pi.plugins.module_utils._common import apt
from ansible_collections.bramble.pi.plugins.module_utils._common.apt_repository import AptRepository, Key
from ansible_collections.bramble.pi.plugins.module_utils._common.apt_sources import naming, source_text
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.download import download, file_sha256
from ansible_collections.bramble.pi.plugins.module_utils._common.files import (
    MANAGED,
    read_text,
    replace_file,
    write_text,
)
from ansible_collections.bramble.pi.plugins.module_utils._common.os_release import parse_os_release
from ansible_collections.bramble.pi.plugins.module_utils._containers import base, sources

_SOURCE = "/etc/apt/sources.list.d/docker.sources"
_KEYRING = "/etc/apt/keyrings/docker.asc"
#: Where releases of containerd are put, as its own guide has it; before the distribution's in PATH.
#: https://github.com/containerd/containerd/blob/main/docs/getting-started.md
_BIN, _RUNC = "/usr/local/bin", "/usr/local/sbin/runc"
_FOLDER = "/usr/local/lib/bramble-containerd"
_NEW = f"{_FOLDER}/new"
#: Written last: which archives are unpacked.
RECEIPT = f"{_FOLDER}/receipt.json"
#: The unit is that of the distribution's package, which docker.io depends on.
_DROP_IN = "/etc/systemd/system/containerd.service.d/bramble.conf"
_DROP_IN_TEXT = f"{MANAGED}[Service]\nExecStart=\nExecStart={_BIN}/containerd\n"
#: Of apt, where a repository has not what is asked of it.
_UNAVAILABLE = re.compile(r"Unable to locate package|no installation candidate|was not found")
#: What is run before it is put there. A node stays Ready with a runc that does not run, and starts no pod.
_PROVED = {sources.CONTAINERD: f"{_BIN}/containerd", sources.RUNC: _RUNC}
_SAYS: Mapping[str, Callable[[str], object]] = {
    sources.CONTAINERD: sources.reported_version,
    sources.RUNC: lambda output: output.startswith("runc version"),
}
_REMEDY = (
    f"rm -r {_FOLDER} {_DROP_IN} {_RUNC} {_BIN}/containerd* {_BIN}/ctr; "
    "systemctl daemon-reload; systemctl restart containerd"
)
#: A containerd that was started before one of these was written is another one than is installed.
REPLACED = (RECEIPT, _DROP_IN, "/var/lib/dpkg/info/containerd.io.list")


def installed_packages(*, host: base.Host) -> dict[str, apt.Package]:
    """Ask dpkg for all that a source is about."""
    return apt.read_packages(text=host.run([*apt.DPKG_QUERY, *sources.PACKAGES])[1])


def refuse(*, host: base.Host, wishes: base.Wishes, runtime: base.Runtime) -> dict[str, apt.Package]:
    """Fail if containerd cannot come from where it is to come from; return what is installed."""
    installed = installed_packages(host=host) if wishes.containerd_source != sources.OS else {}
    problems = list(
        sources.problems(
            source=wishes.containerd_source,
            runtime=runtime.name,
            installed=installed,
            receipt=_receipt(host=host) or _begun(host=host),
            archives=wishes.archives,
            remedy=_REMEDY,
        )
    )
    if problems:
        raise base.RuntimeStateError(f"{'; '.join(problems)}. Nothing was changed")
    return installed


def _receipt(*, host: base.Host) -> dict[str, str]:
    return sources.parse_receipt(read_text(host.root + RECEIPT))


def _begun(*, host: base.Host) -> dict[str, str]:
    """Return what stands for the receipt where a run was killed between the drop-in and that."""
    return {sources.CONTAINERD: ""} if read_text(host.root + _DROP_IN) is not None else {}


def prepare(*, host: base.Host, wishes: base.Wishes, installed: Mapping[str, apt.Package]) -> None:
    """Have all that may fail before the node is drained: no pod feels what is downloaded and proved."""
    if wishes.containerd_source == sources.ARCHIVE:
        due = _due(host=host, wishes=wishes, installed=installed)
        if due:
            _ready(due, host=host, wishes=wishes)
            shutil.rmtree(f"{host.root}{_NEW}")
    elif wishes.containerd_source == sources.DOCKER:
        missing = sources.missing_packages(installed=installed)
        if missing:
            _repository(host=host, wishes=wishes, refresh=True)
            _simulate(missing, host=host)


def from_docker(*, host: base.Host, wishes: base.Wishes, installed: Mapping[str, apt.Package]) -> list[str]:
    """Install Docker's own packages, and return which."""
    missing = sources.missing_packages(installed=installed)
    _repository(host=host, wishes=wishes, refresh=bool(missing))
    if not missing:
        return []
    others = [name for name in wishes.packages if name not in ("docker.io", "containerd", *missing)]
    if host.changes.note(f"Install {' '.join([*missing, *others])}"):
        _simulate(missing, host=host)
        apt.install(run=host.run, arguments=[*_arguments(missing), *others])
    return missing


def _arguments(missing: Sequence[str]) -> list[str]:
    return [f"{name}=2.*" if name == "containerd.io" else name for name in missing]


def _simulate(missing: Sequence[str], *, host: base.Host) -> None:
    """Fail if apt would remove more than what these take the place of."""
    simulate = ["apt-get", "install", "--simulate", "--no-install-recommends", *_arguments(missing)]
    code, output, errors = host.run(simulate)
    # What dpkg was interrupted at is finished by the installation itself.
    if code != 0 and _UNAVAILABLE.search(errors):
        raise apt.AptError(apt.failure_cause(output=output, error=errors))
    surplus = sources.in_the_way(simulated=output)
    if surplus:
        raise base.RuntimeStateError(
            f"{' '.join(missing)} cannot be installed beside {', '.join(surplus)}, which apt would remove"
            f"; expected none that depends on the distribution's containerd: run apt-get remove "
            f"{' '.join(surplus)}, or set docker_containerd_source to os"
        )


def _repository(*, host: base.Host, wishes: base.Wishes, refresh: bool) -> None:
    release = parse_os_release(text=read_text(f"{host.root}/etc/os-release") or "")
    distribution = release.get("ID", "debian")
    url = sources.repository_url(template=wishes.docker_repository["url"], distribution=distribution)
    key = wishes.docker_repository.get("key") or f"{url.rstrip('/')}/gpg"
    repository = AptRepository(
        path=_SOURCE,
        text=source_text(
            role="docker",
            url=url,
            suite=release.get("VERSION_CODENAME", ""),
            component="stable",
            keyring=_KEYRING,
        ),
        url=url,
        key=Key(
            url=sources.repository_url(template=key, distribution=distribution),
            path=_KEYRING,
            variable="docker_repository_key",
            variables="docker_repository_key or docker_repository",
            remedy="set docker_repository_key to a URL that begins with https://",
        ),
        run=host.run,
        warn=host.warn,
        changes=host.changes,
        root=host.root,
    )
    # Docker's packages are there by a source of the user's own, which may have another Signed-By.
    if not refresh and naming(files=repository.others(), url=url):
        return
    repository.ensure(refresh=refresh)
    if refresh and not host.changes.check_mode:
        repository.update()


def from_archive(*, host: base.Host, wishes: base.Wishes, installed: Mapping[str, apt.Package]) -> list[str]:
    """Unpack the release archives that are not there yet, and return which."""
    due = _due(host=host, wishes=wishes, installed=installed)
    if due and host.changes.note(f"Install {', '.join(wishes.archives[part]['url'] for part in due)}"):
        for target, path in _ready(due, host=host, wishes=wishes).items():
            os.makedirs(os.path.dirname(host.root + target), exist_ok=True)
            with open(path, "rb") as new:
                replace_file(host.root + target, new.read(), mode=0o755, owner=(os.getuid(), os.getgid()))
        shutil.rmtree(f"{host.root}{_NEW}")
    written = host.changes.write(_DROP_IN, _DROP_IN_TEXT, sentence=f"Write {_DROP_IN}")
    # A run that was killed may have written it, and told nobody.
    if (written or due) and not host.changes.check_mode:
        output_of(host.run, ["systemctl", "daemon-reload"])
    if due and not host.changes.check_mode:
        receipt = _receipt(host=host)
        receipt.update({part: wishes.archives[part]["sha256"].lower() for part in due})
        write_text(host.root + RECEIPT, json.dumps(receipt, indent=2) + "\n")
        for part in due:
            os.unlink(_kept(part, host=host))
    return due


def _due(*, host: base.Host, wishes: base.Wishes, installed: Mapping[str, apt.Package]) -> list[str]:
    return sources.due_parts(archives=wishes.archives, receipt=_receipt(host=host), installed=installed)


def _ready(due: Sequence[str], *, host: base.Host, wishes: base.Wishes) -> dict[str, str]:
    """Download, unpack and prove archives: where each file belongs, and where it is."""
    files = {part: _fetch(part, host=host, archive=wishes.archives[part]) for part in due}
    folder = f"{host.root}{_NEW}"
    # What a run that was killed has left.
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    placed = {
        target: path
        for part, file in files.items()
        for target, path in _unpack(part, file, folder=folder, cni_bin_dir=wishes.cni_bin_dir)
    }
    for part, target in _PROVED.items():
        _prove(part, host=host, wishes=wishes, program=placed.get(target))
    return placed


def _kept(part: str, *, host: base.Host) -> str:
    return f"{host.root}{_FOLDER}/{part}.download"


def _fetch(part: str, *, host: base.Host, archive: Mapping[str, str]) -> str:
    """Download an archive; a run that is killed goes on there."""
    path = _kept(part, host=host)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.exists(path) and file_sha256(path) == archive["sha256"].lower():
        return path
    download(
        url=archive["url"],
        path=path,
        sha256=archive["sha256"],
        variable=f"docker_{part}_url",
        checksum_variable=f"docker_{part}_sha256",
    )
    return path


def _unpack(part: str, file: str, *, folder: str, cni_bin_dir: str) -> Iterator[tuple[str, str]]:
    """Unpack the programs of an archive into a folder: where each one belongs, and where it is."""
    if part == sources.RUNC:
        yield _RUNC, file
        return
    target = _BIN if part == sources.CONTAINERD else cni_bin_dir
    names = []
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                where, name = os.path.split(os.path.normpath(member.name))
                content = archive.extractfile(member) if member.isfile() else None
                if content is None or where != ("bin" if part == sources.CONTAINERD else ""):
                    continue
                path = os.path.join(folder, f"{part}-{name}")
                with open(path, "wb") as unpacked:
                    shutil.copyfileobj(content, unpacked)
                os.chmod(path, 0o700)
                names.append(name)
                yield f"{target}/{name}", path
    except (tarfile.TarError, EOFError) as error:
        raise base.RuntimeStateError(
            f"the file of docker_{part}_url cannot be unpacked: {str(error).splitlines()[0]}; expected a "
            "release archive (.tar.gz)"
        ) from error
    if part == sources.CONTAINERD and "containerd" not in names:
        raise base.RuntimeStateError(
            "the archive of docker_containerd_url has no bin/containerd; expected "
            "containerd-VERSION-linux-ARCHITECTURE.tar.gz of containerd's releases: set docker_containerd_url"
        )


def _prove(part: str, *, host: base.Host, wishes: base.Wishes, program: str | None) -> None:
    """Run a new program before it gets its place: it may be of another architecture, or too old."""
    if program is None:
        return
    os.chmod(program, 0o700)
    code, output, errors = host.run(["env", program, "--version"])
    if code != 0 or not _SAYS[part](output):
        said = (errors.strip() or output.strip() or "nothing").replace(program, part)
        raise base.RuntimeStateError(
            f"the {part} of docker_{part}_url does not run here, it says: {said}; expected one for "
            f"the node's architecture ('dpkg --print-architecture'): set docker_{part}_url and "
            f"docker_{part}_sha256. Nothing was replaced"
        )
    if part != sources.CONTAINERD:
        return
    there = sources.reported_version(host.run(["env", "containerd", "--version"])[1])
    problem = sources.version_problem(
        new=sources.reported_version(output) or (0, 0, 0), there=there, unfit=wishes.unfit
    )
    if problem:
        raise base.RuntimeStateError(f"{problem}: set docker_containerd_url. Nothing was replaced")
