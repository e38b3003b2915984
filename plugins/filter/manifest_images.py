# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter bramble.pi.manifest_images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable

import yaml
from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: manifest_images
short_description: List the images of a manifest
version_added: '0.1.0'
author: bramble.pi contributors (@bramble-pi)
description:
  - Returns every C(image) of the containers and init containers in a manifest, each once, in its order.
positional: _input
options:
  _input:
    description: The manifest.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show which images flannel needs
  ansible.builtin.debug:
    msg: "{{ lookup('file', 'kube-flannel.yml') | bramble.pi.manifest_images }}"
"""

RETURN = r"""
_value:
  description: Names with tags.
  type: list
  elements: str
  sample: [ghcr.io/flannel-io/flannel:v0.28.9]
"""


def _images(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("image"), str):
            yield value["image"]
        for below in value.values():
            yield from _images(below)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for below in value:
            yield from _images(below)


def manifest_images(manifest: str) -> list[str]:
    """List the images."""
    try:
        # Ansible's own kinds of strings are none that PyYAML would read.
        documents = list(yaml.safe_load_all(str(manifest)))
    except yaml.YAMLError as error:
        raise AnsibleFilterError(f"the manifest is not YAML: {error}") from error
    return list(dict.fromkeys(_images(documents)))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"manifest_images": manifest_images}
