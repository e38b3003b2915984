# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the units of the image mirror run: a registry, and by a timer the upkeep of all of them."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import ssl
import sys
import urllib.error
import urllib.request
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.commands import Runner, output_of
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError, os_error_text
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text
from ansible_collections.bramble.pi.plugins.module_utils._common.unattended import end_on_sigterm, run_command
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror import blobs, clean, units
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror.authority import Authority
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror.configuration import (
    OFFLINE,
    SETTINGS,
    USER,
    configuration_path,
)
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror.refusals import ImageMirrorError

REGISTRY = "/usr/bin/docker-registry"
_SECONDS = 10
_ATTEMPTS = 2


def reaches(url: str, *, attempts: int = _ATTEMPTS) -> bool:
    """Tell whether a registry answers, be it that it wants a login."""
    for _attempt in range(attempts):
        try:
            context = ssl.create_default_context()
            # Preflight has seen that it is one of a web server.
            handler = urllib.request.HTTPSHandler(context=context)
            urllib.request.build_opener(handler).open(f"{url}/v2/", timeout=_SECONDS).close()
        except urllib.error.HTTPError:
            return True
        except (OSError, ValueError):
            continue
        return True
    return False


def _read(path: str) -> dict[str, Any]:
    try:
        return dict(json.loads(read_text(path) or ""))
    except (ValueError, TypeError) as error:
        raise ImageMirrorError(
            f"{path} cannot be read ({error}); expected what the role image_mirror writes: run"
            " 'ansible-playbook -i INVENTORY bramble.pi.image_mirror'"
        ) from error


def serve(registry: str) -> None:
    """Become the registry: with the one that it stands for if that answers, else with what is there."""
    path = configuration_path(registry)
    configuration = _read(path)
    with contextlib.suppress(FileNotFoundError):
        # What it would remove seven days after it was fetched.
        os.unlink(f"{configuration['storage']['filesystem']['rootdirectory']}/scheduler-state.json")
    online = reaches(configuration["proxy"]["remoteurl"])
    if not online:
        sys.stderr.write(f"{registry} does not answer; its images that are here are served\n")
        sys.stderr.flush()
    os.execv(REGISTRY, [REGISTRY, "serve", configuration_path(registry, online=online)])  # noqa: S606


def _is_offline(unit: str, *, run: Runner) -> bool | None:
    """Tell whether a registry serves only what is there; None if it does not run."""
    pid = output_of(run, ["systemctl", "show", "--property=MainPID", "--value", unit]).strip()
    command = read_text(f"/proc/{pid}/cmdline") if pid != "0" else None
    # Before it has become the registry it has not decided.
    return OFFLINE in command if command and command.startswith(REGISTRY) else None


def _restart(registry: str, reason: str, *, run: Runner) -> None:
    sys.stdout.write(f"{registry}: {reason}\n")
    output_of(run, ["systemctl", "try-restart", units.instance(registry)])


def _certificate(settings: dict[str, Any], *, run: Runner) -> bool:
    entry = pwd.getpwnam(USER)
    changes = Changes(check_mode=False)
    return Authority(run=run, changes=changes).ensure(
        hosts=settings["hosts"], owner=(entry.pw_uid, entry.pw_gid)
    )


def upkeep(*, run: Runner) -> None:
    """Renew the certificate, keep the images within their bound, and follow the registries outside."""
    settings = _read(SETTINGS)
    renewed = _certificate(settings, run=run)
    for registry in settings["registries"]:
        clean.note_uses(settings["folder"], registry, run=run)
    removed, found = clean.clean(settings["folder"], bound=settings["bound"])
    if removed:
        sys.stdout.write(f"{removed} of the least recently used were removed\n")
    for registry, server in settings["registries"].items():
        offline = _is_offline(units.instance(registry), run=run)
        if renewed:
            _restart(registry, "it gets its new certificate", run=run)
        elif offline is not None and reaches(server) is offline:
            _restart(registry, "it answers again" if offline else "it does not answer", run=run)
    if found.short:
        raise ImageMirrorError(
            f"the file system of {settings['folder']} has {blobs.size_text(found.free)} free, and the images"
            f" use {blobs.size_text(found.used)} of it; expected"
            f" {blobs.size_text(blobs.reserve(found.total))} free: free some there, see 'df -h', or set"
            " image_mirror_folder to a folder on a larger disk. Nodes fetch what is not kept here from the"
            " registries themselves"
        )


def main() -> None:
    """Do what the unit asks for."""
    end_on_sigterm()
    try:
        if sys.argv[1:2] == ["serve"]:
            serve(sys.argv[2])
        else:
            upkeep(run=run_command)
    except BrambleError as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        raise SystemExit(os_error_text(error)) from error
