# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a node by which its runtimes know mirrors of registries."""

from __future__ import annotations

import contextlib
import glob
import os
from dataclasses import replace

from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED, read_text
from ansible_collections.bramble.pi.plugins.module_utils._containers import base, mirrors


def known(*, host: base.Host, wishes: base.Wishes) -> base.Wishes:
    """Return the wishes with the authority's certificate; without one there are no mirrors yet."""
    if not wishes.mirrors:
        return wishes
    ca = wishes.mirror_ca or read_text(host.root + mirrors.CA) or ""
    if ca or host.changes.check_mode:
        return replace(wishes, mirror_ca=ca)
    host.warn(
        "images are not asked for at the image mirror yet: its host did not tell its certificate, and"
        f" {mirrors.CA} is not there; expected one: run 'ansible-playbook -i INVENTORY"
        " bramble.pi.image_mirror' when that host is on"
    )
    return replace(wishes, mirrors=())


def _desired(*, runtime: base.Runtime, wishes: base.Wishes) -> dict[str, str]:
    if not wishes.mirrors:
        return {}
    ca = wishes.mirror_ca or ""
    return {
        mirrors.CA: ca,
        **{mirrors.docker_ca_path(url): ca for url in mirrors.docker_mirrors(wishes.mirrors)},
        **runtime.hosts_files(wishes=wishes),
    }


def _foreign(path: str, *, host: base.Host) -> bool:
    text = read_text(host.root + path)
    return path.endswith(".toml") and text is not None and not text.startswith(MANAGED)


def _present(*, host: base.Host) -> list[str]:
    hosts = glob.glob(f"{host.root}{mirrors.hosts_path('*')}")
    docker = glob.glob(f"{host.root}{mirrors.DOCKER_HOSTS}/*/{mirrors.DOCKER_CA}")
    found = [path[len(host.root) :] for path in (*hosts, *docker, f"{host.root}{mirrors.CA}")]
    return [path for path in sorted(found) if not _foreign(path, host=host)]


def former(*, host: base.Host) -> list[str]:
    """Return the mirrors that Docker was told of by us: those whose authority is there."""
    return [
        f"https://{os.path.basename(os.path.dirname(path))}"
        for path in _present(host=host)
        if os.path.basename(path) == mirrors.DOCKER_CA
    ]


def write(*, runtime: base.Runtime, host: base.Host, wishes: base.Wishes) -> None:
    """Write what is asked for; the runtimes read it without a restart."""
    desired = _desired(runtime=runtime, wishes=wishes)
    foreign = [path for path in desired if _foreign(path, host=host)]
    if foreign:
        raise base.RuntimeStateError(
            f"{', '.join(foreign)} was not written by this collection; expected no such file, as the image"
            " mirror has to be named there: move it away, or take the registry out of"
            " image_mirror_registries"
        )
    for path, text in desired.items():
        host.changes.write(path, text, sentence=f"Write {path}")


def remove(*, runtime: base.Runtime, host: base.Host, wishes: base.Wishes) -> None:
    """Remove what is ours and not asked for any more, after Docker's settings, which are known by it."""
    desired = _desired(runtime=runtime, wishes=wishes)
    for path in _present(host=host):
        if path in desired or not os.path.exists(host.root + path):
            continue
        if host.changes.note(f"Remove {path}"):
            os.unlink(host.root + path)
            folder = os.path.dirname(host.root + path)
            # Those with something else in them stay.
            with contextlib.suppress(OSError):
                os.rmdir(folder)
                if path != mirrors.CA:
                    os.rmdir(os.path.dirname(folder))
