# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask for what a rack is, look for the rest, and write an inventory that preflight accepts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.action import ActionBase
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError
from ansible_collections.bramble.pi.plugins.module_utils._rack.scan import Found
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight import playbooks
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.inventory import SHARED_DEFAULTS
from ansible_collections.bramble.pi.plugins.plugin_utils._start import answers as start_answers
from ansible_collections.bramble.pi.plugins.plugin_utils._start import (
    controller,
    folder,
    inventory,
    questions,
)

_PREFIX = "start_"
_EXAMPLES = Path(__file__).resolve().parents[2] / "inventories"
#: The files of variables that racks of each shape have as the examples do.
_COPIED = {
    "router": {"group_vars/all.yml": "router"},
    "nat": {
        "group_vars/all.yml": "nat",
        "group_vars/control_plane.yml": "nat",
        "group_vars/workers.yml": "nat",
    },
    "netboot": {
        "group_vars/all.yml": "nat",
        "group_vars/control_plane.yml": "netboot",
        "group_vars/netboot.yml": "netboot",
    },
}
_OPTIONS: dict[str, dict[str, Any]] = {
    **{
        name: {"type": "str"}
        for name in (
            "folder",
            "shape",
            "search",
            "nodes",
            "address",
            "user",
            "wifi_ssid",
            "wifi_country",
            "network",
            "gateway",
            "image",
            "timezone",
        )
    },
    "wifi_psk": {"type": "str", "no_log": True},
    "boards": {"type": "list", "elements": "dict"},
    "image_list": {
        "type": "str",
        "default": "https://downloads.raspberrypi.com/os_list_imagingutility_v4.json",
    },
}


def example_files(shape: str) -> dict[str, str]:
    """Read what a rack of a shape has as the examples do."""
    return {
        path: (_EXAMPLES / example / path).read_text(encoding="utf-8")
        for path, example in _COPIED[shape].items()
    }


class ActionModule(ActionBase):
    """What the controller does, which is all of it."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask, look and write."""
        super().run(tmp, task_vars)
        self._variables = task_vars or {}
        try:
            self._refuse_unknown()
            _spec, self._given = self.validate_argument_spec(argument_spec=_OPTIONS)
            # The playbook passes it on so, as callbacks print the arguments of tasks.
            given = self._templar.template(self._variables.get("__start_wifi_psk"))
            if self._given["wifi_psk"] is None and given not in (None, ""):
                self._given["wifi_psk"] = to_text(given)
            return self._start()
        except AnsiblePromptInterrupt:
            raise AnsibleActionFail("interrupted; nothing was written") from None
        except BrambleError as error:
            # Ansible would say the text of each cause again.
            raise AnsibleActionFail(f"{error}; nothing was written") from None

    def _refuse_unknown(self) -> None:
        unknown = sorted(
            name
            # An inventory of ansible.cfg may have others of its owner's.
            for name in playbooks.extra_variables()
            if name.startswith(_PREFIX) and name.removeprefix(_PREFIX) not in _OPTIONS
        )
        if unknown:
            known = ", ".join(f"{_PREFIX}{name}" for name in sorted(_OPTIONS))
            raise start_answers.StartError(f"{', '.join(unknown)} is not known; expected one of {known}")

    def _start(self) -> dict[str, Any]:
        image = self._given["image"]
        if image is None:
            image, problem = controller.newest_image(self._given["image_list"])
            if problem:
                self._display.warning(problem)
        known = controller.look(image)
        place = questions.ask_place(self._ask, known)
        boards = self._boards(place)
        answers = questions.ask_rest(self._ask, place, known, boards)
        for warning in inventory.warnings(answers):
            self._display.warning(warning)
        target = Path(place.folder)
        name = os.path.relpath(target) if target.is_relative_to(Path.cwd()) else str(target)
        shared = yaml.safe_load(SHARED_DEFAULTS.read_text(encoding="utf-8"))
        files = inventory.files(
            answers,
            name=name,
            version=shared["kube_packages_version"],
            examples=example_files(answers.shape),
            readers=self._readers(),
        )
        if not self._task.check_mode:
            folder.write(target, files, private={inventory.VAULT}, check=self._preflight)
        return {
            "changed": True,
            "folder": str(target),
            "files": sorted(files),
            "next": inventory.next_commands(answers, name=name, has_key=controller.has_ssh_key()),
        }

    def _ask(self, question: questions.Question) -> Any:
        """Return what is meant by the answer: a variable's, the user's, or the default."""
        given = self._given[question.name]
        variable = f"{_PREFIX}{question.name}"
        if given is None and question.asked:
            default = f" [{question.default}]" if question.default else ""
            text = f"\n{question.text}{default}\n  {question.why}"
            try:
                while True:
                    typed = to_text(self._display.prompt_until(text, private=question.secret)).strip()
                    try:
                        return self._read(question, typed or question.default)
                    except BrambleError as error:
                        text = f"\n{error}\n{question.text}{default}"
            except AnsiblePromptNoninteractive:
                pass  # Without a terminal what is not given takes its default.
        try:
            return self._read(question, question.default if given is None else given)
        except BrambleError as error:
            raise start_answers.StartError(f"{error}; set {variable}") from error

    def _read(self, question: questions.Question, text: str) -> Any:
        found = question.read(text)
        if question.name == "folder":
            folder.check_free(Path(found))
        return found

    def _module(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name=f"bramble.pi.{name}", module_args=dict(arguments), task_vars=self._variables
        )
        if result.get("failed"):
            self._display.warning(f"{name}: {result.get('msg')}")
            return {}
        return result

    def _boards(self, place: questions.Place) -> list[Found]:
        if self._given["boards"] is not None:
            return start_answers.boards(self._given["boards"])
        if place.searched is None:
            return []
        self._display.display(f"Searching {place.searched} for Pis")
        found = [
            Found(**found)
            for found in self._module("rack_scan", {"network": str(place.searched)}).get("found", [])
        ]
        if found:
            self._display.display(
                "These were found, and are nodes from now on; take those of the rack alone into hosts.yml, "
                "and a Pi with cable and Wi-Fi once:"
            )
        for board in found:
            self._display.display(f"  {board.address or 'no address'}: {questions.seen_of(board)}")
        return found

    def _readers(self) -> list[str]:
        devices = self._module("sd_card_info", {}).get("devices", [])
        return [device["description"] for device in devices if device["candidate"]]

    def _preflight(self, unfinished: Path) -> None:
        """Run the playbook preflight on the files, before they get their place."""
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(unfinished), "bramble.pi.preflight"],
            env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise start_answers.StartError(f"preflight has found problems:\n{done.stdout.strip()}\n")
