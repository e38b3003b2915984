# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.bramble.pi.plugins.filter.kubernetes import manifest_images

FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_flannel_s_images() -> None:
    manifest = (FIXTURES / "flannel/kube-flannel-v0.28.9.txt").read_text()
    images = manifest_images(manifest)
    # In whichever form the release writes them, each line with an image counts, once.
    lines = [line.split("image:")[1].strip() for line in manifest.splitlines() if "image:" in line]
    assert images == list(dict.fromkeys(lines))
    assert len(images) == 2


@pytest.mark.parametrize(
    ("manifest", "images"),
    [
        ("", []),
        ("---\n---\nkind: Namespace\n", []),
        ("spec: {containers: [{image: a:1}, {image: b:1}], image: {repository: c}}", ["a:1", "b:1"]),
        ("image: a:1\n---\nspec: [{initContainers: [{image: a:1}]}]", ["a:1"]),
    ],
)
def test_images(manifest: str, images: list[str]) -> None:
    assert manifest_images(manifest) == images


def test_what_is_no_yaml_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="the manifest is not YAML"):
        manifest_images("a: [")
