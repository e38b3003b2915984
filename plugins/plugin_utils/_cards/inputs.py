# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs of the role flash as YAML gave them: of another type than expected they are refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._boot.cmdline import CmdlineError, desired
from ansible_collections.bramble.pi.plugins.module_utils._boot.config_txt_settings import (
    ConfigTxtError,
    parse_settings,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.storage import BootPartitionError, check_names
from ansible_collections.bramble.pi.plugins.module_utils._common.values import (
    described,
    mapping_problem,
    text_problem,
    texts_problems,
)

#: The texts and the lists of texts, each with the variable that it is set by.
_TEXTS = {
    "hostname": "os_prep_hostname",
    "user": "flash_user",
    "password_hash": "flash_password_hash",
    "timezone": "flash_timezone",
    "interface": "node_network_interface",
    "address": "node_network_address",
    "gateway": "node_network_gateway",
    "wifi_ssid": "nat_headnode_wifi_ssid",
    "wifi_psk": "nat_headnode_wifi_psk",
    "wifi_country": "nat_headnode_wifi_country",
    "user_data_file": "flash_user_data_file",
    "device": "flash_device",
}
_LISTS = {
    "authorized_keys": "flash_authorized_keys",
    "resolvers": "node_network_resolvers",
    "search": "node_network_search",
    "cmdline_present": "os_prep_kernel_cmdline",
}
#: How to come by the image, each with its variable.
IMAGE = {
    "src": "flash_image",
    "checksum": "flash_image_checksum",
    "extract_checksum": "flash_image_extract_checksum",
    "image_list": "flash_image_list",
    "init_format": "flash_init_format",
}
#: What is not shown: of the keys, one may be the private one.
_SECRETS = ("password_hash", "wifi_psk", "authorized_keys", "src", "image_list")
#: Of cloud-init's settings those that the role fills as well, so that they are merged.
_USER_DATA: dict[str, type] = {
    "users": list,
    "bootcmd": list,
    "runcmd": list,
    "write_files": list,
    "ssh_keys": Mapping,
}
_TRUTH = {
    "yes": True,
    "on": True,
    "true": True,
    "1": True,
    "no": False,
    "off": False,
    "false": False,
    "0": False,
}


def input_problems(values: Mapping[str, Any]) -> list[str]:
    """Name what is of another type than expected, each with its variable; the rest can then be read."""
    return list(_problems(values))


def boot_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Name what no boot partition can hold, of inputs that are of the right types."""
    try:
        desired(present=values.get("cmdline_present", ()), absent=(), settings={})
    except CmdlineError as error:
        yield f"os_prep_kernel_cmdline: {error}"
    try:
        check_names(files=values.get("files", ()))
    except BootPartitionError as error:
        yield f"flash_files: {error}"
    try:
        parse_settings(data=values.get("config_txt", ()))
    except ConfigTxtError as error:
        yield f"flash_config_txt: {error}"


def _problems(values: Mapping[str, Any]) -> Iterator[str]:
    for key, variable in _TEXTS.items():
        problem = text_problem(values.get(key, ""), secret=key in _SECRETS)
        if problem:
            # The user is that of Ansible's connections, unless it is set.
            origin = ", or ansible_user where it comes from" if key == "user" else ""
            yield f"{variable} {problem}: set {variable}{origin}"
    for key, variable in IMAGE.items():
        problem = text_problem(values["image"].get(key, ""), secret=key in _SECRETS)
        if problem:
            yield f"{variable} {problem}: set {variable}"
    for key, variable in _LISTS.items():
        for problem in texts_problems(values.get(key, []), secret=key in _SECRETS):
            yield f"{variable} {problem}: set {variable}"
    if not isinstance(values.get("config_txt", []), (list, tuple)):
        yield (
            f"flash_config_txt is {described(values['config_txt'])}; expected a list of mappings, as in "
            "[{setting: dtparam, value: 'audio=off'}]: set flash_config_txt"
        )
    if _truth(values.get("wifi_hidden", False)) is None:
        yield (
            f"nat_headnode_wifi_hidden is {described(values['wifi_hidden'])}; expected true or false: "
            "set nat_headnode_wifi_hidden"
        )
    yield from _mapping_problems(values)


def _mapping_problems(values: Mapping[str, Any]) -> Iterator[str]:
    for key in ("files", "user_data"):
        problem = mapping_problem(values.get(key, {}))
        if problem:
            yield f"flash_{key} {problem}: set flash_{key}"
            continue
        for name, item in values.get(key, {}).items():
            problem = text_problem(item, secret=True) if key == "files" else _user_data_problem(name, item)
            if problem:
                yield f"{name} of flash_{key} {problem}: set flash_{key}"


def _user_data_problem(name: str, item: Any) -> str | None:
    """Say why what the role has as well cannot be merged; of a text, each letter would be a command."""
    kind = _USER_DATA.get(name)
    if kind is None or isinstance(item, kind):
        return None
    return f"is {described(item, secret=True)}; expected {'a list' if kind is list else 'a mapping'}"


def _truth(value: Any) -> bool | None:
    """Read a boolean; on the command line it is a text."""
    if isinstance(value, str):
        return _TRUTH.get(value.lower())
    return value if isinstance(value, bool) else None


def truth(value: Any) -> bool:
    """Return a boolean that was found to be one."""
    return bool(_truth(value))
