# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seed of a node's card: the files of its boot partition that make the OS image this node."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

import yaml
from ansible_collections.bramble.pi.plugins.module_utils._boot.partition import RECEIPT, parse_seed
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import BootPartitionError
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.plugin_utils._cards import cloudinit, firstrun
from ansible_collections.bramble.pi.plugins.plugin_utils._cards.node import CardNode, HostKey

_ID_DIGITS = 12
#: What comes to the card by another way than the files of the seed.
_CONFIG = "config.txt"
_OTHERS = ("meta-data", "cmdline.txt", "current/cmdline.txt", RECEIPT)


class SeedError(BrambleError):
    """The seed cannot be made; the message says what was seen, what is expected and how to fix it."""


def seed(*, node: CardNode, init_format: str, host_key: HostKey) -> dict[str, Any]:
    """Build the seed document of a node's card, in the form that the module sd_card takes."""
    cmdline: dict[str, Any] = {"present": list(node.cmdline_present), "absent": [], "set": {}}
    if node.wifi_ssid:
        # Understood by every kernel, whichever program sets up the Wi-Fi.
        cmdline["set"]["cfg80211.ieee80211_regdom"] = node.wifi_country
    if init_format in cloudinit.FORMATS:
        files = _cloudinit_files(node, init_format, host_key)
    elif init_format == firstrun.FORMAT:
        if node.user_data or node.user_data_file:
            raise SeedError(
                "flash_user_data and flash_user_data_file are for images with cloud-init, and "
                "this one has none: unset them, or take another flash_image"
            )
        files = firstrun.files(node=node, host_key=host_key)
        cmdline["present"] += firstrun.CMDLINE_TOKENS
    else:
        raise SeedError(
            f"the first boot of the image is of the kind {init_format!r}; expected one of "
            f"{', '.join([*cloudinit.FORMATS, firstrun.FORMAT])}: set flash_init_format"
        )
    own = {taken.lower() for taken in [*files, *_OTHERS]}
    for name in node.files:
        if name.lower() in own:
            raise SeedError(
                f"flash_files has {name!r}, which the role writes itself: take it out, and say "
                "what it should hold by flash_user_data, flash_config_txt or os_prep_kernel_cmdline"
            )
        folders = name.lower().split("/")[:-1]
        taken = {"/".join(folders[: count + 1]) for count in range(len(folders))} & {*own, _CONFIG}
        if taken:
            raise SeedError(
                f"flash_files has {name!r}, and {taken.pop()} is a file of every card; expected another "
                "folder for it: rename it in flash_files"
            )
    document: dict[str, Any] = {
        "node": node.name,
        "files": {**files, **node.files},
        "absent": [],
        "config_txt": [dict(item) for item in node.config_txt],
        "cmdline": cmdline,
    }
    identity = _identity(document, host_key)
    if init_format in cloudinit.FORMATS:
        meta_data = cloudinit.meta_data(init_format=init_format, instance_id=identity)
        document["files"]["meta-data"] = cloudinit.dump(meta_data)
    return {"id": identity, **document}


def _identity(document: Mapping[str, Any], host_key: HostKey) -> str:
    """Name the seed: another content has another name, which tells nothing of the secrets in it."""
    text = json.dumps(document, sort_keys=True)
    digest = hmac.new(host_key.private.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"{document['node']}-{digest[:_ID_DIGITS]}"


def _cloudinit_files(node: CardNode, init_format: str, host_key: HostKey) -> dict[str, str]:
    network = cloudinit.network_config(node=node, init_format=init_format)
    return {
        "user-data": node.user_data_text()
        if node.user_data_file
        else _user_data(node, init_format, host_key),
        "network-config": cloudinit.dump(network),
    }


def _user_data(node: CardNode, init_format: str, host_key: HostKey) -> str:
    data = cloudinit.user_data(node=node, init_format=init_format, host_key=host_key)
    return f"{cloudinit.HEADER}\n{cloudinit.dump(data)}"


def problems(*, node: CardNode, init_format: str, host_key: HostKey) -> list[str]:
    """Say what keeps the seed from going with the image, and cloud-init from taking the user's own data."""
    try:
        document = seed(node=node, init_format=init_format, host_key=host_key)
        # What the module sd_card would refuse, while its card is not in the reader yet.
        parse_seed(data=document)
        if node.user_data_file:
            _check_user_data(node.user_data_text())
        if node.user_data or node.user_data_file:
            _check_schema(node, document["files"]["user-data"])
    except (SeedError, BootPartitionError) as error:
        return [f"{node.name}: {error}"]
    return []


def _check_user_data(text: str) -> None:
    """Refuse a user-data that cloud-init would not read, or would take for something else."""
    first = text.split("\n", 1)[0]
    # cloud-init looks at the first line, and takes no blank before it.
    if first.rstrip() != cloudinit.HEADER:
        raise SeedError(
            f"flash_user_data_file begins with {first[:40]!r}; expected {cloudinit.HEADER!r} as its "
            "first line, as cloud-init passes over the file without it"
        )
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "it cannot be read"
        raise SeedError(f"flash_user_data_file is not YAML{where}: {reason}; fix the file") from error
    if not isinstance(data, dict):
        raise SeedError("flash_user_data_file holds no mapping; expected one, such as 'hostname: pi-1'")


def _check_schema(node: CardNode, text: str) -> None:
    """Validate the user's own data with cloud-init, where it is installed; its answer may quote the data."""
    if shutil.which("cloud-init") is None:
        return
    data = yaml.safe_load(text)
    for key in ("ssh_keys", *cloudinit.RASPBERRY_PI_KEYS):
        data.pop(key, None)
    shown = f"{cloudinit.HEADER}\n{cloudinit.dump(data)}"
    if node.password_hash:
        shown = shown.replace(node.password_hash, "$6$salt$hash")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".yaml") as file:
        file.write(shown)
        file.flush()
        done = subprocess.run(
            ["cloud-init", "schema", "--config-file", file.name], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        answer = (done.stderr.strip() or done.stdout.strip()).replace(file.name, "user-data")
        name = "flash_user_data_file" if node.user_data_file else "flash_user_data"
        raise SeedError(f"cloud-init refuses {name}: {answer}")
